#!/bin/bash
# Each thing that can be wrong has its own exit code, and a sentence that helps.
. "$(dirname "$0")/common.sh"
store=$work/store

expect 2 "$coffer"
expect 2 "$coffer" frobnicate
expect 2 "$coffer" key "$store"
expect 9 "$coffer" snapshot "$store"
must_say 'not there yet'
expect 2 "$coffer" key rotate --rewrite "$store" # what was written before stays as it is
expect 2 "$coffer" init "$store" # no terminal to show the recovery key on
must_say recovery-key-file
mkdir "$work/m" "$work/empty"
expect 4 "$coffer" mount "$work/empty" "$work/m"
must_say 'not a coffer volume'
# Without create, a directory that is not there is an unplugged disk, not an empty volume.
expect 8 "$coffer" mount "$work/unplugged" "$work/m"

# Truncated and foreign volume objects.
mkdir "$work/foreign" "$work/truncated"
head -c 5000 /dev/urandom >"$work/foreign/coffer"
: >"$work/truncated/coffer"
expect 4 "$coffer" mount "$work/foreign" "$work/m"
expect 4 "$coffer" mount "$work/truncated" "$work/m"
expect 5 "$coffer" init --no-recovery-key "$work/foreign"

expect 0 "$coffer" init "$store" --recovery-key-file "$work/key"
must_say 'coffer mount'
expect 5 "$coffer" init "$store" --no-recovery-key
expect 2 "$coffer" init "$work/other" --recovery-key-file "$work/key" # never overwritten

(umask 077 && echo wrong >"$work/wrong")
expect 3 "$coffer" mount "$store" "$work/m" --passphrase-file "$work/wrong"
must_say 'wrong passphrase'
expect 3 "$coffer" mount "$store" "$work/m" --state-dir "$work/s2" --passphrase-command 'echo nope'
expect 1 "$coffer" mount "$store" "$work/m" --passphrase-command 'exit 7'
expect 1 "$coffer" mount "$store" "$work/no-such-directory"
must_say 'mkdir -p'
expect 2 "$coffer" mount "$store" "$work/m" --cache-size 3
must_say 'at least 64M'
expect 2 "$coffer" mount "$store" "$work/m" --upload-limit much
must_say 'like 512K'
expect 2 "$coffer" mount "$store" "$work/m" -o no_such_option
expect 2 "$coffer" mount "$store" "$store"
expect 2 "$coffer" mount nameless "$work/m"
expect 1 "$coffer" status "$work/m"
must_say 'no coffer volume'

# The beginning of a volume's first object, or of its slots: never mounted, and never made over.
cp -r "$store" "$work/cut"
truncate -s 20 "$work/cut/coffer"
expect 4 "$coffer" mount "$work/cut" "$work/m" --state-dir "$work/s3"
must_say 'cut off'
expect 5 "$coffer" init --no-recovery-key "$work/cut"
cp "$store/coffer" "$work/cut/coffer"
truncate -s 20 "$work/cut"/slot/*
expect 11 "$coffer" mount "$work/cut" "$work/m" --state-dir "$work/s3"
must_say 'key slots are damaged'
must_say 'check --repair'
expect 5 "$coffer" init --no-recovery-key "$work/cut"

# A newer format in the store, and in the state directory.
cp -r "$store" "$work/newer"
printf '\xff\x7f' | dd of="$work/newer/coffer" bs=1 seek=8 conv=notrunc status=none
expect 9 "$coffer" mount "$work/newer" "$work/m" --state-dir "$work/s3"

expect 0 "$coffer" mount "$store" "$work/m"
: >"$work/m/file"
expect 5 "$coffer" mount "$store" "$work/m"
if grep -q hidden <<<"$said"; then fail "what the mount itself shows is hidden by nothing: $said"; fi
rm "$work/m/file"
mkdir "$work/m2"
expect 5 "$coffer" mount "$store" "$work/m2"
must_say 'already mounted by pid'
exec 5>"$work/m/open"
expect 5 "$coffer" unmount "$work/m"
must_say 'in use'
exec 5>&-
expect 0 "$coffer" unmount "$work/m"

volume=$(find "$XDG_STATE_HOME/coffer" -name version -printf '%h\n')
echo 99 >"$volume/version"
expect 9 "$coffer" mount "$store" "$work/m"
must_say 'newer coffer'
echo 1 >"$volume/version"
expect 0 "$coffer" mount "$store" "$work/m"
expect 0 "$coffer" unmount "$work/m"

# The recovery key opens it, too.
expect 0 "$coffer" ls "$store" / --recovery-key-file "$work/key"

# Ctrl-C at the prompt: it ends as by the signal, and what is typed shows again.
printf '%s\n' 'expect Passphrase: ' interrupt 'expect ended with 130' 'expect  echo ' >"$work/script"
# shellcheck disable=SC2016
COFFER_PASSPHRASE_FILE='' TALK_LOG=$work/talk "$here/talk.py" "$work/script" \
  sh -c 'trap : INT; "$0" ls "$1" /; echo "ended with $?"; stty -a' "$coffer" "$store" ||
  fail "Ctrl-C at the prompt leaves the terminal, or ends, as it should not"

# What only root can set up.
[ "$(id -u)" = 0 ] || skip "no FUSE, and no permission: need root"

# A container that was started meanwhile has the mount as well: that is said, and when it ends, so does the daemon.
expect 0 "$coffer" mount "$store" "$work/m"
pid=$(daemon_of "$work/m")
unshare --mount --propagation private sleep 300 &
container=$!
started+=("$container")
wait_for "there is no namespace" grep -q "$work/m" "/proc/$container/mounts"
wait_for "there is no container" grep -q sleep "/proc/$container/comm"
echo kept >"$work/m/kept"
expect 5 "$coffer" unmount "$work/m"
must_say 'another mount namespace'
if mountpoint -q "$work/m"; then fail "it is mounted here still"; fi
kill "$container"
wait_for_end "$pid"
expect 0 "$coffer" mount "$store" "$work/m"
[ "$(cat "$work/m/kept")" = kept ] || fail "what was written before is not there"
rm "$work/m/kept"
expect 0 "$coffer" unmount "$work/m"

expect 6 unshare --mount sh -c 'mount -t tmpfs none /dev && exec "$@"' - "$coffer" mount "$store" "$work/m"
must_say 'no /dev/fuse'
must_say modprobe

# A state directory, and a store, of somebody else's. The program may be where he cannot see it.
cp "$coffer" "$work/program"
mkdir -m 777 "$work/his"
he() {
  setpriv --reuid=65534 --regid=65534 --clear-groups env XDG_STATE_HOME="$work/his/state" COFFER_RUNTIME_DIR="$work/his/run" \
    COFFER_PASSPHRASE_FILE= "$work/program" "$@" --passphrase-command 'echo correct horse battery staple'
}
expect 7 he ls "$store" /
must_say "directory $store may not be opened; check its owner and mode"
chmod -R a+rX "$store"
expect 7 he mount "$store" "$work/his" --state-dir "$XDG_STATE_HOME/coffer"
must_say 'cannot write to the state directory'
must_say 'Permission denied'
must_say '--state-dir'
expect 7 he init "$work/his/store" --no-recovery-key --state-dir "$XDG_STATE_HOME/coffer"
must_say 'cannot write to the state directory'
[ ! -e "$work/his/store/coffer" ] || fail "a volume was made that he cannot keep a state of"

# A store that refuses.
start_server lighttpd-dav
start_proxy
expect 0 "$coffer" init "$store" --no-recovery-key "${store_options[@]}"
echo status-403 >"$work/mode"
expect 7 "$coffer" mount "$store" "$work/m" --state-dir "$work/s4" "${store_options[@]}"
must_say 403
must_say 'credentials'
expect 7 "$coffer" init "$store-2" --no-recovery-key "${store_options[@]}"
must_say 403
