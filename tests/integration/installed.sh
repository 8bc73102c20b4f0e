#!/bin/bash
# What cmake --install puts down works from there: the program, its manual, mount(8)'s helpers, and the systemd unit.
# usage: installed.sh COFFER BUILD-DIRECTORY
. "$(dirname "$0")/common.sh"
build=$(realpath "$1")
top=$work/root
prefix=$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$build/CMakeCache.txt")
DESTDIR=$top cmake --install "$build" >/dev/null
"$top$prefix/bin/coffer" --version >/dev/null || fail "the installed program does not run"

# Every page of the source tree, each clean, and man(1) finds each by its name.
for page in "$here"/../../man/*.[1-8]; do
  name=$(basename "$page")
  section=${name##*.}
  installed=$top$prefix/share/man/man$section/$name
  cmp -s "$page" "$installed" || fail "$name is not installed as it is"
done
if command -v mandoc >/dev/null; then
  find "$top$prefix/share/man" -type f -print0 | xargs -0 mandoc -Tlint -Wwarning || fail "the installed pages are not clean"
else
  skip "no mandoc"
fi

# The helpers lead to the program, under any root.
for helper in mount.coffer mount.fuse.coffer; do
  [ "$(realpath "$top$prefix/sbin/$helper")" = "$(realpath "$top$prefix/bin/coffer")" ] || fail "$helper leads elsewhere"
done
"$coffer" init "$work/store" --no-recovery-key
mkdir "$work/m"
"$top$prefix/sbin/mount.coffer" "$work/store" "$work/m" -o "rw,nofail,passphrase_file=$COFFER_PASSPHRASE_FILE"
echo hello >"$work/m/file"
expect 0 "$top$prefix/bin/coffer" unmount "$work/m"

# The unit starts the program where it will be, and systemd finds no fault with it.
unit=$top$prefix/lib/systemd/user/coffer@.service
grep -q "^ExecStart=$prefix/bin/coffer mount --foreground %i$" "$unit" || fail "the unit starts $(grep ^ExecStart "$unit")"
command -v systemd-analyze >/dev/null || skip "no systemd-analyze"
mkdir -p "$work/units" "$work/runtime"
sed "s|^ExecStart=$prefix|ExecStart=$top$prefix|" "$unit" >"$work/units/coffer@photos.service"
XDG_RUNTIME_DIR=$work/runtime systemd-analyze --user verify "$work/units/coffer@photos.service" >"$work/said" 2>&1 || true
if grep -F 'coffer@' "$work/said" | grep -v 'man coffer(1)' ; then fail "systemd finds fault with the unit: $(cat "$work/said")"; fi
