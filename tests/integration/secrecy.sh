#!/bin/bash
# A known name, a known content and the size of a file are found nowhere in the store and nowhere in the state directory,
# mounted or not; equal files give unequal objects; the passphrase stands in no argument and no environment of the daemon.
. "$(dirname "$0")/common.sh"
store=$work/store
name=Xq7verysecretname content=Zw9verysecretcontent attribute=Kj3verysecretvalue
"$coffer" init "$store" --recovery-key-file "$work/recovery"
unset COFFER_PASSPHRASE_FILE
mount_on "$store" "$work/m" --passphrase-command "cat $work/passphrase"
mkdir "$work/m/$name"
for copy in 1 2; do
  yes "$content" 2>/dev/null | head -c 300000 >"$work/m/$name/$name-$copy" || true
done
ln -s "$content" "$work/m/$name/link"
python3 -c "import os, sys; os.setxattr(sys.argv[1], 'user.$name', b'$attribute')" "$work/m/$name/$name-1" || true
# Sizes of files: with contents, and of holes, whose numbers are long enough not to be found by chance.
sizes=(1234567 2345679 391847263504 7812340912345678)
for size in "${sizes[@]:0:2}"; do head -c "$size" /dev/urandom >"$work/m/$name/size-$size"; done
for size in "${sizes[@]:2}"; do truncate -s "$size" "$work/m/$name/size-$size"; done
dd if="$work/m/$name/$name-1" of="$work/m/random-writes" bs=4096 count=3 seek=5 status=none
sync -f "$work/m"
nowhere() {
  local word
  for word in "$name" "$content" "$attribute" 'correct horse' "$(head -c 23 "$work/recovery")"; do
    if grep -rlaF -- "$word" "$store" "$work/state" "$work/run"; then fail "$1: '$word' is found"; fi
  done
}
nowhere "before the upload"
# As u32, u64, varint and digits, of four bytes or more: fewer are there by chance.
sizes_nowhere() { sizes_in "$work/state" "$store" || fail "$1: a size is found"; }
sizes_in() {  # DIR DIR: 1 if there is any
  python3 - "$@" "${sizes[@]}" <<'P'
import os
import sys

state, store, *sizes = sys.argv[1:]


def varint(n):
    out = b""
    while n >= 128:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


forms = {}
for size in map(int, sizes):
    numbers = {size, size + 511 & ~511, size + 4095 & ~4095}  # and what would be set aside for them
    for number in numbers:
        for width in (4, 8):
            for order in ("little", "big"):
                if number < 1 << 8 * width:
                    forms[number.to_bytes(width, order)] = number
        forms[varint(number)] = number
        forms[str(number).encode()] = number
forms = {form: number for form, number in forms.items() if len(form) >= 4}
found = 0
for top in (state, store):
    for folder, _, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.isfile(path):
                continue  # a socket
            with open(path, "rb") as f:
                data = f.read()
            if not data.strip(b"\0"):
                continue  # what is set aside
            for form, number in forms.items():
                # Four bytes are in 100 MB of random ones by chance once in 40 times; so look for those twice.
                if len(form) > 4 and form in data or len(form) == 4 and data.count(form) > 1:
                    print(f"{number} as {form!r} in {path}")
                    found = 1
            for size in sizes:
                if os.path.getsize(path) == int(size):
                    print(f"{path} is as long as a file")
                    found = 1
sys.exit(found)
P
}
mkdir "$work/control" "$work/none"
printf 'x\x87\xd6\x12\0\0\0\0\0' >"$work/control/file"
if sizes_in "$work/control" "$work/none" >/dev/null; then fail "a size that is there is not found"; fi
sizes_nowhere "before the upload"
pid=$(daemon_of "$work/m")
for file in cmdline environ; do
  if grep -qaF 'correct horse' "/proc/$pid/$file"; then fail "the passphrase is in $file"; fi
done
"$coffer" sync "$work/m"
nowhere "after the upload"
# Two files with the same incompressible contents, in objects of their own.
head -c 1000000 /dev/urandom >"$work/same"
for copy in 1 2; do
  cat "$work/same" >"$work/m/same-$copy"
  "$coffer" sync "$work/m"
done
"$coffer" unmount "$work/m"
nowhere "after the unmount"
sizes_nowhere "after the unmount"
# Equal contents give unequal bytes: no run of 32 of one object, taken every 500 bytes, is anywhere else in the store.
runs_once() {  # DIR: 1 if there is one that is not; prints how many were looked for
  python3 - "$1" <<'P'
import os
import sys

objects = [os.path.join(folder, name) for folder, _, files in os.walk(sys.argv[1]) for name in files]
everything = b"\0".join(open(path, "rb").read() for path in sorted(objects))
runs = [everything[at : at + 32] for at in range(0, len(everything) - 32, 500)]
twice = [run for run in runs if len(set(run)) > 8 and everything.find(run, everything.find(run) + 1) >= 0]
print(f"{len(runs)} runs of 32 bytes, {len(twice)} of them twice")
sys.exit(bool(twice))
P
}
runs_once "$store" || fail "something is in the store twice"
mkdir "$work/twice"
for copy in 1 2; do cp "$work/same" "$work/twice/$copy"; done
if runs_once "$work/twice" >/dev/null; then fail "what is there twice is not found"; fi
[ -z "$(find "$work/state" ! -perm -go=r -prune -o -print -quit)" ] || fail "others may read in the state directory"
