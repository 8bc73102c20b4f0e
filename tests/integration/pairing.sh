#!/bin/bash
# Machines become devices of a volume by a code, without its passphrase: from a mount, from the store, and by one that was let
# in so itself. Cancelled, mistyped, tampered with, and repeated after the keyring has forgotten; what the store withholds
# from the new one is noticed; and an independent decoder reads what such devices wrote.
. "$(dirname "$0")/common.sh"
command -v keyctl >/dev/null && keyctl list @u >/dev/null 2>&1 || skip "no kernel keyring"
store=$work/store
typed=$COFFER_PASSPHRASE_FILE
unset COFFER_PASSPHRASE_FILE
"$coffer" init "$store" --recovery-key-file "$work/key" --passphrase-file "$typed" --device-name laptop
mount_on "$store" "$work/a" --passphrase-file "$typed" --device-name laptop
echo one >"$work/a/file"
"$coffer" sync --quiet "$work/a"

machine() { # NAME: its options; whoever asks it for a passphrase is found out
  options=(--state-dir "$work/state-$1" --device-name "$1" --keep-key=keyring --passphrase-command "touch $work/asked; false")
}
start_join() { # NAME: sets joiner, and the code in $work/code
  machine "$1"
  "$coffer" device join "$store" "${options[@]}" >"$work/joined" 2>&1 &
  joiner=$!
  for _ in $(seq 100); do
    ! grep -q 'Waiting for' "$work/joined" || break
    sleep 0.1
  done
  (umask 077 && grep -E '^    ([0-9A-Z]{5}-){3}[0-9A-Z]{5}$' "$work/joined" >"$work/code")
  [ "$(wc -l <"$work/code")" = 2 ] || fail "no code is shown: $(cat "$work/joined")"
}
end_join() { # CODE: how the joining must end
  local got=0
  wait "$joiner" || got=$?
  [ "$got" = "$1" ] || fail "join ended with $got instead of $1: $(cat "$work/joined")"
  [ -z "$(find "$store/pair" -type f 2>/dev/null)" ] || fail "the request, or the answer, is still in the store"
}
mount_untyped() { # NAME DIR
  machine "$1"
  mount_on "$store" "$2" "${options[@]}"
  [ ! -e "$work/asked" ] || fail "$1 was asked for a passphrase"
}

# Said before anybody does anything.
expect 2 "$coffer" device join "$store" --state-dir "$work/state-tower"
must_say 'keep-key'
expect 8 "$coffer" device join "$work/nowhere" --keep-key=keyring
# Cancelled, and a code that nobody waits for any more.
start_join tower
kill -TERM "$joiner"
end_join 143
expect 1 "$coffer" device add "$work/a" --code-file "$work/code"
must_say 'no request in the store fits'

start_join tower
# A mistyped group is named; another changed nothing.
sed 's/^    \(.....\)-./    \1-?/' "$work/code" >"$work/mistyped"
expect 2 "$coffer" device add "$work/a" --code-file "$work/mistyped"
must_say 'group 2'
expect 0 "$coffer" check "$store" --passphrase-file "$typed"
must_say 'of devices that ask to be let in'
# The store changes the request: nobody is let in. It was as it is, and somebody is.
request=$(find "$store/pair" -type f)
cp "$request" "$work/request"
printf '\x01' | dd of="$request" bs=1 seek=50 conv=notrunc status=none
expect 1 "$coffer" device add "$work/a" --code-file "$work/code"
must_say 'changed the request'
cp "$work/request" "$request"
expect 0 "$coffer" device add "$work/a" --code-file "$work/code"
end_join 0
grep -q 'let in by laptop' "$work/joined" || fail "who let it in? $(cat "$work/joined")"
while read -r line; do
  ! grep -rqaF -- "$line" "$store" "$work/state" "$work/state-tower" "$work/run" || fail "the code is kept somewhere"
done <"$work/code"

# It mounts, and is like any other device.
mount_untyped tower "$work/b"
[ "$(cat "$work/b/file")" = one ] || fail "tower does not see what is there"
echo two >"$work/b/other"
"$coffer" sync --quiet "$work/b"
"$coffer" sync --quiet "$work/a"
[ "$(cat "$work/a/other")" = two ] || fail "laptop does not see what tower wrote"
"$coffer" device list "$work/a" | grep -q ' tower .*let in by laptop' || fail "tower is not in the list"

# It lets others in, in its turn, also with keys that are newer than its mount; and a member does that without a mount.
expect 0 "$coffer" key rotate "$store" --passphrase-file "$typed"
for state in "$work/state-tower" "$work/state/coffer"; do
  for _ in $(seq 100); do
    ! grep -q 'a new epoch' "$state"/*/log || break
    sleep 0.1
  done
  grep -q 'a new epoch' "$state"/*/log || fail "the new epoch is not taken up: $state"
done
echo new >"$work/a/under-new-keys"
"$coffer" sync --quiet "$work/a"
start_join phone
expect 0 "$coffer" device add "$work/b" --code-file "$work/code"
end_join 0
mount_untyped phone "$work/c"
[ "$(cat "$work/c/under-new-keys")" = new ] || fail "phone lacks the new keys"
echo three >"$work/c/third"
"$coffer" unmount "$work/c"
"$coffer" unmount "$work/a"
start_join tablet
expect 0 "$coffer" device add "$store" --code-file "$work/code" --passphrase-file "$typed" --device-name laptop
end_join 0

# The keyring has forgotten: it is let in again, and is the device that it was.
"$coffer" unmount "$work/b"
"$coffer" key forget "$store" >/dev/null
machine tower
expect 1 "$coffer" mount "$store" "$work/b" "${options[@]}"
rm "$work/asked"
mount_on "$store" "$work/a" --passphrase-file "$typed" --device-name laptop
start_join tower
expect 0 "$coffer" device add "$work/a" --code-file "$work/code"
end_join 0
mount_untyped tower "$work/b"
echo four >"$work/b/fourth"
"$coffer" sync --quiet "$work/b"
"$coffer" sync --quiet "$work/a"
[ "$("$coffer" device list "$work/a" | grep -c ' tower ')" = 1 ] || fail "tower is two devices"
"$coffer" unmount "$work/b"

# What the member knew, and the store does not show to the new one.
echo five >"$work/a/fifth"
"$coffer" sync --quiet "$work/a"
start_join desk
expect 0 "$coffer" device add "$work/a" --code-file "$work/code"
end_join 0
newest=$(find "$store/log" -type f -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
mv "$newest" "$work/withheld"
rm "$store"/head/*
mount_untyped desk "$work/d"
[ ! -e "$work/d/fifth" ] || fail "it was not the newest record"
"$coffer" status "$work/d" | grep -q 'more is announced' || fail "nothing about what is withheld: $("$coffer" status "$work/d")"
mv "$work/withheld" "$newest"
"$coffer" sync --quiet "$work/d"
# The kernel was told that it is not there, and is told otherwise a moment after the state has changed.
for _ in $(seq 100); do
  [ ! -e "$work/d/fifth" ] || break
  sleep 0.1
done
[ "$(cat "$work/d/fifth")" = five ] || fail "what came late is not there"
"$here/tree_digest.py" "$work/d" >"$work/digest"
"$coffer" unmount "$work/d"
"$coffer" unmount "$work/a"

expect 0 "$coffer" check "$store" --passphrase-file "$typed"
must_say 'no fault'
if /usr/bin/python3 -c 'import nacl, zstandard' 2>/dev/null; then
  "$here/../decoder/decode.py" --recovery-key-file "$work/key" "$store" restore "$work/restored"
  "$here/tree_digest.py" "$work/restored" | diff "$work/digest" - || fail "the decoder restores something else"
fi
"$coffer" key forget "$store" >/dev/null
