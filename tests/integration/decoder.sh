#!/bin/bash
# What coffer wrote, the decoder in Python reads from coffer-format(5) alone: a volume of two devices in several runs each,
# with files of all kinds, conflicts, renames and checkpoints comes back with every byte, link, attribute and time. And
# what is damaged it refuses. usage: decoder.sh COFFER SEED ROUNDS
. "$(dirname "$0")/common.sh"
/usr/bin/python3 -c 'import nacl, zstandard' 2>/dev/null || skip "no python3-nacl or no python3-zstandard"
seed=$1 rounds=$2
store=$work/store other=$work/other key=$work/key
decode=$here/../decoder/decode.py

describe() {  # DIR: everything about it; access times of what is no directory, since looking changes those of directories
  (cd "$1" && find . ! -type d -printf '%A@ %p\n' | sort -k 2)
  "$here/tree_digest.py" "$1"
}
compare() {  # WHAT OPTIONS...: what the decoder restores with $work/mounted
  local what=$1
  shift
  rm -rf "$work/restored"
  "$decode" "$@" "$store" restore "$work/restored" 2>"$work/said" || fail "$what: $(cat "$work/said")"
  describe "$work/restored" >"$work/restored.digest"
  diff "$work/mounted" "$work/restored.digest" >"$work/difference" || fail "$what differs: $(head -n 20 "$work/difference")"
}
mount_both() {
  mount_on "$store" "$work/m1" --state-dir "$work/s1" --device-name one
  mount_on "$other" "$work/m2" --state-dir "$work/s2" --device-name two
}

"$coffer" init "$store" --state-dir "$work/s1" --recovery-key-file "$key" --device-name one
cp -r "$store" "$other"
mount_both
"$here/make_tree.py" "$work/m1"
for _ in 1 2 3; do  # ranges of a large file, one after the other: frames of several packs
  dd if=/dev/urandom of="$work/m1/sizes/5000001" bs=70001 count=3 seek=$((RANDOM % 60)) conv=notrunc status=none
  "$coffer" sync --quiet "$work/m1"
done
cp --reflink=never "$work/m1/sizes/5000001" "$work/m1/sizes/copy"
"$here/diverging_load.py" "$seed" "$rounds" "$coffer" "$work/m1" "$store" "$work/m2" "$other"
"$coffer" unmount "$work/m1"
"$coffer" unmount "$work/m2"
mount_both
mv "$work/m1/shared" "$work/m1/former"
"$here/diverging_load.py" "$((seed + 1))" 3 "$coffer" "$work/m1" "$store" "$work/m2" "$other"
describe "$work/m1" >"$work/mounted"
"$coffer" unmount "$work/m1"
"$coffer" unmount "$work/m2"
rsync -r --ignore-existing "$other/" "$store"

rm -f "$store"/head/checkpoint-*
compare "by all records, with the recovery key" --recovery-key-file "$key"
[ "$(grep -c '^conflict' "$work/said")" -ge 3 ] || fail "hardly any conflicts: this tests too little"
compare "by all records, with the passphrase" --passphrase-file "$COFFER_PASSPHRASE_FILE"

# A checkpoint, and what came after it.
mount_on "$store" "$work/m1" --state-dir "$work/s3" --device-name three
# In between, a new epoch begins: what follows is sealed with other keys than what was before.
echo first >"$work/m1/round"
"$coffer" sync --quiet "$work/m1"
"$coffer" key rotate "$store" --recovery-key-file "$key" >"$work/said" || fail "$(cat "$work/said")"
for round in $(seq 100); do  # records, so that one is due, and later an archive
  echo "$round" >"$work/m1/round"
  "$coffer" sync --quiet "$work/m1"
done
for _ in $(seq 600); do
  ! ls "$store"/head/checkpoint-* >/dev/null 2>&1 || break
  sleep 0.1
done
ls "$store"/head/checkpoint-* >/dev/null || fail "no checkpoint in a minute"
mv "$work/m1/sizes" "$work/m1/larger"
dd if=/dev/urandom of="$work/m1/larger/5000001" bs=70001 count=1 seek=5 conv=notrunc status=none
setfattr -n user.after -v value "$work/m1/special/fifo" 2>/dev/null || setfattr -n user.after -v value "$work/m1/larger/1"
rm "$work/m1/links/second"
"$coffer" sync --quiet "$work/m1"
describe "$work/m1" >"$work/mounted"
"$coffer" unmount "$work/m1"
compare "by the checkpoint" --recovery-key-file "$key"
[ ! -s "$work/said" ] || fail "the decoder had something to say: $(cat "$work/said")"
compare "by all records" --recovery-key-file "$key" --no-checkpoint
find "$store/log" -type f -not -path '*/archive/*' -exec od -An -tu4 -N4 {} \; | sort -u >"$work/epochs"
[ "$(wc -l <"$work/epochs")" = 2 ] || fail "the records are of the epochs $(cat "$work/epochs")"
all=$("$decode" --no-checkpoint --recovery-key-file "$key" "$store" log | wc -l)
after=$("$decode" --recovery-key-file "$key" "$store" log | wc -l)
[ "$after" -lt $((all / 2)) ] || fail "of $all records, $after were read beside the checkpoint"
"$decode" --recovery-key-file "$key" "$store" list >"$work/list"
grep -qF "'/larger/5000001'" "$work/list" || fail "list: $(head "$work/list")"

# Old records move into archives, and the objects that they were go.
cp -r "$store" "$work/single"
rm -rf "$work/single/log/archive"
mount_on "$store" "$work/m1" --state-dir "$work/s3" --device-name three
"$coffer" gc --grace 0 "$work/m1" >"$work/said"
"$coffer" gc --grace 0 "$work/m1" >>"$work/said"
"$coffer" unmount "$work/m1"
ls "$store"/log/archive/* >/dev/null || fail "no archive of $all records: $(cat "$work/said")"
left=$(find "$store/log" -type f | wc -l)
[ "$left" -lt $((all / 2)) ] || fail "of $all records, $left are objects still: $(cat "$work/said")"
compare "by the checkpoint, beside archives" --recovery-key-file "$key"
compare "by records in archives" --recovery-key-file "$key" --no-checkpoint
[ "$("$decode" --no-checkpoint --recovery-key-file "$key" "$store" log | wc -l)" -ge "$all" ] || fail "archives lack records"
"$coffer" check "$store" --recovery-key-file "$key" >"$work/said" || fail "check beside archives: $(cat "$work/said")"

# One bit, a piece cut off, and contents exchanged: each object by itself.
"$here/../decoder/damage.py" "$store" "$COFFER_PASSPHRASE_FILE" "$key"

# What only shows when objects are looked at together.
refused() {  # WHAT COMMAND...
  local what=$1
  shift
  rm -rf "$work/restored" "$work/restored.links" "$work/broken"
  cp -r "$from" "$work/broken"
  (cd "$work/broken" && eval "$1")
  expect 1 "$decode" --no-checkpoint --recovery-key-file "$key" "$work/broken" restore "$work/restored"
  grep -q '^damaged: ' <<<"$said" || fail "$what: $said"
}
# shellcheck disable=SC2016
{
  from=$work/single
  refused "a record is gone" 'rm "$(ls log/*/2-* | head -n 1)"'
  refused "a record under another number" 'f=$(ls log/*/2-* | head -n 1); mv "$f" "${f/\/2-/\/3-}"'
  refused "a log under another name" 'd=$(ls -d log/* | head -n 1); mv "$d" log/00000000000000000000000000000000'
  refused "a pack is gone" 'rm "$(ls -S obj/*/* | head -n 1)"'
  refused "a pack in the place of another" 'set -- $(ls -S obj/*/* | head -n 2); cp "$1" "$2"'
  from=$store
  refused "an archive is gone" 'rm "$(ls log/archive/* | head -n 1)"'
  refused "an archive under another name" 'mv "$(ls log/archive/* | head -n 1)" log/archive/00000000000000000000000000000000'
}
expect 3 "$decode" --passphrase-file /etc/hostname "$store" list
tr 0-9A-Z 1-9A-Z0 <"$key" >"$work/wrong"
expect 3 "$decode" --recovery-key-file "$work/wrong" "$store" list
