#!/bin/bash
# How long it takes until what is closed on one machine is seen on another, both mounted with default settings, over a link of
# 20 ms round trips to a real server; and how many requests a machine makes in a quiet time.
# usage: news.sh COFFER SERVER [SAVES [QUIET-SECONDS]]       SERVER as in tests/servers, ceph-rgw or lighttpd-dav
. "$(dirname "$0")/../integration/common.sh"
bench=$(cd "$(dirname "$0")" && pwd)
start_server "$1"
saves=${2:-100} quiet=${3:-0}
upstream=$(grep -oE '127\.0\.0\.1:[0-9]+' <<<"$store ${store_options[*]}" | head -n 1)
upstream=${upstream#*:}
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 "$bench/link.py" "$port" "$upstream" 10 &
started+=($!)
sleep 1
"$coffer" init "$store" --no-recovery-key "${store_options[@]}" >/dev/null
store=${store/:$upstream/:$port}
store_options=("${store_options[@]/:$upstream/:$port}")
mount_on "$store" "$work/a" --state-dir "$work/state-a" --device-name a "${store_options[@]}"
mount_on "$store" "$work/b" --state-dir "$work/state-b" --device-name b "${store_options[@]}"
python3 - "$work/a" "$work/b" "$saves" <<'PY'
import os, random, sys, time
a, b, saves = sys.argv[1], sys.argv[2], int(sys.argv[3])
late = []
for number in range(saves):
    source, target = (a, b) if number % 2 else (b, a)
    content = f"{number} {random.random()}\n" * 200
    with open(f"{source}/saved", "w") as f:
        f.write(content)
    closed = time.monotonic()
    while True:
        try:
            with open(f"{target}/saved") as f:
                if f.read() == content:
                    break
        except OSError:
            pass
        if time.monotonic() - closed > 120:
            sys.exit("never seen")
        time.sleep(0.01)
    late.append(time.monotonic() - closed)
    time.sleep(random.random() * 1.5)
late.sort()
pick = lambda part: late[min(len(late) - 1, int(part * len(late)))]
print(f"{saves} saves: median {pick(0.5):.2f} s, 90th percentile {pick(0.9):.2f} s, 99th {pick(0.99):.2f} s, longest {late[-1]:.2f} s")
PY
requests() {
  "$coffer" status --json "$1" | python3 -c '
import json, sys
store = json.load(sys.stdin)["counters"]["store"]
print(sum(store[k] for k in ("put", "get", "list", "remove", "other")))'
}
if [ "$quiet" -gt 0 ]; then
  sleep 620  # activity counts for ten minutes
  before=$(requests "$work/a")
  sleep "$quiet"
  echo "quiet: $(($(requests "$work/a") - before)) requests in $quiet s"
fi
"$coffer" unmount --quiet "$work/a"
"$coffer" unmount --quiet "$work/b"
