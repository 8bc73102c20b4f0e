#!/bin/bash
# PostgreSQL on the mount: initdb, pgbench while first PostgreSQL and then coffer are killed, and every transaction that
# PostgreSQL acknowledged is there afterwards, here and on another machine.
# usage: postgres.sh COFFER SECONDS-BEFORE-EACH-KILL
. "$(dirname "$0")/common.sh"
[ "$(id -u)" = 0 ] || skip "not root, which runs PostgreSQL as a user of its own"
id postgres >/dev/null 2>&1 || skip "no PostgreSQL"
bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
[ -x "$bin/initdb" ] || skip "no PostgreSQL"
store=$work/store
mnt=$work/m
"$coffer" init "$store" --no-recovery-key
mount_on "$store" "$mnt" -o allow_other

as_postgres() { (cd "$work/clients" && HOME=$work/clients setpriv --reuid=postgres --regid=postgres --clear-groups "$@"); }
install -d -m 700 -o postgres "$work/clients" "$mnt/pg"
sockets=$work/clients
as_postgres "$bin/initdb" -D "$mnt/pg" -U postgres --auth=trust --no-instructions >"$work/initdb.log" ||
  fail "initdb: $(tail -n 5 "$work/initdb.log")"

start_postgres() {  # DIRECTORY OF THE DATABASE
  as_postgres "$bin/pg_ctl" -D "$1" -w -t 120 -l "$work/clients/postgres.log" \
    -o "-c listen_addresses='' -c unix_socket_directories='$sockets'" start >/dev/null ||
    fail "PostgreSQL does not start: $(tail -n 20 "$work/clients/postgres.log")"
  postmaster=$(head -n 1 "$1/postmaster.pid")
}
ask() { as_postgres "$bin/psql" -h "$sockets" -U postgres -qAtc "$1" bench; }
# Ends all of a PostgreSQL's processes, however its files may hang.
kill_postgres() {
  local pids
  mapfile -t pids < <(pgrep -P "$postmaster"; echo "$postmaster")
  kill -9 "${pids[@]}" 2>/dev/null || true
  wait_for "PostgreSQL does not die" not_alive "${pids[@]}"
}
not_alive() { ! kill -0 "$@" 2>/dev/null; }

# Transactions of pgbench, until COMMAND kills something in between. Each line of its logs is an acknowledged one.
bench_until() {  # SECONDS COMMAND...
  local clients pause=$1
  shift
  as_postgres "$bin/pgbench" -h "$sockets" -U postgres -n -c 4 -j 2 -T 600 -l bench >"$work/pgbench.log" 2>&1 &
  clients=$!
  sleep "$pause"
  "$@"
  wait "$clients" || true
}
acknowledged() { cat "$work"/clients/pgbench_log.* | wc -l; }
must_be_whole() {
  local kept sums
  kept=$(ask 'select count(*) from pgbench_history')
  [ "$kept" -ge "$(acknowledged)" ] || fail "$1: $kept transactions are left of $(acknowledged) that were acknowledged"
  sums=$(ask "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)
    and (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history)
    and (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history)")
  [ "$sums" = t ] || fail "$1: the sums differ"
  as_postgres "$bin/pg_amcheck" -h "$sockets" -U postgres --heapallindexed bench || fail "$1: pg_amcheck finds damage"
  echo "$1: $kept transactions, $(acknowledged) acknowledged"
}

start_postgres "$mnt/pg"
as_postgres "$bin/createdb" -h "$sockets" -U postgres bench
as_postgres "$bin/pgbench" -h "$sockets" -U postgres -i -s 2 -q bench >"$work/pgbench.log" 2>&1 || fail "pgbench -i"
ask 'create extension amcheck'

bench_until "$1" kill_postgres
start_postgres "$mnt/pg"
must_be_whole "after PostgreSQL was killed"

kill_coffer() {
  local daemon
  daemon=$(daemon_of "$mnt")
  kill -9 "$daemon"
  wait_for_end "$daemon"
  kill_postgres
}
bench_until "$1" kill_coffer
umount -l "$mnt"
mount_on "$store" "$mnt" -o allow_other
start_postgres "$mnt/pg"
must_be_whole "after coffer was killed"
as_postgres "$bin/pgbench" -h "$sockets" -U postgres -n -c 4 -j 2 -t 50 -l bench >/dev/null 2>&1
as_postgres "$bin/pg_ctl" -D "$mnt/pg" -w -m fast stop >/dev/null

"$coffer" sync --quiet "$mnt"
"$coffer" unmount --quiet "$mnt"
"$coffer" check "$store" | grep 'no fault' || fail "check finds a fault"
mount_on "$store" "$work/elsewhere" --state-dir "$work/state2" --device-name elsewhere -o allow_other
"$coffer" sync --quiet "$work/elsewhere"
start_postgres "$work/elsewhere/pg"
must_be_whole "on another machine"
as_postgres "$bin/pg_ctl" -D "$work/elsewhere/pg" -w -m fast stop >/dev/null
"$coffer" unmount --quiet "$work/elsewhere"
