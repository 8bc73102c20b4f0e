# Sourced by the scripts beside it, each of which is called `start DIR [PORT] | stop DIR`. A started server listens on
# 127.0.0.1 only, keeps everything in DIR, and is described by one line of NAME=VALUE words on stdout:
#   url=... ca=... user=... password=...            (WebDAV)
#   url=s3://BUCKET endpoint=... ca=... access_key=... secret_key=... region=...
set -eu
export PATH=/usr/bin:/bin:$PATH  # another python3 may be slow to start
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  echo "usage: $0 start DIR [PORT] | stop DIR" >&2
  exit 2
}
[ $# -ge 2 ] || usage
command=$1
dir=$(realpath -m "$2")
port=${3:-}

# require PROGRAM-OR-FILE PACKAGE...: ends with 77, which ctest knows as "skipped", when the server is not installed.
require() {
  what=$1
  shift
  if ! command -v "$what" >/dev/null 2>&1 && ! [ -e "$what" ]; then
    echo "SKIPPED: $what is missing; apt-get install --no-install-recommends $*" >&2
    exit 77
  fi
}

# free_port COUNT: the first of COUNT free consecutive ports below the kernel's ephemeral range.
free_port() {
  python3 - "$1" <<'P'
import random, socket, sys
for _ in range(200):
    first, sockets = random.randrange(20000, 32000), []
    try:
        for port in range(first, first + int(sys.argv[1])):
            s = socket.socket()
            s.bind(("127.0.0.1", port))
            sockets.append(s)
        print(first)
        sys.exit(0)
    except OSError:
        continue
    finally:
        for s in sockets:
            s.close()
sys.exit("no free port")
P
}

# stop_pid_file FILE: TERM, five seconds later KILL, to that process only.
stop_pid_file() {
  [ -s "$1" ] || return 0
  pid=$(cat "$1")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
  rm -f "$1"
}

# wait_ready PID-FILE LOG...: until https://127.0.0.1:$port answers anything at all.
wait_ready() {
  pid_file=$1
  shift
  for _ in $(seq 600); do
    if curl -s -o /dev/null --cacert "$dir/tls/ca.pem" "https://127.0.0.1:$port/"; then return 0; fi
    if [ -s "$pid_file" ] && ! kill -0 "$(cat "$pid_file")" 2>/dev/null; then break; fi
    sleep 0.1
  done
  echo "$0: the server does not come up" >&2
  tail -n 20 "$@" >&2 || true
  return 1
}
