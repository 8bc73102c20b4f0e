#!/bin/bash
# The daemon of a real mount is confined, in each of its threads, and all that it has to do goes on working: as root and as
# an ordinary user, over file:// and TLS, and however it ends.
. "$(dirname "$0")/common.sh"
# Root tries it as an ordinary user, too, with a device that this one may open, which only this test sees.
if [ "$(id -u)" = 0 ] && [ -z "${COFFER_TEST_NAMESPACE:-}" ]; then
  rm -rf "$work"
  COFFER_TEST_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$coffer"
fi
if [ "$(id -u)" = 0 ]; then
  mknod -m 666 "$work/fuse" c 10 229 && mount --bind "$work/fuse" /dev/fuse || skip "no device of one's own"
fi

check_daemon() {  # DIR
  local pid task
  pid=$(daemon_of "$1")
  for task in "/proc/$pid/task/"*; do
    [ "$(awk '/^NoNewPrivs:/ { print $2 }' "$task/status")" = 1 ] || fail "$(cat "$task/comm") may get new privileges"
    [ "$(awk '/^Seccomp:/ { print $2 }' "$task/status")" = 2 ] || fail "$(cat "$task/comm") may make any system call"
  done
  "$coffer" status --json "$1" | python3 -c '
import ctypes, json, sys
said = json.load(sys.stdin)["confined"]
landlock = ctypes.CDLL(None).syscall(444, None, 0, 1) > 0
assert said["system_calls"] and said["no_new_privileges"] and said["files"] == landlock, said'
}

echo "as $(id -un), a directory as the store"
"$coffer" init "$work/store" --no-recovery-key
mount_on "$work/store" "$work/m"
check_daemon "$work/m"
echo hello >"$work/m/file"
"$coffer" sync --quiet "$work/m"
# Somebody has a file open: refused, then told to go.
exec 7>"$work/m/open"
expect 5 "$coffer" unmount "$work/m"
echo kept >&7
"$coffer" unmount --quiet --lazy "$work/m"
exec 7>&-
mount_on "$work/store" "$work/m"
[ "$(cat "$work/m/open")" = kept ] || fail "what an open file had is gone"
pid=$(daemon_of "$work/m")
kill -TERM "$pid"
wait_for_end "$pid"
[ -z "$(mounts_here)" ] || fail "still mounted after SIGTERM"
"$coffer" mount -f "$work/store" "$work/m" 2>"$work/foreground" &
for _ in $(seq 100); do [ -e "$work/m/file" ] && break || sleep 0.1; done
check_daemon "$work/m"
kill -TERM $!
wait $! || fail "coffer mount -f ended with $?"
mount_on "$work/store" "$work/m"
pid=$(daemon_of "$work/m")
mounter=$(pgrep -x coffer-mounter -P "$pid") || fail "no process mounts for the daemon"
kill -9 "$pid"
wait_for_end "$pid"
wait_for_end "$mounter"
umount -l "$work/m" 2>/dev/null || fusermount3 -uz "$work/m"

if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null && [ -u "$(command -v fusermount3)" ]; then
  echo "as an ordinary user, who needs fusermount3"
  user=$work/user
  mkdir "$user"
  cp "$COFFER_PASSPHRASE_FILE" "$user/passphrase"
  chown -R 65534:65534 "$user"
  as_user() {
    setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$user" XDG_STATE_HOME="$user/state" \
      XDG_CONFIG_HOME="$user/config" COFFER_RUNTIME_DIR="$user/run" COFFER_PASSPHRASE_FILE="$user/passphrase" "$@"
  }
  as_user "$coffer" init "$user/store" --no-recovery-key
  for how in unmount TERM; do
    as_user mkdir -p "$user/m"
    as_user "$coffer" mount "$user/store" "$user/m"
    as_user sh -c "echo $how >'$user/m/$how'"
    export COFFER_RUNTIME_DIR=$user/run
    check_daemon "$user/m"
    pid=$(daemon_of "$user/m")
    case $how in
      unmount) as_user "$coffer" unmount --quiet "$user/m" ;;
      TERM) kill -TERM "$pid" ;;
    esac
    wait_for_end "$pid"
    [ -z "$(mounts_here)" ] || fail "still mounted after $how"
    export COFFER_RUNTIME_DIR=$work/run
  done
fi

echo "over TLS, with a certificate of its own"
start_server lighttpd-dav
"$coffer" init "$store" "${store_options[@]}" --no-recovery-key
mount_on "$store" "$work/m" "${store_options[@]}"
check_daemon "$work/m"
head -c 3000000 /dev/urandom >"$work/m/big"
"$coffer" unmount --quiet "$work/m"
echo "all good"
