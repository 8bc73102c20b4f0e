#!/bin/bash
# With -o fsync=remote, what fsync acknowledged survives the loss of everything local in the next moment.
. "$(dirname "$0")/common.sh"
store=$work/store
"$coffer" init "$store" --no-recovery-key
mount_on "$store" "$work/m" -o fsync=remote
mkdir "$work/m/dir"
head -c 5000000 /dev/urandom >"$work/source"
python3 - "$work/m/dir" "$work/source" "$(daemon_of "$work/m")" <<'P'
import os, signal, sys
directory, source, daemon = sys.argv[1:]
def write(name, content):
    with open(os.path.join(directory, name), "wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())
write("small", b"a few bytes\n")
write("big", open(source, "rb").read())
# The last one, and its new name.
write("draft", b"the final text\n")
os.rename(os.path.join(directory, "draft"), os.path.join(directory, "final"))
handle = os.open(directory, os.O_RDONLY)
os.fsync(handle)
os.kill(int(daemon), signal.SIGKILL)  # before anything that is not acknowledged can get there by itself
P
umount -l "$work/m"
rm -rf "$XDG_STATE_HOME" "$XDG_CONFIG_HOME"

mount_on "$store" "$work/m2" --state-dir "$work/state2"
cmp "$work/source" "$work/m2/dir/big" || fail "big is not what was acknowledged"
[ "$(cat "$work/m2/dir/small")" = 'a few bytes' ] || fail "small is not what was acknowledged"
[ "$(cat "$work/m2/dir/final")" = 'the final text' ] || fail "the rename is lost"
[ ! -e "$work/m2/dir/draft" ] || fail "the old name is there"
expect 0 "$coffer" unmount "$work/m2"
expect 0 "$coffer" check "$store"
