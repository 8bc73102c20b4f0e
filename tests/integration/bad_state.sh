#!/bin/bash
# A state directory that is read-only, full, or of another volume: each command that cannot go on says so, to what, and what to
# do, before anything is made; what can go on does; and the advice works.
# usage: bad_state.sh COFFER
. "$(dirname "$0")/common.sh"
[ "$(id -u)" = 0 ] || skip "small and read-only file systems need root"
store=$work/store
state=$work/disk/state
mkdir "$work/disk" "$work/m"
mount -t tmpfs -o size=48m tmpfs "$work/disk" || skip "no tmpfs"
must_say_all() {
  local word
  for word in "$@"; do grep -qF -- "$word" <<<"$said" || fail "nothing about '$word' in: $said"; done
}
not_mounted() { if mountpoint -q "$work/m"; then fail "mounted nevertheless"; fi; }
nothing_made() { [ ! -e "$1/coffer" ] || fail "a volume was made that this machine cannot keep a state of"; }
leave() {  # and wait until nobody has a file open there
  local pid
  pid=$(daemon_of "$work/m")
  expect 0 "$coffer" unmount "$work/m"
  wait_for_end "$pid"
}

"$coffer" init "$store" --no-recovery-key

# Read-only: before there is anything in it, and with all of a volume in it.
mount -o remount,ro "$work/disk"
expect 7 "$coffer" init "$work/new" --no-recovery-key --state-dir "$state"
must_say_all "$state" 'Read-only file system' '--state-dir'
nothing_made "$work/new"
expect 7 "$coffer" mount "$store" "$work/m" --state-dir "$state"
must_say_all "$state" 'Read-only file system' '--state-dir'
not_mounted
mount -o remount,rw "$work/disk"
mount_on "$store" "$work/m" --state-dir "$state"
echo first >"$work/m/first"
leave
mount -o remount,ro "$work/disk"
expect 7 "$coffer" mount "$store" "$work/m" --state-dir "$state"
must_say_all "$state" 'Read-only file system' '--state-dir'
not_mounted
mount -o remount,rw "$work/disk"

# Full, for a volume that is new here.
fill() { dd if=/dev/zero of="$work/disk/filler" bs=4K status=none 2>/dev/null || true; }
make_room() { rm "$work/disk/filler"; }
rm -rf "$state"
fill
expect 1 "$coffer" init "$work/new" --no-recovery-key --state-dir "$state"
must_say_all "$state" 'No space left' 'Make room'
nothing_made "$work/new"
expect 1 "$coffer" mount "$store" "$work/m" --state-dir "$state"
must_say_all "$state" 'No space left' 'Make room'
not_mounted
make_room
expect 0 "$coffer" init "$work/new" --no-recovery-key --state-dir "$state"
rm -rf "$state"
mount_on "$store" "$work/m" --state-dir "$state"
echo second >"$work/m/second"
[ "$(cat "$work/m/first")" = first ] || fail "what was written before is not there"
leave

# Full, with all of the volume in it: it can be mounted, read, and removed from.
disk_is_full() { expect 0 "$coffer" status "$work/m" && must_say_all 'the disk with the state directory is full' 'Make room'; }
fill
mount_on "$store" "$work/m" --state-dir "$state"
disk_is_full
[ "$(cat "$work/m/first" "$work/m/second")" = $'first\nsecond' ] || fail "what was written before is not there"
if (echo third >"$work/m/third") 2>"$work/said"; then fail "a full disk takes more"; fi
grep -q 'No space left' "$work/said" || fail "the writer is told: $(cat "$work/said")"
rm "$work/m/first"
leave
make_room

# And after a kill, with work that is in no store yet.
mv "$store" "$store.away"
mount_on "$store" "$work/m" --state-dir "$state"
head -c 1000000 /dev/urandom >"$work/m/kept"
sync "$work/m/kept"
sha256sum <"$work/m/kept" >"$work/kept.sum"
pid=$(daemon_of "$work/m")
kill -9 "$pid"
wait_for_end "$pid"
fill
expect 0 "$coffer" mount "$store" "$work/m" --state-dir "$state"
must_say_all 'cleared what a coffer that died had left'
disk_is_full
sha256sum <"$work/m/kept" | cmp -s - "$work/kept.sum" || fail "what was acknowledged before the kill is not there"
mv "$store.away" "$store"
expect 0 timeout 120 "$coffer" sync "$work/m"
make_room
leave

# Of another volume: all of it, only the replica, only the identity.
expect 0 "$coffer" init "$work/other" --no-recovery-key --state-dir "$work/others-state"
mount_on "$work/other" "$work/m" --state-dir "$work/others-state"
echo other >"$work/m/other"
leave
cp -a "$state" "$work/state2"
state=$work/state2
mine=$(dirname "$(find "$state" -name salt)")
others=$(dirname "$(find "$work/others-state" -name salt)")
foreign() {  # WHAT: in the place of our own; "" is all of it
  cp -a "$mine" "$work/ours"
  rm -rf "${mine:?}$1"
  cp -a "$others$1" "$mine$1"
  expect 11 "$coffer" mount "$store" "$work/m" --state-dir "$state"
  must_say_all "$mine" ' volume' "Move $mine away"
  not_mounted
  # As advised; and what was moved away has its own work still.
  mv "$mine" "$work/moved-away"
  mount_on "$store" "$work/m" --state-dir "$state"
  [ "$(cat "$work/m/second")" = second ] || fail "what the store has is not there"
  leave
  rm -rf "$mine" "$work/moved-away"
  mv "$work/ours" "$mine"
}
foreign ""
foreign /replica
foreign /identity
mount_on "$store" "$work/m" --state-dir "$state"
[ "$(cat "$work/m/second")" = second ] || fail "our own state directory does not serve any more"
leave
expect 0 "$coffer" check "$store"
