#!/bin/bash
# ls, cat, export and check read a volume without mounting it; the helper of mount(8) mounts it; a config file names it.
. "$(dirname "$0")/common.sh"
store=$work/store
"$coffer" init "$store" --recovery-key-file "$work/key"
mount_on "$store" "$work/m"
mkdir -p "$work/m/dir/sub"
echo hello >"$work/m/dir/file"
head -c 2500000 /dev/urandom >"$work/m/dir/sub/big"
truncate -s 1000000 "$work/m/dir/sparse"
ln "$work/m/dir/file" "$work/m/dir/hard"
ln -s sub/big "$work/m/dir/soft"
mkfifo "$work/m/dir/fifo"
chmod 4751 "$work/m/dir/file"
touch -d '2001-02-03 04:05:06.789' "$work/m/dir/sub" "$work/m/dir/file"
"$coffer" unmount "$work/m"
mount_on "$store" "$work/m"
"$here/tree_digest.py" "$work/m/dir" >"$work/mounted.digest"
"$coffer" unmount "$work/m"

"$coffer" ls "$store" dir | grep -q 'rwsr-x--x.* file$' || fail "ls does not show the file"
"$coffer" ls --json "$store" dir | python3 -m json.tool >/dev/null
[ "$("$coffer" cat "$store" dir/file)" = hello ] || fail "cat"
[ "$("$coffer" cat "$store" /dir/file --recovery-key-file "$work/key")" = hello ] || fail "cat with the recovery key"
expect 1 "$coffer" cat "$store" dir/none
"$coffer" export "$store" dir "$work/out"
"$here/tree_digest.py" "$work/out" >"$work/exported.digest"
diff "$work/mounted.digest" "$work/exported.digest" || fail "the exported tree differs"
[ "$work/out/hard" -ef "$work/out/file" ] || fail "the hard link is lost"
[ "$(stat -c %b "$work/out/sparse")" -lt 100 ] || fail "the hole is filled"
expect 2 "$coffer" export "$store" dir "$work/out"
"$coffer" check "$store" | grep -q 'no fault' || fail "check"
# (Whatever else lies in /tmp, mounts that somebody left dead among it, is not looked at.)
leftovers=$(find /tmp -maxdepth 1 -name 'coffer-read-*' -newer "$work/key" 2>/dev/null || true)
[ -z "$leftovers" ] || fail "left behind: $leftovers"

# The helper of mount(8).
ln -s "$coffer" "$work/mount.fuse.coffer"
"$work/mount.fuse.coffer" "$store" "$work/m" -o "rw,_netdev,noatime,state_dir=$work/state3,passphrase_file=$work/passphrase"
grep -q "$work/m fuse.coffer .*noatime" /proc/self/mounts || fail "not mounted with noatime"
[ "$(cat "$work/m/dir/file")" = hello ] || fail "the helper's mount"
"$coffer" unmount "$work/m"

# A volume by name, with the place where it goes.
mkdir -p "$XDG_CONFIG_HOME/coffer"
printf '[volume.v]\nstore = "%s"\ndirectory = "%s"\nmount_options = "ro"\n' "$store" "$work/m" \
  >"$XDG_CONFIG_HOME/coffer/config.toml"
"$coffer" mount v
if touch "$work/m/x" 2>/dev/null; then fail "ro is not read-only"; fi
"$coffer" unmount "$work/m"

# One bit of one object is wrong: check says so, with its code.
object=$(find "$store/obj" -type f -size +200k | head -n 1)
[ -n "$object" ] || fail "no pack in the store"
python3 - "$object" <<'P'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(100_000)
    byte = f.read(1)[0]
    f.seek(100_000)
    f.write(bytes([byte ^ 4]))
P
expect 11 "$coffer" check "$store"
