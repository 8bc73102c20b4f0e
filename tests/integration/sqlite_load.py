#!/usr/bin/env python3
"""Two processes move money between accounts in a database, three look at it meanwhile; the sum must stay.

usage: sqlite_load.py DB JOURNAL_MODE TRANSACTIONS | sqlite_load.py --check DB"""
import multiprocessing
import random
import sqlite3
import sys

ACCOUNTS, EACH = 500, 1000


def connect(path):
    return sqlite3.connect(path, timeout=120, isolation_level=None)


def check(path):
    db = connect(path)
    (answer,) = db.execute("pragma integrity_check").fetchone()
    assert answer == "ok", answer
    (total,) = db.execute("select sum(money) from account").fetchone()
    assert total == ACCOUNTS * EACH, f"{total} in the accounts"
    (logged,) = db.execute("select count(*) from log").fetchone()
    db.close()
    return logged


def write(path, mode, transactions, seed):
    rng = random.Random(seed)
    db = connect(path)
    db.execute(f"pragma journal_mode={mode}")  # memory and off hold for a connection, not for the file
    for number in range(transactions):
        a, b = rng.sample(range(ACCOUNTS), 2)
        amount = rng.randrange(100)
        db.execute("begin immediate")
        db.execute("update account set money = money - ? where id = ?", (amount, a))
        db.execute("update account set money = money + ? where id = ?", (amount, b))
        db.execute("insert into log values (?, ?, ?)", (seed, number, rng.randbytes(rng.randrange(3000))))
        # One in ten is taken back, where there is a journal to take it back with.
        db.execute("rollback" if mode != "off" and number % 10 == 9 else "commit")
    db.close()


def read(path, done):
    db = connect(path)
    while not done.is_set():
        (total,) = db.execute("select sum(money) from account").fetchone()
        assert total == ACCOUNTS * EACH, f"a reader sees {total} in the accounts"
    db.close()


if sys.argv[1] == "--check":
    check(sys.argv[2])
    sys.exit()
path, mode, transactions = sys.argv[1], sys.argv[2], int(sys.argv[3])
db = connect(path)
(now,) = db.execute(f"pragma journal_mode={mode}").fetchone()
assert now == mode, f"journal mode is {now}"
db.executescript("create table account (id integer primary key, money); create table log (writer, number, data)")
db.execute("begin")
db.executemany("insert into account values (?, ?)", [(i, EACH) for i in range(ACCOUNTS)])
db.execute("commit")
db.close()
done = multiprocessing.Event()
writers = [multiprocessing.Process(target=write, args=(path, mode, transactions, seed)) for seed in (1, 2)]
readers = [multiprocessing.Process(target=read, args=(path, done)) for _ in range(3)]
for p in writers + readers:
    p.start()
for p in writers:
    p.join()
done.set()
for p in readers:
    p.join()
assert all(p.exitcode == 0 for p in writers + readers), "a process failed"
expected = 2 * (transactions - (transactions // 10 if mode != "off" else 0))
logged = check(path)
assert logged == expected, f"{logged} transactions of {expected}"
print(f"{mode}: {logged} transactions")
