#!/bin/bash
# With --cache-size, three readers of three times as much get all of it right, and the disk holds no more than that; with
# --free-space, no less stays free on a disk that has room for a third.
. "$(dirname "$0")/common.sh"
store=$work/store
limit=$((64 << 20))
cached() { "$coffer" status --json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["cache"]["bytes"])'; }
"$coffer" init "$store" --no-recovery-key
mount_on "$store" "$work/m"
for i in 0 1 2 3 4 5; do head -c 33554432 /dev/urandom | tee "$work/m/$i" | sha256sum >"$work/$i.sum"; done
"$coffer" unmount "$work/m"

read_in_order() {
  local i
  for i in "$@"; do
    sha256sum <"$work/m2/$i" | cmp -s - "$work/$i.sum" || fail "$i is not what was written"
  done
}
# three_readers CHECK: runs it again and again until they have read everything.
three_readers() {
  local readers reader
  read_in_order 0 1 2 3 4 5 &
  readers=($!)
  read_in_order 5 4 3 2 1 0 &
  readers+=($!)
  read_in_order 3 0 4 1 5 2 &
  readers+=($!)
  while kill -0 "${readers[@]}" 2>/dev/null; do
    "$1"
    sleep 0.2
  done
  for reader in "${readers[@]}"; do wait "$reader" || fail "a reader failed"; done
}

mount_on "$store" "$work/m2" --state-dir "$work/state2" --cache-size 64M
"$coffer" status "$work/m2" | grep -q 'limited to 64.0 MiB' || fail "status does not tell the limit"
limit_holds() {
  local now
  now=$(cached "$work/m2")
  # What the fetching threads write at once comes on top.
  [ "$now" -le $((limit + (2 << 20))) ] || fail "$now bytes are cached"
}
three_readers limit_holds
[ "$(cached "$work/m2")" -gt $((limit / 2)) ] || fail "nothing is cached"
expect 0 "$coffer" unmount "$work/m2"
expect 2 "$coffer" mount "$store" "$work/m2" -o cache_size=5M

[ "$(id -u)" = 0 ] || skip "--free-space: a small file system needs root"
mkdir "$work/disk"
# As much as stays free, a third of what is read, and the journal with the reserve.
mount -t tmpfs -o size=200m tmpfs "$work/disk" || skip "--free-space: no tmpfs"
mount_on "$store" "$work/m2" --state-dir "$work/disk/state" --free-space 64M
free_bytes() { echo $(($(stat -f -c '%f * %S' "$work/disk"))); }
space_stays_free() {
  local free
  free=$(free_bytes)
  [ "$free" -ge $((limit - (2 << 20))) ] || fail "only $free bytes are free"
}
three_readers space_stays_free
[ "$(cached "$work/m2")" -gt $((limit / 2)) ] || fail "nothing is cached"
# What another program takes is made up for by what is cached.
head -c $((20 << 20)) /dev/zero >"$work/disk/taken"
read_in_order 4
space_stays_free
expect 0 "$coffer" unmount "$work/m2"
