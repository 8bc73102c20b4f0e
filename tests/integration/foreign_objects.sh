#!/bin/bash
# Ten thousand objects of other programs lie in the store, beside ours and under names like ours: a volume is made among them,
# mounted, synced, checked, seen elsewhere; none of them is touched, and none is taken for a part of the volume.
# usage: foreign_objects.sh COFFER
. "$(dirname "$0")/common.sh"
store=$work/store
"$here/foreign_objects.py" make "$store" 10000
expect 0 "$coffer" init "$store" --no-recovery-key
mount_on "$store" "$work/m"
head -c 300000 /dev/urandom >"$work/m/file"
expect 0 timeout 120 "$coffer" sync "$work/m"
mount_on "$store" "$work/m2" --state-dir "$work/state2" --device-name second
cmp "$work/m/file" "$work/m2/file" || fail "the second device sees something else"
echo second >"$work/m2/note"
expect 0 timeout 120 "$coffer" sync "$work/m2"
expect 0 timeout 120 "$coffer" sync "$work/m"
[ "$(cat "$work/m/note")" = second ] || fail "the first device does not see what the second wrote"
for mount in m m2; do
  said=$(problems "$work/$mount")
  [ -z "$said" ] || fail "foreign objects are a problem: $said"
done
expect 0 "$coffer" unmount "$work/m"
expect 0 "$coffer" unmount "$work/m2"
expect 0 "$coffer" check "$store"
"$here/foreign_objects.py" check "$store" 10000
