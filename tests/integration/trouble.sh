#!/bin/bash
# A store that is down, refuses, stalls, cuts, loses answers, or shows another's certificate: local work goes on, status says
# what is wrong and what to do, work goes on by itself, nothing is lost or doubled.
# usage: trouble.sh COFFER SERVER MODE...
. "$(dirname "$0")/common.sh"
kind=$1
shift
start_server "$kind"
start_proxy
trouble() { echo "$1" >"$work/mode"; }
wait_for_problem() {
  local _
  for _ in $(seq 600); do
    said=$(problems "$work/m")
    [ -n "$said" ] && return 0
    sleep 0.1
  done
  fail "status says nothing under $1"
}

"$coffer" init "$store" --no-recovery-key "${store_options[@]}"
mount_on "$store" "$work/m" "${store_options[@]}"
mount_on "$store" "$work/m2" --state-dir "$work/state2" --device-name second "${store_options[@]}"
echo start >"$work/m/start"
"$coffer" sync "$work/m"
for mode in "$@"; do
  trouble "$mode"
  mkdir "$work/m/$mode"
  head -c 300000 /dev/urandom >"$work/m/$mode/big"
  for i in $(seq 20); do echo "$mode $i" >"$work/m/$mode/small$i"; done
  sync "$work/m/$mode/big"
  [ "$(find "$work/m/$mode" -type f | wc -l)" = 21 ] || fail "local work does not go on under $mode"
  if [ "$mode" = slow ]; then
    # No trouble, but what is waiting is told.
    [ "$(waiting_bytes "$work/m")" -gt 0 ] || fail "status does not say what is waiting"
    [ -z "$(problems "$work/m")" ] || fail "a slow store is a problem: $(problems "$work/m")"
  else
    wait_for_problem "$mode"
    echo "$mode: $said"
    grep -q ' | [A-Z]' <<<"$said" || fail "status does not say what to do: $said"
  fi
  trouble ok
  expect 0 timeout 120 "$coffer" sync "$work/m"
  expect 0 timeout 120 "$coffer" sync "$work/m2"
  diff -r "$work/m/$mode" "$work/m2/$mode" || fail "$mode: the second device has something else"
  for _ in $(seq 100); do [ -z "$(problems "$work/m")" ] && break; sleep 0.1; done
  [ -z "$(problems "$work/m")" ] || fail "$mode: the problem stays: $(problems "$work/m")"
done
"$here/tree_digest.py" "$work/m" >"$work/m.digest"
"$here/tree_digest.py" "$work/m2" >"$work/m2.digest"
diff "$work/m.digest" "$work/m2.digest" || fail "the trees differ"
if find "$work/m" | grep -q conflict; then fail "conflict copies: something was done twice"; fi
expect 0 "$coffer" unmount "$work/m"
expect 0 "$coffer" unmount "$work/m2"
