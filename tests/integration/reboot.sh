#!/bin/bash
# What is in fstab, and what the systemd user unit starts, is there again after a reboot, with all that was synced before it.
. "$(dirname "$0")/common.sh"
[ "$(id -u)" = 0 ] || skip "mount -a is root's"
# mount(8) looks for its helpers in /sbin only: a copy of that, which only this test sees.
if [ -z "${COFFER_TEST_NAMESPACE:-}" ]; then
  rm -rf "$work"
  COFFER_TEST_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$coffer"
fi
sbin=$(realpath /sbin)
cp -a "$sbin" "$work/sbin"
ln -sf "$coffer" "$work/sbin/mount.coffer"
ln -sf "$coffer" "$work/sbin/mount.fuse.coffer"
mount --bind "$work/sbin" "$sbin" || skip "no mounts in a namespace of one's own"

write_synced() { head -c 500000 /dev/urandom >"$1" && sync "$1" && sha256sum <"$1" >"$work/$(basename "$1").sum"; }
same() { sha256sum <"$1" | cmp -s - "$work/$(basename "$1").sum" || fail "$1 is not what was written"; }
# Everything ends at once, and what lies in memory is gone: the mounts, the sockets in the runtime directory.
reboot() {
  local pid
  pid=$(daemon_of "$1")
  kill -9 "$pid"
  wait "$pid" 2>/dev/null || true
  wait_for_end "$pid"
  umount -l "$1"
  rm -rf "$COFFER_RUNTIME_DIR"
}

"$coffer" init "$work/store" --no-recovery-key
mkdir "$work/m"
echo "$work/store $work/m fuse.coffer _netdev,nofail,passphrase_file=$COFFER_PASSPHRASE_FILE,upload_limit=100K 0 0" >"$work/fstab"
mount -T "$work/fstab" -a
write_synced "$work/m/a"
reboot "$work/m"
mount -T "$work/fstab" -a
same "$work/m/a"
write_synced "$work/m/b"
umount "$work/m" # as at an orderly shutdown
mount -T "$work/fstab" "$work/m"
same "$work/m/b"
mount -T "$work/fstab" -o remount,ro "$work/m"
grep -q " $work/m fuse.coffer ro,nosuid,nodev," /proc/mounts || fail "remounted as $(grep " $work/m " /proc/mounts)"
if touch "$work/m/a"; then fail "written to what is mounted read-only"; fi
same "$work/m/a"
mount -o remount,rw "$work/m"  # here mount(8) gives what /proc/mounts says for options
write_synced "$work/m/b"
exec 9>>"$work/m/b"
expect 5 mount -o remount,ro "$work/m"
exec 9>&-
"$coffer" unmount --now "$work/m"

mkdir -p "$XDG_CONFIG_HOME/coffer"
cat >"$XDG_CONFIG_HOME/coffer/config.toml" <<C
[volume.photos]
store = "$work/store"
directory = "$work/m"
passphrase_file = "$COFFER_PASSPHRASE_FILE"
C
unit=$work/coffer@photos.service
sed "s|^ExecStart=[^ ]*|ExecStart=$coffer|" "$(dirname "$coffer")/coffer@.service" >"$unit"
if command -v systemd-analyze >/dev/null; then
  mkdir -p "$work/runtime"
  said=$(XDG_RUNTIME_DIR=$work/runtime systemd-analyze --user verify --man=no "$unit" 2>&1 | grep -F coffer || true)
  [ -z "$said" ] || fail "systemd finds fault with the unit: $said"
fi
start_unit() {
  local command _
  command=$(sed -n 's/^ExecStart=//p' "$unit")
  ${command//%i/photos} &
  unit_pid=$!
  for _ in $(seq 300); do
    mountpoint -q "$work/m" && return 0
    sleep 0.1
  done
  fail "the unit does not mount"
}
start_unit
same "$work/m/a"
same "$work/m/b"
write_synced "$work/m/c"
reboot "$work/m"
start_unit
same "$work/m/c"
kill -TERM "$unit_pid" # systemctl --user stop
wait "$unit_pid" || fail "the unit ended with $?"
if mountpoint -q "$work/m"; then fail "still mounted"; fi

# And nothing of it is on this machine only.
mount_on "$work/store" "$work/m"
"$coffer" sync "$work/m"
"$coffer" unmount "$work/m"
mount_on "$work/store" "$work/m2" --state-dir "$work/state2"
for file in a b c; do same "$work/m2/$file"; done
"$coffer" unmount "$work/m2"
