#!/bin/bash
# The daemon is killed with SIGKILL again and again while a program writes, renames and fsyncs; after each remount, which
# also has to clear the dead mount point, everything acknowledged is there. What the kill left behind, recovered as a mount does
# it, has no fault. At the end another device sees the same.
# usage: kill9.sh COFFER KILLS
. "$(dirname "$0")/common.sh"
kills=$1
store=$work/store
"$coffer" init "$store" --no-recovery-key
mount_on "$store" "$work/m"
mkdir "$work/m/work"
sync "$work/m/work"
for round in $(seq "$kills"); do
  "$here/crash_workload.py" run "$work/m" "$work/record" "$round" &
  workload=$!
  pid=$(daemon_of "$work/m")
  sleep "0.$((RANDOM % 9 + 1))"
  kill -9 "$pid"
  wait "$workload" || true
  wait_for_end "$pid"
  rm -rf "$work/left"
  cp -a --sparse=always "$work/state" "$work/left"
  # (A record whose hint was not put any more is no fault of the kill: the next mount puts it.)
  "$coffer" check "$store" --state-dir "$work/left/coffer" --sample 1 >"$work/checked" 2>&1 ||
    [ -z "$(grep '^FAULT' "$work/checked" | grep -v 'no hint names the newest record')" ] || {
    cat "$work/checked" >&2
    fail "round $round left a fault behind"
  }
  grep -q '^this device: ' "$work/checked" || fail "the copy of the replica was not looked at: $(cat "$work/checked")"
  mount_on "$store" "$work/m"
  "$here/crash_workload.py" check "$work/m" "$work/record" || fail "round $round lost something"
done
done_count=$(grep -c '^done' "$work/record")
[ "$done_count" -ge "$kills" ] || fail "only $done_count operations in $kills rounds: that shows nothing"
"$coffer" unmount "$work/m"
mount_on "$store" "$work/m" --state-dir "$work/state2"
"$here/crash_workload.py" check "$work/m" "$work/record" || fail "the second device sees something else"
"$coffer" unmount "$work/m"
"$coffer" check "$store"
echo "$kills kills, $done_count acknowledged operations"
