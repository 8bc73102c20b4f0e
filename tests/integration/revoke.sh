#!/bin/bash
# A device is revoked while three machines have the volume mounted: what it wrote before stays, what it writes afterwards is
# nowhere, it says so itself, and the new keys are not for it.
. "$(dirname "$0")/common.sh"
store=$work/store key=$work/key
revoked_for() { "$coffer" device list "$work/$1" | grep -q 'three.*\[revoked\]'; }
says_so() { problems "$work/m3" | grep -q 'this device has been revoked'; }

"$coffer" init "$store" --state-dir "$work/s1" --device-name one --recovery-key-file "$key" >/dev/null
n=0
for name in one two three; do
  n=$((n + 1))
  mount_on "$store" "$work/m$n" --state-dir "$work/s$n" --device-name $name
  echo "$name" >"$work/m$n/$name"
  "$coffer" sync --quiet "$work/m$n"
done
for m in m1 m2 m3; do "$coffer" sync --quiet "$work/$m"; done
head -c 200000 /dev/urandom >"$work/m3/before"
for m in m3 m1 m2; do "$coffer" sync --quiet "$work/$m"; done
[ "$(ls "$work/m1")" = "$(ls "$work/m3")" ] || fail "they did not meet"

expect 2 "$coffer" device revoke "$store" four
must_say 'no device'
expect 3 "$coffer" device revoke "$store" three --passphrase-file /etc/hostname
expect 0 "$coffer" device revoke "$store" three --recovery-key-file "$key" --state-dir "$work/s9"
must_say 'three .* is revoked'
must_say "store's credentials"
must_say 'coffer key change'
for m in m1 m2; do wait_for "$m does not see the revocation" revoked_for $m; done
wait_for "three does not say that it is revoked" says_so

# It keeps what it does, and nothing of it goes up.
echo own >"$work/m3/own work"
echo changed >"$work/m3/one"
records=$(find "$store/log" -type f | wc -l)
"$coffer" sync --quiet "$work/m3" && fail "a revoked device syncs"
[ "$(cat "$work/m3/own work")" = own ] || fail "its own work"
[ "$(find "$store/log" -type f | wc -l)" = "$records" ] || fail "a revoked device publishes"
head -c 100000 /dev/urandom >"$work/m1/after"
for m in m1 m2; do "$coffer" sync --quiet "$work/$m"; done
cmp "$work/m1/after" "$work/m2/after" || fail "the others go on"
[ ! -e "$work/m3/after" ] || fail "what is written under the new keys is read by the revoked device"
for m in m1 m2; do
  cmp "$work/m3/before" "$work/$m/before" || fail "what it wrote before, on $m"
  [ "$(cat "$work/$m/one")" = one ] || fail "what it changed afterwards, on $m"
  [ ! -e "$work/$m/own work" ] || fail "what it made afterwards, on $m"
  [ -z "$(problems "$work/$m")" ] || fail "$m: $(problems "$work/$m")"
done

expect 10 "$coffer" unmount --quiet "$work/m3"
must_say 'not in the store, since this device has been revoked'
must_say 'never goes up'
if grep -q 'at the next mount' <<<"$said"; then fail "it promises what cannot be: $said"; fi
before=$(ls "$work/m1")
expect 0 "$coffer" device revoke "$store" three
must_say 'was revoked before'
"$coffer" sync --quiet "$work/m1"
[ "$(ls "$work/m1")" = "$before" ] || fail "a second revocation changes something"
mount_on "$store" "$work/m4" --state-dir "$work/s4" --device-name four
[ "$(ls "$work/m4")" = "$before" ] || fail "a new machine sees $(ls "$work/m4")"
expect 0 "$coffer" ls "$store" /
[ "$(cut -d/ -f2- <<<"$said" | grep -c 'own work')" = 0 ] || fail "ls shows void files"
for m in m1 m2 m4; do "$coffer" unmount --quiet "$work/$m"; done
expect 0 "$coffer" check "$store" --state-dir "$work/s1"
if /usr/bin/python3 -c 'import nacl, zstandard' 2>/dev/null; then
  "$here/../decoder/decode.py" --recovery-key-file "$key" "$store" restore "$work/restored" || fail "the decoder"
  [ "$(ls "$work/restored")" = "$before" ] || fail "the decoder restores $(ls "$work/restored")"
fi
