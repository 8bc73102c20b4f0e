#!/bin/bash
# SQLite in every journal mode, with two writers and with readers beside them; flock and fcntl locks between processes;
# a maildir with two that deliver and one that reads.
# usage: databases.sh COFFER TRANSACTIONS
. "$(dirname "$0")/applications.sh"
for mode in wal delete truncate persist memory off; do
  "$here/sqlite_load.py" "$mnt/$mode.db" "$mode" "$1"
done
remount
for mode in wal delete truncate persist memory off; do "$here/sqlite_load.py" --check "$mnt/$mode.db"; done
same_elsewhere "SQLite"

"$here/lock_check.py" "$mnt/locked"
"$here/maildir_load.py" "$mnt/mail" 200
same_elsewhere "locks and maildir"
"$coffer" unmount "$mnt"
