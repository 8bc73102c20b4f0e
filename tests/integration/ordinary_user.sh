#!/bin/bash
# The main job as an ordinary user, who mounts by fusermount3: files are his, and nobody else's; after a kill, his next mount
# clears what is dead and finds what was acknowledged.
# usage: ordinary_user.sh COFFER
. "$(dirname "$0")/common.sh"
# Root plays him, with a device that he may open, which only this test sees.
if [ "$(id -u)" = 0 ] && [ -z "${COFFER_TEST_NAMESPACE:-}" ]; then
  rm -rf "$work"
  COFFER_TEST_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$coffer"
fi
fusermount=$(command -v fusermount3) || skip "no fusermount3"
his=$work/his
mkdir "$his"
if [ "$(id -u)" = 0 ]; then
  [ -u "$fusermount" ] || skip "fusermount3 is not setuid root: no ordinary user can mount"
  mknod -m 666 "$work/fuse" c 10 229 && mount --bind "$work/fuse" /dev/fuse || skip "no device of one's own"
  cp "$coffer" "$work/program"  # the checkout may be where he cannot see it
  coffer=$work/program
  mv "$COFFER_PASSPHRASE_FILE" "$HOME/.gitconfig" "$his"
  chown -R 65534:65534 "$his"
  he() { setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"; }
else
  mv "$COFFER_PASSPHRASE_FILE" "$HOME/.gitconfig" "$his"
  he() { "$@"; }
fi
export HOME=$his XDG_STATE_HOME=$his/state XDG_CONFIG_HOME=$his/config COFFER_RUNTIME_DIR=$his/run
export COFFER_PASSPHRASE_FILE=$his/passphrase
me=$(he id -u) group=$(he id -g)

"$here/make_repository.py" "$work/origin" 300
he "$coffer" init "$his/store" --no-recovery-key
he mkdir "$his/m"
he "$coffer" mount "$his/store" "$his/m"
grep -q "^$his/store $his/m fuse.coffer .*user_id=$me,group_id=$group" /proc/self/mounts || fail "the mount is not his"
he git clone -q "file://$work/origin" "$his/m/clone"
he git -C "$his/m/clone" fsck --full --strict
[ -z "$(he git -C "$his/m/clone" status --porcelain)" ] || fail "git status is not clean"
he sh -c "echo hello >'$his/m/file'"
[ "$(he stat -c %u:%g "$his/m/file")" = "$me:$group" ] || fail "the file belongs to $(he stat -c %u:%g "$his/m/file")"
expect 1 he chown "$((me + 1))" "$his/m/file"
grep -q 'Operation not permitted' <<<"$said" || fail "chown says: $said"
expect 0 he chown "$me:$group" "$his/m/file"  # what tar and cp do
if [ "$(id -u)" = 0 ] && cat "$his/m/file" 2>/dev/null; then fail "root sees another user's mount without allow_other"; fi
mkdir "$work/roots"
[ "$(he "$coffer" status --json "$his/m" | grep -c '"mount"')" = 1 ] || fail "no status"

# A kill: what was synced is there.
he find "$his/m" -type f -exec sync {} +
he dd if=/dev/urandom of="$his/m/kept" bs=300000 count=1 conv=fsync status=none
he sha256sum "$his/m/kept" >"$work/kept.sum"
pid=$(he "$coffer" status --json "$his/m" | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')
[ "$(stat -c %u "/proc/$pid")" = "$me" ] || fail "the daemon is not his"
kill -9 "$pid"
wait_for_end "$pid"
if he ls "$his/m" 2>"$work/said"; then fail "the mount point is not dead"; fi
expect 0 he "$coffer" mount "$his/store" "$his/m"
grep -q 'cleared what a coffer that died had left' <<<"$said" || fail "it does not say that it cleared the mount point: $said"
he sha256sum --quiet -c - <"$work/kept.sum" || fail "what was acknowledged is not there"
[ "$(grep -c " $his/m " /proc/self/mounts)" = 1 ] || fail "a dead mount is left under the new one"
he git -C "$his/m/clone" fsck --full --strict
expect 0 he "$coffer" sync "$his/m"
expect 0 he "$coffer" unmount "$his/m"
if grep -q " $his/m " /proc/self/mounts; then fail "still mounted"; fi
if [ "$(id -u)" = 0 ]; then
  expect 7 he "$coffer" mount "$his/store" "$work/roots"
  grep -q 'must be yours' <<<"$said" || fail "it says: $said"
fi
expect 0 he "$coffer" check "$his/store"

# Another device of his, and the same tree there.
he "$coffer" mount "$his/store" "$his/m" --state-dir "$his/state2"
he sha256sum --quiet -c - <"$work/kept.sum" || fail "the second device sees something else"
he git -C "$his/m/clone" fsck --full --strict
expect 0 he "$coffer" unmount "$his/m"

# When fusermount3 refuses, who asks is told why.
mkdir "$his/bin"
cat >"$his/bin/fusermount3" <<S
#!/bin/sh
if [ "\$1" = -u ] && [ -e "$his/refuse" ]; then echo "fusermount3: for a reason" >&2; exit 1; fi
exec "$fusermount" "\$@"
S
chmod 755 "$his/bin/fusermount3"
PATH=$his/bin:$PATH he "$coffer" mount "$his/store" "$his/m"
touch "$his/refuse"
expect 7 he "$coffer" unmount "$his/m"
must_say 'not unmounted: fusermount3: for a reason'
rm "$his/refuse"
expect 0 he "$coffer" unmount "$his/m"

# Without fusermount3 it says which package has it.
[ "$(id -u)" = 0 ] || skip "without fusermount3: needs root"
mount --bind /dev/null "$fusermount"
expect 6 he "$coffer" mount "$his/store" "$his/m"
grep -q 'fuse3' <<<"$said" || fail "it does not say what is missing: $said"
umount "$fusermount"
