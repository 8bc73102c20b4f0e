#!/bin/bash
# coffer device list: by the daemon of a mount, and from the store alone.
. "$(dirname "$0")/common.sh"
store=$work/store
field() { # NAME FIELD: of the device of that name, in the list on stdin
  python3 -c 'import json, sys; print(next(d for d in json.load(sys.stdin) if d["name"] == sys.argv[1])[sys.argv[2]])' "$1" "$2"
}
"$coffer" init "$store" --no-recovery-key --device-name laptop
mount_on "$store" "$work/a" --device-name laptop
echo one >"$work/a/file"
"$coffer" sync --quiet "$work/a"
mount_on "$store" "$work/b" --state-dir "$work/state-b" --device-name tower

# By the daemon: a device that has written nothing yet is there, too, as far as it knows itself.
"$coffer" device list --json "$work/b" >"$work/list"
[ "$(field laptop self <"$work/list")" = False ] || fail "laptop is not tower"
[ "$(field laptop runs <"$work/list")" = 2 ] || fail "laptop wrote when the volume was made, and when it was mounted"
[ "$(field laptop since <"$work/list")" != None ] || fail "since when is laptop there?"
[ "$(field tower when <"$work/list")" = None ] || fail "tower has written nothing"
"$coffer" device list "$work/b" | grep -q '^[0-9a-f]\{8\}  tower .* - .*this one' || fail "tower is not marked"
echo two >"$work/b/other"
"$coffer" sync --quiet "$work/b"
"$coffer" device list --json "$work/b" >"$work/list"
[ "$(field tower when <"$work/list")" != None ] || fail "tower has written"

# From the store, as the one that asks sees it; whether it is mounted here or not.
"$coffer" device list --json "$store" >"$work/list"
[ "$(field laptop self <"$work/list")" = True ] || fail "laptop does not know itself"
[ "$(field tower self <"$work/list")" = False ] || fail "tower is not laptop"
[ "$(field tower runs <"$work/list")" = 1 ] || fail "tower has one run"
[ "$(python3 -c 'import json, sys; print(len(json.load(sys.stdin)))' <"$work/list")" = 2 ] || fail "two devices"
"$coffer" unmount "$work/a"
"$coffer" unmount "$work/b"
"$coffer" device list "$store" --state-dir "$work/state-b" | grep -q ' tower .*this one' || fail "tower does not know itself"
"$coffer" device list "$store" --state-dir "$work/nowhere" >"$work/text"
[ "$(wc -l <"$work/text")" = 3 ] || fail "two devices and a head"
! grep -q 'this one' "$work/text" || fail "no member asks"
