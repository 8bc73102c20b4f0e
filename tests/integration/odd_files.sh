#!/bin/bash
# Names of every byte and of 255 bytes, paths 100 levels deep, a sparse file of 100 GiB, and clocks that jump.
# usage: odd_files.sh COFFER
. "$(dirname "$0")/applications.sh"
"$here/odd_names.py" "$mnt/names"
truncate -s 100G "$mnt/sparse"
for at in 0 51200 102399; do
  echo "at $at" | dd of="$mnt/sparse" bs=1M seek="$at" conv=notrunc status=none
done
cp --sparse=always "$mnt/sparse" "$mnt/copy"
remount
for file in sparse copy; do
  [ "$(stat -c %s "$mnt/$file")" = $((100 << 30)) ] || fail "the size of $file"
  [ "$(stat -c %b "$mnt/$file")" -lt 20000 ] || fail "the holes of $file are filled"
  for at in 0 51200 102399; do
    [ "$(dd if="$mnt/$file" bs=1M skip="$at" count=1 status=none | tr -d '\0')" = "at $at" ] || fail "what is at $at of $file"
  done
done
[ "$(du -sm "$store" | cut -f 1)" -lt 20 ] || fail "the store holds the holes"
same_elsewhere "names and holes"

# The daemon's clock goes forth by years and back by more, between changes and while it is away; a clock that other
# machines do not share decides nothing.
g++ -shared -fPIC -O1 -o "$work/clock_shift.so" "$here/clock_shift.cc"
export COFFER_TEST_CLOCK=$work/clock
shift_clock() {  # SECONDS
  python3 -c 'import struct, sys; sys.stdout.buffer.write(struct.pack("<q", int(sys.argv[1])))' "$1" |
    dd of="$COFFER_TEST_CLOCK" conv=notrunc status=none
}
shift_clock 0
remount_with_shifted_clock() {
  "$coffer" unmount --quiet "$mnt"
  LD_PRELOAD=$work/clock_shift.so mount_on "$store" "$mnt"
}
remount_with_shifted_clock
year=31536000
number=0
for shift in 0 $((10 * year)) $((-30 * year)) $((-60 * year)) $((200 * year)) 0; do
  shift_clock "$shift"
  number=$((number + 1))
  mkdir "$mnt/made$number"
  echo "$shift" >"$mnt/made$number/file"
  echo "$shift" >>"$mnt/appended"
  [ "$number" = 1 ] || mv "$mnt/made$((number - 1))" "$mnt/made$number/before"
  made=$(stat -c %Y "$mnt/made$number")
  expected=$(($(date +%s) + shift))
  [ $((made - expected)) -lt 600 ] && [ $((expected - made)) -lt 600 ] || fail "the clock does not jump: $made, not $expected"
  [ $((number % 2)) = 0 ] || "$coffer" sync --quiet "$mnt"
  [ "$number" != 4 ] || remount_with_shifted_clock
done
[ "$(wc -l <"$mnt/appended")" = 6 ] || fail "something appended is missing"
same_elsewhere "a clock that jumps"
"$coffer" unmount "$mnt"
