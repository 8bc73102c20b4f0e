#!/bin/bash
# On a new device whose store does not answer, 200 programs read what is not here: create, fsync, ls and close elsewhere on the
# mount go on, Ctrl-C ends each reader, and once the store answers, what they wanted is there.
# usage: stalled_reads.sh COFFER SERVER
. "$(dirname "$0")/common.sh"
readers=200
start_server "$1"
start_proxy
trouble() { echo "$1" >"$work/mode"; }
"$coffer" init "$store" --no-recovery-key "${store_options[@]}"
mount_on "$store" "$work/m" "${store_options[@]}"
mkdir "$work/m/absent" "$work/m/elsewhere"
head -c $((readers * 100000)) /dev/urandom | split -b 100000 -a 3 -d - "$work/m/absent/"
(cd "$work/m/absent" && sha256sum -- *) >"$work/sums"
expect 0 "$coffer" unmount "$work/m"

mount_on "$store" "$work/m" --state-dir "$work/state2" "${store_options[@]}"
trouble stall
# Without job control bash would have them ignore SIGINT.
set -m
pids=()
for file in "$work/m/absent"/*; do
  cat "$file" >>"$work/read" 2>>"$work/said" &
  pids+=($!)
done
set +m
asked() { "$coffer" status --json "$work/m" | python3 -c 'import json, sys; print(json.load(sys.stdin)["counters"]["upcalls"]["read"]["calls"])'; }
for _ in $(seq 300); do
  [ "$(asked)" -ge "$readers" ] && break
  sleep 0.1
done
[ "$(asked)" -ge "$readers" ] || fail "the kernel has asked for $(asked) reads of $readers"

work_elsewhere() {
  local i
  for i in $(seq 20); do
    head -c 200000 /dev/urandom >"$work/m/elsewhere/$i"  # create, write, close
    sync "$work/m/elsewhere/$i"
    cat "$work/m/elsewhere/$i" >/dev/null
  done
  mv "$work/m/elsewhere/1" "$work/m/elsewhere/moved"
  rm "$work/m/elsewhere/2"
  [ "$(ls "$work/m/elsewhere" | wc -l)" = 19 ] || fail "ls shows something else"
  ls -l "$work/m/absent" >/dev/null
}
export -f work_elsewhere fail
export work
expect 0 timeout 60 bash -c 'set -e; work_elsewhere'
expect 0 timeout 60 "$coffer" status "$work/m"
kill -0 "${pids[@]}" || fail "readers have ended: $(cat "$work/said")"

for pid in "${pids[@]}"; do kill -INT "$pid"; done
for pid in "${pids[@]}"; do
  wait_for_end "$pid"
  status=0
  wait "$pid" || status=$?
  [ "$status" = 130 ] || fail "a reader ended with $status: $(cat "$work/said")"
done
[ ! -s "$work/read" ] || fail "readers got $(stat -c %s "$work/read") bytes of a store that answers nothing"

trouble ok
(cd "$work/m/absent" && timeout 120 sha256sum --quiet -c "$work/sums") || fail "what was absent is not what was written"
expect 0 timeout 120 "$coffer" sync "$work/m"
expect 0 "$coffer" unmount "$work/m"
