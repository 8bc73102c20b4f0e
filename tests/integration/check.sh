#!/bin/bash
# coffer check on a store and on this device's copy: what it finds, repairs, and brings back from ruins.
. "$(dirname "$0")/common.sh"
store=$work/store
replica() { echo "$XDG_STATE_HOME"/coffer/*/replica; }
flip() {  # FILE OFFSET: a bit of that byte
  python3 - "$1" "$2" <<'P'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    byte = f.read(1)
    f.seek(int(sys.argv[2]))
    f.write(bytes([byte[0] ^ 4]))
P
}

"$coffer" init "$store" --no-recovery-key
mount_on "$store" "$work/m"
mkdir -p "$work/m/dir/sub"
for i in 1 2 3; do # each in a pack of its own
  head -c 900000 /dev/urandom >"$work/m/dir/sub/big$i"
  "$coffer" sync --quiet "$work/m"
done
echo small >"$work/m/dir/small"
"$coffer" sync --quiet "$work/m"
"$here/tree_digest.py" "$work/m/dir" >"$work/before"
cp -a "$work/m/dir" "$work/copy"
expect 0 "$coffer" check "$work/m" # a mounted one, by its directory
grep -q "was not looked at: already mounted" <<<"$said" || fail "nothing is said of the mounted copy: $said"
"$coffer" unmount --quiet "$work/m"
expect 0 "$coffer" check "$store"
grep -q '^this device: 4 files' <<<"$said" || fail "the replica is not checked: $said"
"$coffer" check --json "$store" 2>/dev/null | python3 -c '
import json, sys
r = json.load(sys.stdin)
assert r["faults"] == 0 and r["packs"] == r["packs_read"] > 0 and r["local"]["frames"] > 0, r'
cp -a "$store" "$work/whole"

echo "a pack is damaged in the store: named with its files, put back by the device that has it"
pack=$(find "$store/obj" -type f -size +200k | head -n 1)
flip "$pack" 100000
expect 11 "$coffer" check "$store" --state-dir "$work/elsewhere"
grep -q 'file /dir/sub/big' <<<"$said" || fail "no file is named: $said"
expect 11 "$coffer" check "$store" --state-dir "$work/elsewhere" --repair
expect 0 "$coffer" check "$store" --repair
grep -q "^repaired obj/" <<<"$said" || fail "nothing was repaired: $said"
diff -r "$store/obj" "$work/whole/obj" || fail "the pack is not as it was"

echo "a sample, and a check that goes on"
expect 0 "$coffer" check "$store" --sample 1
grep -q 'in the sample' <<<"$said" || fail "it does not say that it is a sample: $said"
mkdir -p "$XDG_STATE_HOME/coffer/checks"
volume=$(basename "$(dirname "$(replica)")")
{
  echo "coffer-check 1 100 7"
  find "$store/obj" -type f -printf '%f\n'
} >"$XDG_STATE_HOME/coffer/checks/$volume"
expect 0 "$coffer" check "$store"
grep -q 'going on with a check' <<<"$said" || fail "it begins anew: $said"
grep -q ', 0 of ' <<<"$said" || fail "packs are read again: $said"
[ ! -e "$XDG_STATE_HOME/coffer/checks/$volume" ] || fail "a check that ended would go on"

echo "head and slots are gone"
rm -r "$store/coffer" "$store/slot"
expect 4 "$coffer" check "$store" --state-dir "$work/elsewhere"
expect 11 "$coffer" check "$store"
grep -q "the volume's head is not there" <<<"$said" || fail "the head is not missed: $said"
expect 0 "$coffer" check "$store" --repair
diff -r "$store/slot" "$work/whole/slot" && cmp "$store/coffer" "$work/whole/coffer" || fail "they are not as they were"

echo "a range of a pack on this device is damaged"
local_pack=$(find "$(replica)/packs" -type f -size +200k | head -n 1)
flip "$local_pack" 100000
expect 11 "$coffer" check "$store"
grep -q "frames of a pack that is kept on this device do not open" <<<"$said" || fail "it is not found: $said"
grep -q 'file /dir/sub/big' <<<"$said" || fail "no file is named: $said"
expect 0 "$coffer" check "$store" --repair
grep -q "^repaired .*packs/" <<<"$said" || fail "it is not dropped: $said"
expect 0 "$coffer" check "$store"
mount_on "$store" "$work/m"
"$here/tree_digest.py" "$work/m/dir" | diff "$work/before" - || fail "it is not fetched again"
"$coffer" unmount --quiet "$work/m"

echo "a row, and the journal, of this device"
cp -a "$XDG_STATE_HOME" "$work/state-whole"
rows=$(find "$(replica)" -name data.mdb)
python3 - "$rows" <<'P'
import sys
with open(sys.argv[1], "r+b") as f:
    data = bytearray(f.read())
    # Page headers and free pages are zeros or small numbers; what is random is sealed.
    for at in range(2 * 4096, len(data), 4096):
        page = data[at:at + 4096]
        if len(set(page)) > 200:
            for i in range(2048, 4096, 64):
                data[at + i] ^= 4
    f.seek(0)
    f.write(data)
P
expect 11 "$coffer" check "$store"
grep -q "replica on this device is damaged" <<<"$said" || fail "damaged rows are not found: $said"
grep -q "all that is in the store comes back" <<<"$said" || fail "no way out is told: $said"
rm -r "$XDG_STATE_HOME" && cp -a "$work/state-whole" "$XDG_STATE_HOME"
mount_on "$store" "$work/m"
for i in $(seq 50); do echo "$i" >"$work/m/dir/j$i" && sync "$work/m/dir/j$i"; done
kill -9 "$(daemon_of "$work/m")"
umount -l "$work/m"
journal=$(find "$(replica)/journal" -type f | sort | tail -n 1)
flip "$journal" 8300 # of its first block or the second: those behind it say that it was durable
expect 11 "$coffer" check "$store"
grep -q "replica on this device is damaged" <<<"$said" || fail "a damaged journal is not found: $said"
rm -r "$XDG_STATE_HOME" && cp -a "$work/state-whole" "$XDG_STATE_HOME"

echo "every log and checkpoint is gone"
rm -rf "$store/log" "$store/head"
expect 2 "$coffer" check "$store" --rebuild "$work/copy"
expect 0 "$coffer" check "$store" --rebuild "$work/rebuilt"
for i in 1 2 3; do
  cmp "$work/copy/sub/big$i" "$work"/rebuilt/files/directory-*/"big$i" || fail "big$i is not what it was"
done
rm -rf "$store/log" && cp -a "$work/whole/log" "$store/"
expect 0 "$coffer" check "$store" --rebuild "$work/rebuilt2"
diff -r "$work/copy" "$work/rebuilt2/files/dir" || fail "what records name is not as it was"
echo "all good"
