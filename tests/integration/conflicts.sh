#!/bin/bash
# coffer conflicts: lists what two machines made of the same files, and resolves each in every way.
# usage: conflicts.sh COFFER
. "$(dirname "$0")/applications.sh"
other=$work/other
mount_on "$store" "$other" --state-dir "$work/state2" --device-name other
long=$(printf 'x%.0s' {1..240}).tar.gz
for name in original copy mine others both "$long"; do
  mkdir -p "$mnt/dir"
  echo base >"$mnt/dir/$name"
done
ln -s target "$mnt/dir/link"
"$coffer" sync --quiet "$mnt"
"$coffer" sync --quiet "$other"
[ "$("$coffer" conflicts "$mnt")" = "0 conflict copies" ] || fail "there are conflict copies already"

# Both are offline.
mv "$store" "$store.away"
for name in original copy mine others both "$long"; do
  echo "of other" >"$other/dir/$name"
  echo "of here" >"$mnt/dir/$name"
done
mv "$store.away" "$store"
"$coffer" sync --quiet "$other"
"$coffer" sync --quiet "$mnt"
"$coffer" sync --quiet "$other"

listed() { "$coffer" conflicts --json "$@"; }
count() { listed "$@" | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))'; }
[ "$(count "$mnt")" = 6 ] || fail "not six conflict copies: $(listed "$mnt")"
listed "$mnt/dir" | python3 -c '
import json, os, sys
for c in json.load(sys.stdin):
    copy, original = c["copy"]["path"], c["original"]["path"]
    assert os.path.dirname(copy) == os.path.dirname(original), c
    contents = [open(p).read() for p in (original, copy)]
    assert sorted(contents) == ["of here\n", "of other\n"], (c, contents)
    assert c["mine"] == (contents[1] == "of here\n"), c
    assert c["mine"] == (c["device"] != "other"), c
'
expect 2 "$coffer" conflicts "$mnt" --keep both
expect 2 "$coffer" conflicts "$mnt" "$work/passphrase" --keep both
grep -q 'not on the mount' <<<"$said" || fail "it says: $said"

was() { cat "$mnt/dir/$1"; }
copy_of() { listed "$mnt/dir/$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["copy"]["path"])'; }
original=$(was original) copy=$(cat "$(copy_of copy)")
"$coffer" conflicts "$mnt" --keep original "$(copy_of original)"
[ "$(was original)" = "$original" ] || fail "the original does not stay"
"$coffer" conflicts "$mnt" --keep copy "$mnt/dir/copy"
[ "$(was copy)" = "$copy" ] || fail "the copy does not take the place"
"$coffer" conflicts "$mnt" --keep mine "$mnt/dir/mine"
[ "$(was mine)" = "of here" ] || fail "not mine: $(was mine)"
"$coffer" conflicts "$mnt" --keep others "$mnt/dir/others"
[ "$(was others)" = "of other" ] || fail "not the other's: $(was others)"
[ "$(count "$mnt")" = 2 ] || fail "not two are left: $(listed "$mnt")"
"$coffer" conflicts "$mnt" --keep both --all
[ "$(count "$mnt")" = 0 ] || fail "some are left: $(listed "$mnt")"
[ "$(find "$mnt/dir" -type f | wc -l)" = 8 ] || fail "not all are there: $(ls "$mnt/dir")"

# A copy that is all there is does not go, and one of a link is a link.
"$coffer" sync --quiet "$mnt"
date=$(date -u +%F)
echo alone >"$mnt/dir/alone (conflict, other, $date)"
ln -s elsewhere "$mnt/dir/link (conflict, other, $date)"
expect 1 "$coffer" conflicts "$mnt" --keep original "$mnt/dir/alone (conflict, other, $date)"
[ -f "$mnt/dir/alone (conflict, other, $date)" ] || fail "the only version is gone"
"$coffer" conflicts "$mnt" --keep copy "$mnt/dir/link (conflict, other, $date)"
[ "$(readlink "$mnt/dir/link")" = elsewhere ] || fail "the link's copy does not take the place"
"$coffer" sync --quiet "$mnt"
"$coffer" sync --quiet "$other"
diff -r --no-dereference "$mnt" "$other" || fail "the other machine sees something else"
"$coffer" unmount --quiet "$other"
"$coffer" unmount --quiet "$mnt"
expect 1 "$coffer" conflicts "$mnt"
