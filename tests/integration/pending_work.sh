#!/bin/bash
# What is not in the store yet is kept: by unmount --now, by umount(8), by SIGTERM, with the store away; and goes up at the
# next mount. status --json is JSON all the time. What comes from the store keeps to its limit, too.
. "$(dirname "$0")/common.sh"
store=$work/store
slow=(--upload-limit 200K)
json_ok() { "$coffer" status --json "$work/m" | python3 -m json.tool >/dev/null || fail "status --json is no JSON"; }
fill() { head -c 3000000 /dev/urandom >"$work/m/$1" && sha256sum <"$work/m/$1" >"$work/$1.sum"; }
same() { sha256sum <"$1" | cmp -s - "$work/$(basename "$1").sum" || fail "$1 is not what was written"; }

"$coffer" init "$store" --no-recovery-key
mount_on "$store" "$work/m" "${slow[@]}"
json_ok
fill a
json_ok
pid=$(daemon_of "$work/m")
expect 0 "$coffer" unmount --now "$work/m"
grep -q 'goes up at the next mount' <<<"$said" || fail "it does not say that something is left: $said"
wait_for_end "$pid"
if grep -q "$work/m" /proc/self/mounts; then fail "still mounted"; fi

# The store is away: mounts from what is here, reads, writes, unmounts.
mv "$store" "$store.away"
mount_on "$store" "$work/m"
same "$work/m/a"
fill b
json_ok
expect 10 timeout 60 "$coffer" unmount "$work/m"
mv "$store.away" "$store"

# SIGTERM and umount(8) keep it as well.
mount_on "$store" "$work/m" "${slow[@]}"
same "$work/m/b"
fill c
pid=$(daemon_of "$work/m")
kill -TERM "$pid"
wait_for_end "$pid"
mount_on "$store" "$work/m" "${slow[@]}"
same "$work/m/c"
fill d
pid=$(daemon_of "$work/m")
umount "$work/m"
wait_for_end "$pid"

# Ctrl-C during an unmount leaves the rest for later.
mount_on "$store" "$work/m" "${slow[@]}"
fill e
status=0
"$here/interrupted.py" "$coffer" unmount "$work/m" >"$work/said" || status=$?
[ "$status" = 10 ] || fail "unmount with Ctrl-C ended with $status: $(cat "$work/said")"
grep -q 'not in the store yet: ' "$work/said" || fail "it does not say what is left: $(cat "$work/said")"

mount_on "$store" "$work/m"
expect 0 "$coffer" sync "$work/m"
[ "$(waiting_bytes "$work/m")" = 0 ] || fail "something still waits"
expect 0 "$coffer" unmount "$work/m"
mount_on "$store" "$work/m2" --state-dir "$work/state2" --download-limit 1M
# Six megabytes at one a second: the first may come at once.
began=$(date +%s)
same "$work/m2/a"
same "$work/m2/b"
took=$(($(date +%s) - began))
[ "$took" -ge 4 ] || fail "with --download-limit 1M, 6 MB came within $took s"
expect 0 "$coffer" unmount "$work/m2"
mount_on "$store" "$work/m2" --state-dir "$work/state2"
for file in a b c d e; do same "$work/m2/$file"; done
expect 0 "$coffer" unmount "$work/m2"
