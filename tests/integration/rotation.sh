#!/bin/bash
# A new epoch of the keys begins while two machines are mounted: both go on under it, what they write is not sealed with the old
# keys any more, and all ways in that there were lead to all of it.
. "$(dirname "$0")/common.sh"
store=$work/store key=$work/key
(umask 077 && echo 'seventeen green umbrellas at noon' >"$work/second")
# The epoch of each record that is not in FILE.
epochs_since() { # FILE
  (cd "$store" && find log -type f | sort | comm -13 "$1" - | while read -r record; do
    od -An -tu4 -N4 "$record"
  done | sort -u | tr -d ' ')
}
records() { (cd "$store" && find log -type f | sort); }
newest_epoch() { find "$store/head" -name 'epoch-*' | sed 's/.*epoch-//' | sort -n | tail -n 1; }
took_up() { # STATE-DIR TIMES: it has said so often that a new epoch has begun
  [ "$(cat "$1"/*/log "$1"/*/log.1 2>/dev/null | grep -c 'a new epoch')" -ge "$2" ]
}

"$coffer" init "$store" --state-dir "$work/s1" --device-name one --recovery-key-file "$key" >/dev/null
"$coffer" key add "$store" --new-passphrase-file "$work/second" >/dev/null
mount_on "$store" "$work/m1" --state-dir "$work/s1" --device-name one
mount_on "$store" "$work/m2" --state-dir "$work/s2" --device-name two
head -c 300000 /dev/urandom >"$work/m1/before"
echo two >"$work/m2/two"
for m in m1 m2 m1; do "$coffer" sync --quiet "$work/$m"; done

expect 0 "$coffer" key rotate "$store" --passphrase-file "$work/second" --state-dir "$work/s9"
must_say 'a new epoch'
must_say '2 devices'
must_say 'What this does not do'
epoch=$(newest_epoch)
[ "$epoch" -gt 1 ] || fail "no hint of an epoch"
for s in s1 s2; do wait_for "$s does not take up the new epoch" took_up "$work/$s" 1; done
for m in m1 m2; do "$coffer" sync --quiet "$work/$m"; done
records >"$work/records"
head -c 300000 /dev/urandom >"$work/m1/after"
echo more >>"$work/m2/two"
for m in m1 m2 m1; do "$coffer" sync --quiet "$work/$m"; done
[ "$(epochs_since "$work/records")" = "$epoch" ] || fail "records of the epochs $(epochs_since "$work/records") instead of $epoch"
cmp "$work/m1/after" "$work/m2/after" || fail "what was written after the rotation"
[ "$(cat "$work/m1/two")" = $'two\nmore' ] || fail "what two wrote after the rotation"
for m in m1 m2; do [ -z "$(problems "$work/$m")" ] || fail "$m: $(problems "$work/$m")"; done

# Each way in leads to all of it: from the store, and offline by what the state directory remembers.
cp "$work/m1/after" "$work/after"
for m in m1 m2; do "$coffer" unmount --quiet "$work/$m"; done
for with in "--passphrase-file $COFFER_PASSPHRASE_FILE" "--passphrase-file $work/second" "--recovery-key-file $key"; do
  # shellcheck disable=SC2086
  "$coffer" cat "$store" after $with | cmp - "$work/after" || fail "$with"
done
mv "$store" "$work/away"
mount_on "$store" "$work/m1" --state-dir "$work/s1" --device-name one || fail "offline"
cmp "$work/m1/after" "$work/after" || fail "what is read offline"
echo offline >"$work/m1/offline"
mv "$work/away" "$store"
"$coffer" sync --quiet "$work/m1"
# While one of them is away, another epoch begins; it comes back by its own slot.
expect 0 "$coffer" key rotate "$store" --recovery-key-file "$key"
wait_for "one does not take up the third epoch" took_up "$work/s1" 2
echo third >"$work/m1/third"
"$coffer" sync --quiet "$work/m1"
mount_on "$store" "$work/m2" --state-dir "$work/s2" --device-name two
"$coffer" sync --quiet "$work/m2"
[ "$(cat "$work/m2/third")" = third ] || fail "what was written while two was away"
mount_on "$store" "$work/m3" --state-dir "$work/s3" --device-name three --passphrase-file "$work/second"
cmp "$work/m3/after" "$work/after" || fail "a new machine reads"
[ "$(cat "$work/m3/third")" = third ] || fail "a new machine reads"

expect 0 "$coffer" key list "$store"
[ "$(grep -c ' device ' <<<"$said")" = 2 ] || fail "not two slots of devices: $said"
id=$("$coffer" key list --json "$store" | python3 -c 'import json, sys; print(next(s["id"] for s in json.load(sys.stdin)["slots"] if s["kind"] == "device"))')
expect 2 "$coffer" key remove "$store" "$id"
for m in m1 m2 m3; do "$coffer" unmount --quiet "$work/$m"; done
expect 0 "$coffer" check "$store" --state-dir "$work/s1"
expect 0 "$coffer" check "$store" --rebuild "$work/rebuilt" --state-dir "$work/s1"
find "$work/rebuilt" -name after -exec cmp {} "$work/after" \; | grep . && fail "rebuilt"
[ "$(find "$work/rebuilt" -name after | wc -l)" = 1 ] || fail "nothing is rebuilt: $said"
