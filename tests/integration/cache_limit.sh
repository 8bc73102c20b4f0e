#!/bin/bash
# With --cache-size, three readers of three times as much get all of it right, and the disk holds no more than that.
. "$(dirname "$0")/common.sh"
store=$work/store
limit=$((64 << 20))
cached() { "$coffer" status --json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["cache"]["bytes"])'; }
"$coffer" init "$store" --no-recovery-key
mount_on "$store" "$work/m"
for i in 0 1 2 3 4 5; do head -c 33554432 /dev/urandom | tee "$work/m/$i" | sha256sum >"$work/$i.sum"; done
"$coffer" unmount "$work/m"

mount_on "$store" "$work/m2" --state-dir "$work/state2" --cache-size 64M
"$coffer" status "$work/m2" | grep -q 'limited to 64.0 MiB' || fail "status does not tell the limit"
read_in_order() {
  local i
  for i in "$@"; do
    sha256sum <"$work/m2/$i" | cmp -s - "$work/$i.sum" || fail "$i is not what was written"
  done
}
read_in_order 0 1 2 3 4 5 &
readers=($!)
read_in_order 5 4 3 2 1 0 &
readers+=($!)
read_in_order 3 0 4 1 5 2 &
readers+=($!)
running() { kill -0 "${readers[@]}" 2>/dev/null; }
while running; do
  now=$(cached "$work/m2")
  # What the fetching threads write at once comes on top.
  [ "$now" -le $((limit + (2 << 20))) ] || fail "$now bytes are cached"
  sleep 0.2
done
for reader in "${readers[@]}"; do wait "$reader" || fail "a reader failed"; done
[ "$(cached "$work/m2")" -gt $((limit / 2)) ] || fail "nothing is cached"
expect 0 "$coffer" unmount "$work/m2"
expect 2 "$coffer" mount "$store" "$work/m2" -o cache_size=5M
