#!/bin/bash
# Typed once: the unlocked key in the real kernel keyring, in a real Secret Service under a D-Bus of its own, and a
# passphrase that systemd hands over as a credential.
. "$(dirname "$0")/common.sh"
store=$work/store
typed=$COFFER_PASSPHRASE_FILE
unset COFFER_PASSPHRASE_FILE
"$coffer" init "$store" --no-recovery-key --passphrase-file "$typed" >/dev/null
mkdir "$work/m"
volume=$(basename "$(dirname "$(find "$XDG_STATE_HOME/coffer" -name salt)")")

mount_typed() { expect 0 "$coffer" mount "$store" "$work/m" --passphrase-file "$typed" "$@"; }
mount_untyped() { expect 0 "$coffer" mount "$store" "$work/m" --passphrase-command 'touch '"$work"'/asked; false' "$@"; }
unmount() { expect 0 "$coffer" unmount "$work/m"; }
asks() { # OPTIONS: the passphrase is asked for, and the mount fails since nobody answers
  rm -f "$work/asked"
  expect 1 "$coffer" mount "$store" "$work/m" --passphrase-command "touch $work/asked; false" "$@"
  [ -e "$work/asked" ] || fail "the passphrase is not asked for"
}
look_for_secrets() { # what is kept must not be in arguments, environments or files
  if grep -rlaF -- "$1" "$work/state" "$work/run" "$store"; then fail "the kept key lies in a file"; fi
}

# A place that can keep a key: KEEP; reads of it: show_kept; a forgery into it: plant TEXT.
through_its_life() {
  asks "--keep-key=$1"
  mount_typed "--keep-key=$1"
  kept=$(show_kept) || fail "nothing is kept in $1; the mount said: $said"
  echo hello >"$work/m/file"
  unmount
  [[ $kept == coffer-key-1:* ]] || fail "$1 holds '$kept'"
  look_for_secrets "${kept:13:64}"
  mount_untyped "--keep-key=$1"
  [ "$(cat "$work/m/file")" = hello ] || fail "the mount with a kept key is another"
  unmount
  mount_untyped -o "keep_key=$1"
  unmount
  COFFER_KEEP_KEY=$1 mount_untyped
  unmount
  asks # without the option it is not looked at
  # What it allows is to mount, not to change who may open the volume.
  expect 1 "$coffer" key list "$store" "--keep-key=$1" --passphrase-command false
  # Another machine, or another state directory, becomes a member by passphrase only.
  asks "--keep-key=$1" --state-dir "$work/other"
  # A changed passphrase leaves it valid; damage and forgery are said and ignored.
  plant "${kept:0:100}"
  asks "--keep-key=$1"
  must_say 'ignored'
  for at in 60 150; do # in the volume's signing key, and in its key
    digit=${kept:at:1}
    [ "$digit" = 0 ] && digit=1 || digit=0
    plant "${kept:0:at}$digit${kept:at+1}"
    asks "--keep-key=$1"
    must_say 'ignored'
  done
  mount_typed "--keep-key=$1" # and replaced by the right one
  unmount
  [ "$(show_kept)" = "$kept" ] || fail "the damaged key was not replaced"
  # A new epoch is added to it, from this device's own slot.
  expect 0 "$coffer" key rotate "$store" --passphrase-file "$typed"
  mount_untyped "--keep-key=$1"
  unmount
  [ "$(show_kept | wc -c)" -gt "${#kept}" ] || fail "$1 has not got the keys of the new epoch"
  expect 0 "$coffer" key forget "$store"
  must_say 'Removed the key from'
  [ -z "$(show_kept 2>/dev/null)" ] || fail "$1 has it still"
  asks "--keep-key=$1"
  expect 0 "$coffer" key forget "$store"
  must_say 'No key of this volume'
}
expect 2 "$coffer" mount "$store" "$work/m" --keep-key=nowhere

# systemd.exec(5) hands over a directory; a unit without a terminal needs nothing else.
mkdir -m 700 "$work/credentials"
(umask 077 && cp "$typed" "$work/credentials/coffer.passphrase")
CREDENTIALS_DIRECTORY=$work/credentials expect 0 "$coffer" mount "$store" "$work/m"
unmount
CREDENTIALS_DIRECTORY=$work/credentials expect 0 "$coffer" ls "$store" /
echo wrong >"$work/credentials/coffer.passphrase"
CREDENTIALS_DIRECTORY=$work/credentials expect 3 "$coffer" mount "$store" "$work/m"
CREDENTIALS_DIRECTORY=$work expect 2 "$coffer" mount "$store" "$work/m"

done_with=()
if command -v keyctl >/dev/null && keyctl list @u >/dev/null 2>&1; then
  show_kept() { keyctl pipe "$(keyctl search @u user "coffer:$volume")"; }
  plant() { keyctl update "$(keyctl search @u user "coffer:$volume")" "$1"; }
  through_its_life keyring
  done_with+=(keyring)
fi
if command -v gnome-keyring-daemon >/dev/null && command -v secret-tool >/dev/null && command -v dbus-daemon >/dev/null; then
  dbus-daemon --session --nofork --address="unix:path=$work/bus" 2>/dev/null &
  started+=($!) # ended when the test is
  export DBUS_SESSION_BUS_ADDRESS=unix:path=$work/bus XDG_DATA_HOME=$work/data XDG_RUNTIME_DIR=$work/runtime
  mkdir -m 700 -p "$work/runtime" "$work/data/keyrings"
  for _ in $(seq 100); do [ ! -S "$work/bus" ] || break; sleep 0.1; done
  echo -n password | gnome-keyring-daemon --foreground --unlock --components=secrets >/dev/null 2>"$work/keyring.err" &
  started+=($!)
  answers=''
  for _ in $(seq 100); do
    if timeout 5 secret-tool store --label=probe probe x <<<x 2>/dev/null; then
      answers=1
      break
    fi
    sleep 0.2
  done
  [ -n "$answers" ] || fail "the keyring daemon does not answer: $(cat "$work/keyring.err")"
  show_kept() { secret-tool lookup application coffer volume "$volume"; }
  plant() { echo -n "$1" | secret-tool store --label=x application coffer volume "$volume"; }
  through_its_life secret-service
  # A service that has died costs a question, nothing else.
  mount_typed --keep-key=secret-service
  unmount
  DBUS_SESSION_BUS_ADDRESS=unix:path=$work/nobody asks --keep-key=secret-service
  DBUS_SESSION_BUS_ADDRESS=unix:path=$work/nobody mount_typed --keep-key=secret-service
  must_say 'not kept'
  unmount
  "$coffer" key forget "$store" >/dev/null
  done_with+=(secret-service)
fi
[ "${#done_with[@]}" = 2 ] || skip "only with: ${done_with[*]:-systemd credentials}"
