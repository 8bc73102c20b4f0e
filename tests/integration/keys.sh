#!/bin/bash
# Passphrases and recovery keys: made, shown, typed back, added, changed, removed; by two devices at once, with crashes in
# between, and on a store that shows again what was removed. Data is never uploaded anew.
. "$(dirname "$0")/common.sh"
store=$work/store
export TALK_LOG=$work/shown
pass() { # NAME PASSPHRASE: a passphrase in a file of that name
  (umask 077 && echo "$2" >"$work/$1")
}
opens() { "$coffer" ls "$store" / --passphrase-file "$work/$1" >/dev/null 2>&1; }
key_id() { # LABEL
  "$coffer" key list --json "$store" --passphrase-file "$work/${2:-first}" |
    python3 -c 'import json, sys; print(next(s["id"] for s in json.load(sys.stdin)["slots"] if s["label"] == sys.argv[1]))' "$1"
}
pass first 'old elephant sings tenor badly'
pass second 'seventeen green umbrellas at noon'
pass third 'quiet harbour, loud accordion, rain'
pass fourth 'nine wooden kettles under the bridge'
unset COFFER_PASSPHRASE_FILE

# At a terminal: the hopeless is refused, the recovery key is shown and typed back in part, wrong at first.
cat >"$work/script" <<S
expect New passphrase:
type password1
expect too easy to guess
expect New passphrase:
type old elephant sings tenor badly
expect Once more:
type old elephant sings tenor badly
expect when that is done
type
expect of the recovery key:
type {wrong}
expect That is not it
type
expect when that is done
type
expect of the recovery key:
type {group}
expect of the recovery key:
type {group}
expect Made volume
S
"$here/talk.py" "$work/script" "$coffer" init "$store" --device-name first-machine || fail "init at a terminal"
python3 - "$TALK_LOG" "$work/key" <<'P'
import re, sys
shown = open(sys.argv[1], "rb").read()
keys = set(re.findall(rb"((?:[0-9A-Z]{5}-){6}[0-9A-Z]{5})\r?\n((?:[0-9A-Z]{5}-){5}[0-9A-Z]{5})", shown))
assert len(keys) == 1, "the key is not shown twice alike"
assert b"elephant" not in shown, "the passphrase is shown"
# After the key's own screen was left, it is shown nowhere.
open(sys.argv[2], "wb").write(b"-".join(keys.pop()) + b"\n")
P
chmod 600 "$work/key"
"$coffer" ls "$store" / --recovery-key-file "$work/key" >/dev/null || fail "the recovery key that was shown does not open"
status=0
scanned=$("$here/read_qr.py" "$TALK_LOG") || status=$?
[ "$status" = 77 ] || [ "$scanned" = "$(cat "$work/key")" ] || fail "the QR code says '$scanned'"
# Whoever breaks off while the key is shown has no volume.
printf 'expect New passphrase:\ntype nine wooden kettles under the bridge\nexpect Once more:\ntype nine wooden kettles under the bridge\nexpect is done\ninterrupt\n' >"$work/script"
status=0
"$here/talk.py" "$work/script" "$coffer" init "$work/none" || status=$?
[ "$status" != 0 ] || fail "an interrupted init succeeds"
grep -q "$(printf '\033\\[?1049l')" "$TALK_LOG" || fail "the key stays on the screen"
[ ! -e "$work/none/coffer" ] || fail "a volume whose recovery key nobody has"
pass weak 'Passw0rd!'
expect 2 "$coffer" init "$work/none" --no-recovery-key --passphrase-file "$work/weak"
must_say 'too easy to guess'
must_say 'common words'
expect 0 "$coffer" init "$work/none" --no-recovery-key --passphrase-file "$work/weak" --weak-passphrase

mount_on "$store" "$work/m" --passphrase-file "$work/first"
head -c 1000000 /dev/urandom >"$work/m/file"
"$coffer" sync --quiet "$work/m"
data() { (cd "$store" && find obj log coffer -type f | sort | xargs sha256sum); }
data >"$work/data.before"

# Several, while mounted; labels, times and devices show in the list, and nothing of them in the store.
said=$("$coffer" key add "$store" --passphrase-file "$work/first" --new-passphrase-file "$work/second" --label "Anna's" --device-name other-machine)
opens first && opens second || fail "two passphrases do not open"
expect 2 "$coffer" key add "$store" --passphrase-file "$work/first" --new-passphrase-file "$work/weak"
expect 3 "$coffer" key add "$store" --passphrase-file "$work/third" --new-passphrase-file "$work/second"
expect 0 "$coffer" key list "$store" --passphrase-file "$work/second"
must_say "passphrase .*other-machine  *Anna's  \[opened now\]"
must_say 'recovery key .*first-machine'
if grep -rqaE "Anna|machine" "$store"; then fail "the store can read labels or names"; fi
id=$(key_id "Anna's")
expect 2 "$coffer" key remove "$store" 0000 --passphrase-file "$work/first"
expect 2 "$coffer" key remove "$store" "" --passphrase-file "$work/first"

# Changed: the old one is of no use, a copy of it neither.
cp -a "$store" "$work/earlier"
expect 0 "$coffer" key change "$store" --passphrase-file "$work/second" --new-passphrase-file "$work/third"
must_say 'What this does not do'
opens third || fail "the new passphrase does not open"
if opens second; then fail "the old passphrase opens"; fi
[ "$(key_id "Anna's")" != "$id" ] || fail "a changed key keeps its label, and gets a new id"

# The store shows again what was removed, and hides the removal. A new machine cannot know; one that has seen it does, and
# puts it right.
cp -a "$work/earlier/slot/." "$store/slot/"
find "$store/slot" -name '*.removed' -delete
opens second || fail "(the replayed slot should open where nothing is remembered)"
expect 0 "$coffer" key list "$store" --passphrase-file "$work/first"
[ "$(grep -c passphrase <<<"$said")" = 2 ] || fail "a removed key is listed again: $said"
if "$coffer" key list "$store" --passphrase-file "$work/second" >/dev/null 2>&1; then fail "a removed passphrase opens"; fi
"$coffer" unmount --quiet "$work/m"
mount_on "$store" "$work/m" --passphrase-file "$work/first"
for _ in $(seq 100); do [ -z "$(find "$store/slot" -name '*.removed')" ] || break; sleep 0.1; done
if opens second; then fail "the removal was not put back"; fi
# A key that vanished is put back as well.
"$coffer" unmount --quiet "$work/m"
rm "$store/slot/$(key_id "Anna's")"
if opens third; then fail "(it should be gone)"; fi
mount_on "$store" "$work/m" --passphrase-file "$work/third"
for _ in $(seq 100); do ! opens third || break; sleep 0.1; done
opens third || fail "the key that vanished was not put back"

# Two devices at once.
"$coffer" key change "$store" --passphrase-file "$work/first" --new-passphrase-file "$work/fourth" >"$work/out1" 2>&1 &
one=$!
"$coffer" key change "$store" --state-dir "$work/s2" --passphrase-file "$work/third" --new-passphrase-file "$work/second" >"$work/out2" 2>&1 &
two=$!
wait "$one" || fail "the first of two changes: $(cat "$work/out1")"
wait "$two" || fail "the second of two changes: $(cat "$work/out2")"
opens fourth && opens second || fail "one of two changes is lost"
if opens first || opens third; then fail "what two devices removed opens"; fi

# A crash at each step leaves a way in, and what was begun can be finished.
for point in key_change_added key_slot_removal_put; do
  status=0
  COFFER_FAILPOINTS=$point=crash "$coffer" key change "$store" --passphrase-file "$work/second" \
    --new-passphrase-file "$work/third" >/dev/null 2>&1 || status=$?
  [ "$status" = 137 ] || fail "no crash at $point: $status"
  opens third || fail "crash at $point: the new passphrase does not open"
  [ "$point" != key_change_added ] || opens second || fail "crash at $point: the old passphrase does not open"
  "$coffer" key change "$store" --passphrase-file "$work/third" --new-passphrase-file "$work/second" >/dev/null
done

# The last one stays. Recovery keys can be removed, made later, and changed.
for id in $("$coffer" key list --json "$store" --passphrase-file "$work/fourth" |
  python3 -c 'import json, sys; print(*(s["id"] for s in json.load(sys.stdin)["slots"] if not s["opened"]))'); do
  "$coffer" key remove "$store" "$id" --passphrase-file "$work/fourth" >/dev/null
done
expect 3 "$coffer" ls "$store" / --recovery-key-file "$work/key"
id=$(key_id "" fourth)
expect 2 "$coffer" key remove "$store" "$id" --passphrase-file "$work/fourth"
must_say 'nobody could open'
opens fourth || fail "the last passphrase is gone"
expect 2 "$coffer" key add "$store" --recovery-key --passphrase-file "$work/fourth" # no terminal to show it on
must_say new-recovery-key-file
expect 0 "$coffer" key add "$store" --recovery-key --new-recovery-key-file "$work/key2" --passphrase-file "$work/fourth"
expect 2 "$coffer" key add "$store" --recovery-key --new-recovery-key-file "$work/key2" --passphrase-file "$work/fourth"
# The passphrase is forgotten: the recovery key gives a new one.
expect 0 "$coffer" key change "$store" "${id:0:8}" --recovery-key-file "$work/key2" --new-passphrase-file "$work/first"
opens first || fail "the passphrase that the recovery key gave"
expect 0 "$coffer" key change "$store" --recovery-key-file "$work/key2" --new-recovery-key-file "$work/key3"
expect 3 "$coffer" ls "$store" / --recovery-key-file "$work/key2"
expect 0 "$coffer" ls "$store" / --recovery-key-file "$work/key3"
# One mistyped character is found, with its group.
sed 's/^.\(.*\)/!\1/; s/^!/7/' "$work/key3" >"$work/typo"
[ "$(cat "$work/typo")" != "$(cat "$work/key3")" ] || sed -i 's/^7/8/' "$work/typo"
expect 3 "$coffer" ls "$store" / --recovery-key-file "$work/typo"
must_say 'group 1 is mistyped'

"$coffer" unmount --quiet "$work/m"
data >"$work/data.after"
diff <(grep -v ' log/' "$work/data.before") <(grep -v ' log/' "$work/data.after") || fail "data was uploaded anew"
