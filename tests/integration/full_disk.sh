#!/bin/bash
# The disk with the state directory gets full while the store is away: writers get ENOSPC; removing, and uploading once the
# store is back, still work; then writing works again; nothing that was acknowledged is lost.
. "$(dirname "$0")/common.sh"
[ "$(id -u)" = 0 ] || skip "a small file system needs root"
store=$work/store
mkdir "$work/small"
mount -t tmpfs -o size=160m tmpfs "$work/small" || skip "no tmpfs"
export COFFER_STATE_DIR=$work/small/state
"$coffer" init "$store" --no-recovery-key --state-dir "$work/first-state"
mount_on "$store" "$work/m"
pid=$(daemon_of "$work/m")
write_file() {  # NAME MEBIBYTES: with fsync
  head -c "$(($2 << 20))" /dev/urandom >"$work/source"
  dd if="$work/source" of="$work/m/$1" bs=1M conv=fsync status=none 2>"$work/said" || return 1
  sha256sum <"$work/source" >"$work/$1.sum"
}
same() { sha256sum <"$1" | cmp -s - "$work/$(basename "$1").sum" || fail "$1 is not what was acknowledged"; }

mv "$store" "$store.away"
kept=()
for i in $(seq 100); do
  write_file "f$i" 8 || break
  kept+=("f$i")
done
grep -q 'No space left' "$work/said" || fail "the writer was not told: $(cat "$work/said")"
[ "${#kept[@]}" -ge 5 ] || fail "only ${#kept[@]} files had room"
rm -f "$work/m/f$i"
for file in "${kept[@]}"; do same "$work/m/$file"; done

# Another program takes what is left.
dd if=/dev/zero of="$work/small/filler" bs=64K status=none 2>/dev/null || true
rm "$work/m/f1"
sync "$work/m"  # fsync of the directory
expect 0 "$coffer" status "$work/m"
mv "$store.away" "$store"
expect 0 timeout 120 "$coffer" sync "$work/m"
[ "$(waiting_bytes "$work/m")" = 0 ] || fail "something still waits"

# There is room again: by eviction alone, and then by itself.
for _ in $(seq 50); do
  write_file again 4 && break
  sleep 0.2
done
same "$work/m/again"
rm "$work/small/filler"
full() { "$coffer" status --json "$work/m" | grep -q '"disk_full": *true'; }
for _ in $(seq 100); do
  full || break
  sleep 0.1
done
if full; then fail "the reserve is not restored"; fi
write_file more 8 || fail "cannot write: $(cat "$work/said")"
[ "$(daemon_of "$work/m")" = "$pid" ] || fail "another daemon"
kept=("${kept[@]:1}" again more)
for file in "${kept[@]}"; do same "$work/m/$file"; done
expect 0 "$coffer" unmount "$work/m"
expect 0 "$coffer" check "$store"
mount_on "$store" "$work/m2" --state-dir "$work/state2"
for file in "${kept[@]}"; do same "$work/m2/$file"; done
[ ! -e "$work/m2/f1" ] || fail "f1 is back"
expect 0 "$coffer" unmount "$work/m2"
