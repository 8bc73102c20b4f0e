#!/bin/bash
# More is written, far faster than it goes up, than the daemon may hold in memory: its memory stays bounded.
# usage: bounded_memory.sh COFFER MEBIBYTES
. "$(dirname "$0")/common.sh"
mebibytes=$1
most=$((200 << 10))  # KiB, whatever is written: buffers of writers and of the kernel's requests, packs under way, the table
store=$work/store
"$coffer" init "$store" --no-recovery-key
mount_on "$store" "$work/m" --upload-limit 1M
pid=$(daemon_of "$work/m")
status_of() { awk -v name="$1:" '$1 == name { print $2 }' "/proc/$pid/status"; }
peak=0
head -c $((16 << 20)) /dev/urandom >"$work/piece"
for i in $(seq $((mebibytes / 16))); do
  cat "$work/piece" >"$work/m/$i"
  now=$(status_of RssAnon)
  [ "$now" -le "$peak" ] || peak=$now
  [ "$now" -le "$most" ] || fail "$now KiB in memory after $((i * 16)) MiB, with $(waiting_bytes "$work/m") bytes waiting"
done
python3 -c 'import json, sys; sys.exit(json.load(sys.stdin)["counters"]["store"]["bytes_up"] > int(sys.argv[1]) << 19)' "$mebibytes" <<<"$("$coffer" status --json "$work/m")" ||
  fail "half of it has gone up already: that shows nothing"
[ "$(waiting_bytes "$work/m")" -ge $((mebibytes << 19)) ] || fail "status tells of $(waiting_bytes "$work/m") bytes only"
echo "RssAnon at most $peak KiB, VmHWM $(status_of VmHWM) KiB"
for i in 1 $((mebibytes / 16)); do cmp "$work/piece" "$work/m/$i" || fail "$i is not what was written"; done
expect 0 "$coffer" unmount --now "$work/m"
