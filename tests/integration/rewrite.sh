#!/bin/bash
# coffer key rotate --rewrite: everything comes under the new keys, while two machines are mounted and work; the daemon that does
# it is killed, the command is interrupted, and in the end check says that nothing that lives is under the old ones.
. "$(dirname "$0")/common.sh"
store=$work/store key=$work/key
phase() { "$coffer" status --json "$1" | python3 -c 'import json, sys; r = json.load(sys.stdin)["rewriting"]; print(r and r["phase"])'; }
is_done() { [ "$(phase "$1")" = done ]; }
older() {  # what check says lies under older keys: packs, records, objects of checkpoints
  "$coffer" check --quiet --json "$store" --state-dir "$work/s9" |
    python3 -c 'import json, sys; o = json.load(sys.stdin)["older_keys"]; print(len(o["packs"]), len(o["records"]), len(o["checkpoints"]))'
}
sync_all() { for m in m1 m2 m1; do "$coffer" sync --quiet "$work/$m"; done; }

"$coffer" init "$store" --state-dir "$work/s1" --device-name one --recovery-key-file "$key" >/dev/null
mount_on "$store" "$work/m1" --state-dir "$work/s1" --device-name one
mount_on "$store" "$work/m2" --state-dir "$work/s2" --device-name two
"$here/make_tree.py" "$work/m1"
head -c 9000000 /dev/urandom >"$work/m1/large"
cp "$work/m1/large" "$work/m1/copy"
echo 'of the second machine' >"$work/m2/two"
sync_all
"$here/tree_digest.py" "$work/m1" >"$work/before"
(cd "$store" && find obj -type f | sort) >"$work/old"

# It is work for whoever has it mounted; without --rewrite, check says what is left under the old keys.
expect 2 "$coffer" key rotate --rewrite "$store"
must_say 'mounted'
expect 0 "$coffer" key rotate "$store" --state-dir "$work/s9"
must_say 'rewrite'
[ "$(older | cut -d' ' -f1)" -ge 1 ] || fail "check sees nothing under older keys: $(older)"
expect 0 "$coffer" check "$store" --state-dir "$work/s9"
must_say 'keys: under older ones lie'

# The daemon dies in the middle of it.
"$coffer" unmount --quiet "$work/m1"
COFFER_FAILPOINTS=sync.rewrite_sealed=crash@3 "$coffer" mount "$store" "$work/m1" --state-dir "$work/s1" --device-name one
expect 1 "$coffer" key rotate --rewrite "$work/m1"
must_say 'is gone'
"$coffer" unmount --now --lazy --quiet "$work/m1" 2>/dev/null || umount -l "$work/m1"
# The next mount goes on by itself, as slowly as this, and waits for nobody to acknowledge its changes; what is watching it is interrupted, and asks again.
mount_on "$store" "$work/m1" --state-dir "$work/s1" --device-name one --upload-limit 1500K --silent-after 1s
[ "$(phase "$work/m1")" != None ] || fail "it is forgotten"
expect 10 "$here/interrupted.py" "$coffer" key rotate --rewrite "$work/m1"
must_say 'Going on'
must_say 'not all under the new keys yet'
is_done "$work/m1" && fail "it was done before it could be interrupted"
# Meanwhile both work.
printf CHANGED | dd of="$work/m2/large" bs=1 seek=4000000 conv=notrunc status=none
printf CHANGED | dd of="$work/m1/copy" bs=1 seek=1000000 conv=notrunc status=none
head -c 300000 /dev/urandom >"$work/m2/new"
"$coffer" sync --quiet "$work/m2"
expect 0 "$coffer" key rotate --rewrite "$work/m1" --quiet
must_say 'All files are under the new keys now'
must_say 'records'
expect 0 "$coffer" status "$work/m1"
must_say 'all data is under the new keys'
sync_all
[ "$(older)" = "0 0 0" ] || fail "check says that there lies under older keys: $(older)"
expect 0 "$coffer" check "$store" --state-dir "$work/s9"
must_say 'all files and checkpoints are under the newest'

# Nothing else has changed, on both.
"$here/tree_digest.py" "$work/m1" >"$work/after"
"$here/tree_digest.py" "$work/m2" >"$work/after2"
diff "$work/after" "$work/after2" || fail "the two differ"
for changed in large copy new .; do sed -i "/ b'$changed'\$/d" "$work/before" "$work/after"; done
diff "$work/before" "$work/after" || fail "more has changed than what was changed"
if cmp -s -n 3999999 "$work/m1/large" "$work/m2/copy"; then fail "the copy was not changed"; fi
[ "$(dd if="$work/m1/large" bs=1 skip=4000000 count=7 status=none)" = CHANGED ] || fail "what two wrote meanwhile"
[ -z "$(find "$work/m1" -name '*conflict*')" ] || fail "conflicts: $(find "$work/m1" -name '*conflict*')"
for m in m1 m2; do [ -z "$(problems "$work/$m")" ] || fail "$m: $(problems "$work/$m")"; done

# The old objects go, and everybody reads everything: a new machine, and the decoder.
expect 0 "$coffer" gc --grace 0 "$work/m1"
left=0
while read -r object; do [ ! -e "$store/$object" ] || left=$((left + 1)); done <"$work/old"
[ "$left" -lt 3 ] || fail "$left old objects are still there: $said"
"$here/tree_digest.py" "$work/m1" >"$work/after"
for m in m1 m2; do "$coffer" unmount --quiet "$work/$m"; done
mount_on "$store" "$work/m3" --state-dir "$work/s3" --device-name three
"$here/tree_digest.py" "$work/m3" | diff "$work/after" - || fail "a new machine reads something else"
"$coffer" unmount --quiet "$work/m3"
if /usr/bin/python3 -c 'import nacl, zstandard' 2>/dev/null; then
  for way in "" --no-checkpoint --newest-key; do
    rm -rf "$work/restored"
    # shellcheck disable=SC2086
    "$here/../decoder/decode.py" --recovery-key-file "$key" $way "$store" restore "$work/restored" || fail "the decoder $way"
    "$here/tree_digest.py" "$work/restored" | diff "$work/after" - || fail "the decoder $way restores something else"
  done
fi
expect 0 "$coffer" check "$store" --state-dir "$work/s1"
