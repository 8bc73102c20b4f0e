#!/bin/bash
# Each thing that can be wrong has its own exit code, and a sentence that helps.
. "$(dirname "$0")/common.sh"
store=$work/store
must_say() { grep -qi -- "$1" <<<"$said" || fail "nothing about '$1' in: $said"; }

expect 2 "$coffer"
expect 2 "$coffer" frobnicate
expect 2 "$coffer" key "$store"
expect 9 "$coffer" key rotate "$store"
must_say 'not there yet'
expect 2 "$coffer" init "$store" # no terminal to show the recovery key on
must_say recovery-key-file
mkdir "$work/m" "$work/empty"
expect 4 "$coffer" mount "$work/empty" "$work/m"
must_say 'not a coffer volume'
# Without create, a directory that is not there is an unplugged disk, not an empty volume.
expect 8 "$coffer" mount "$work/unplugged" "$work/m"

# Truncated and foreign volume objects.
mkdir "$work/foreign" "$work/truncated"
head -c 5000 /dev/urandom >"$work/foreign/coffer"
: >"$work/truncated/coffer"
expect 4 "$coffer" mount "$work/foreign" "$work/m"
expect 4 "$coffer" mount "$work/truncated" "$work/m"
expect 5 "$coffer" init --no-recovery-key "$work/foreign"

expect 0 "$coffer" init "$store" --recovery-key-file "$work/key"
must_say 'coffer mount'
expect 5 "$coffer" init "$store" --no-recovery-key
expect 2 "$coffer" init "$work/other" --recovery-key-file "$work/key" # never overwritten

(umask 077 && echo wrong >"$work/wrong")
expect 3 "$coffer" mount "$store" "$work/m" --passphrase-file "$work/wrong"
must_say 'wrong passphrase'
expect 3 "$coffer" mount "$store" "$work/m" --state-dir "$work/s2" --passphrase-command 'echo nope'
expect 1 "$coffer" mount "$store" "$work/m" --passphrase-command 'exit 7'
expect 1 "$coffer" mount "$store" "$work/no-such-directory"
expect 2 "$coffer" mount "$store" "$work/m" -o no_such_option
expect 2 "$coffer" mount "$store" "$store"
expect 2 "$coffer" mount nameless "$work/m"
expect 1 "$coffer" status "$work/m"
must_say 'no coffer volume'

# A newer format in the store, and in the state directory.
cp -r "$store" "$work/newer"
printf '\xff\x7f' | dd of="$work/newer/coffer" bs=1 seek=8 conv=notrunc status=none
expect 9 "$coffer" mount "$work/newer" "$work/m" --state-dir "$work/s3"

expect 0 "$coffer" mount "$store" "$work/m"
expect 5 "$coffer" mount "$store" "$work/m"
mkdir "$work/m2"
expect 5 "$coffer" mount "$store" "$work/m2"
must_say 'already mounted by pid'
exec 5>"$work/m/open"
expect 5 "$coffer" unmount "$work/m"
must_say 'in use'
exec 5>&-
expect 0 "$coffer" unmount "$work/m"

volume=$(find "$XDG_STATE_HOME/coffer" -name version -printf '%h\n')
echo 99 >"$volume/version"
expect 9 "$coffer" mount "$store" "$work/m"
must_say 'newer coffer'
echo 1 >"$volume/version"
expect 0 "$coffer" mount "$store" "$work/m"
expect 0 "$coffer" unmount "$work/m"

# The recovery key opens it, too.
expect 0 "$coffer" ls "$store" / --recovery-key-file "$work/key"
