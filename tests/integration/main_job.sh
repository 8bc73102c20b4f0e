#!/bin/bash
# The main job: a volume on STORE (directory, ceph-rgw, lighttpd-dav); a git clone of 1,200 files; sync; unmount. Another
# device mounts it and finds a clean repository and the same tree.
# usage: main_job.sh COFFER STORE
. "$(dirname "$0")/common.sh"
kind=$1
if [ "$kind" = directory ]; then
  store=$work/store store_options=()
else
  start_server "$kind"
fi

"$here/make_repository.py" "$work/origin" 1200
[ "$(git -C "$work/origin" ls-files | wc -l)" -ge 1000 ] || fail "the repository is too small"

"$coffer" init "$store" --recovery-key-file "$work/recovery" "${store_options[@]}"
[ "$(stat -c %a "$work/recovery")" = 600 ] || fail "others may read the recovery key"
mount_on "$store" "$work/here" "${store_options[@]}"
git clone -q "file://$work/origin" "$work/here/clone"
git -C "$work/here/clone" fsck --full --strict
"$coffer" sync "$work/here"
[ "$(waiting_bytes "$work/here")" = 0 ] || fail "something still waits after sync"
"$here/tree_digest.py" "$work/here" >"$work/here.digest"
"$coffer" status "$work/here"
pid=$(daemon_of "$work/here")
"$coffer" unmount "$work/here"
[ ! -d "/proc/$pid" ] || wait_for_end "$pid"

mount_on "$store" "$work/there" --state-dir "$work/state2" --device-name second "${store_options[@]}"
"$here/tree_digest.py" "$work/there" >"$work/there.digest"
diff "$work/here.digest" "$work/there.digest" || fail "the trees differ"
git -C "$work/there/clone" fsck --full --strict
[ -z "$(git -C "$work/there/clone" status --porcelain)" ] || fail "git status is not clean there"
echo 'from the second device' >"$work/there/note"
"$coffer" unmount "$work/there"

# And back: the first device sees what the second wrote.
mount_on "$store" "$work/here" "${store_options[@]}"
soon() {  # WHAT COMMAND...: within half a minute
  local what=$1 _
  shift
  for _ in $(seq 300); do
    if "$@" 2>/dev/null; then return 0; fi
    sleep 0.1
  done
  fail "$what"
}
has() { [ "$(cat "$1")" = "$2" ]; }
gone() { [ ! -e "$1" ]; }
soon "the second device's file is not here" has "$work/here/note" 'from the second device'

# Both are mounted, and nobody asks for a sync: what one makes, changes, moves and removes shows on the other, where the kernel
# has the old contents and names.
mount_on "$store" "$work/there" --state-dir "$work/state2" "${store_options[@]}"
soon "what was written before it was mounted does not show" has "$work/there/note" 'from the second device'
echo 'from the first' >"$work/here/note"
echo going >"$work/here/going"
soon "a change does not show" has "$work/there/note" 'from the first'
soon "a new file does not show" has "$work/there/going" going
echo 'from the second' >"$work/there/note"
mv "$work/there/going" "$work/there/moved"
rm -r "$work/there/clone"
soon "a change does not show on the first device" has "$work/here/note" 'from the second'
soon "a new name does not show" has "$work/here/moved" going
soon "the old name still shows" gone "$work/here/going"
soon "a removed tree still shows" gone "$work/here/clone"
"$coffer" unmount "$work/there"
"$coffer" unmount "$work/here"
