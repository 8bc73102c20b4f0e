#!/bin/bash
# A database of SQLite's with a write-ahead log, open and changed on two machines at once: afterwards every database that is
# there opens, is sound, and has what was committed to it. usage: database_conflict.sh COFFER
. "$(dirname "$0")/common.sh"
one=$work/store other=$work/other
"$coffer" init "$one" --state-dir "$work/s1" --no-recovery-key --device-name one
cp -r "$one" "$other"
mount_on "$one" "$work/m1" --state-dir "$work/s1" --device-name one
mount_on "$other" "$work/m2" --state-dir "$work/s2" --device-name two
cat >"$work/carry" <<CARRY
set -e
for mount in "$work/m1" "$work/m2"; do "$coffer" sync --quiet "\$mount"; done
# As another program may carry the files of a store; hints go last.
for order in --exclude=/head --links; do
  rsync -r --ignore-existing "\$order" "$one/" "$other"
  rsync -r --ignore-existing "\$order" "$other/" "$one"
done
for mount in "$work/m1" "$work/m2"; do "$coffer" sync --quiet "\$mount"; done
CARRY
/usr/bin/python3 - "$work/m1" "$work/m2" bash "$work/carry" <<'PYTHON'
import os
import sqlite3
import subprocess
import sys

m1, m2, *carry = sys.argv[1:]


def exchange():
    for _ in range(3):
        subprocess.run(carry, check=True)


def connect(path):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    return database


def insert(database, who, count):
    database.executemany("INSERT INTO t VALUES (?, ?)", ((who, os.urandom(300)) for _ in range(count)))


def rows(path):
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",), path
    found = dict(database.execute("SELECT who, count(*) FROM t GROUP BY who"))
    database.close()
    return found


for name in "x", "y":
    first = connect(f"{m1}/{name}.db")
    first.execute("CREATE TABLE t (who, what)")
    insert(first, "before", 300)
    first.close()
exchange()
assert rows(f"{m2}/x.db") == {"before": 300}

# Both have them open. One takes its log of x into the database, and not that of y; the other has not done so when the news
# comes.
open_there = {mount: {name: connect(f"{mount}/{name}.db") for name in "xy"} for mount in (m1, m2)}
for name in "xy":
    insert(open_there[m1][name], "one", 200)
    insert(open_there[m2][name], "two", 100)
open_there[m1]["x"].execute("PRAGMA wal_checkpoint(TRUNCATE)")
open_there[m1]["x"].close()
exchange()
for name in "xy":
    insert(open_there[m2][name], "two, later", 50)
    open_there[m2][name].execute("PRAGMA wal_checkpoint(TRUNCATE)")
    insert(open_there[m2][name], "two, last", 5)
    open_there[m2][name].close()
exchange()
open_there[m1]["y"].close()
exchange()

for mount in (m1, m2):
    for name in "xy":
        copies = [n for n in os.listdir(mount) if n.startswith(f"{name} (conflict, two, ") and n.endswith(".db")]
        found = [rows(f"{mount}/{n}") for n in [f"{name}.db", *copies]]
        print(name, found)
        assert found[0] == {"before": 300, "one": 200}, found
        assert {"before": 300, "two": 100, "two, later": 50, "two, last": 5} in found[1:], found
exchange()
assert sorted(os.listdir(m1)) == sorted(os.listdir(m2))
PYTHON
"$coffer" unmount "$work/m1"
"$coffer" unmount "$work/m2"
