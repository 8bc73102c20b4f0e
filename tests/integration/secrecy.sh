#!/bin/bash
# A known name and a known content are found nowhere in the store and nowhere in the state directory, mounted or not; equal
# files give unequal objects; the passphrase stands in no argument and no environment of the daemon.
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
dd if="$work/m/$name/$name-1" of="$work/m/random-writes" bs=4096 count=3 seek=5 status=none
sync -f "$work/m"
nowhere() {
  local word
  for word in "$name" "$content" "$attribute" 'correct horse' "$(head -c 23 "$work/recovery")"; do
    if grep -rlaF -- "$word" "$store" "$work/state" "$work/run"; then fail "$1: '$word' is found"; fi
  done
}
nowhere "before the upload"
pid=$(daemon_of "$work/m")
for file in cmdline environ; do
  if grep -qaF 'correct horse' "/proc/$pid/$file"; then fail "the passphrase is in $file"; fi
done
"$coffer" sync "$work/m"
nowhere "after the upload"
"$coffer" unmount "$work/m"
nowhere "after the unmount"
duplicates=$(find "$store" -type f -exec sha256sum {} + | awk '{ print $1 }' | sort | uniq -d)
[ -z "$duplicates" ] || fail "two objects are equal"
[ -z "$(find "$work/state" ! -perm -go=r -prune -o -print -quit)" ] || fail "others may read in the state directory"
