# Sourced by the tests beside it. Each is called with the program to test, works in a directory of its own, and leaves
# nothing behind: no mount, no process, no file.
# shellcheck shell=bash
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
coffer=$(realpath "${1:?usage: $0 COFFER-PROGRAM}")
shift

skip() {
  echo "SKIPPED: $*" >&2
  exit 77
}
[ -c /dev/fuse ] || skip "no /dev/fuse"
[ "$(id -u)" = 0 ] || command -v fusermount3 >/dev/null || skip "neither root nor fusermount3"

# Debian's own programs, of which packages.txt speaks: another python3 would lack its packages, and may be slow to start.
export PATH=/usr/bin:/bin:$PATH

# In a namespace of one's own the mounts of other tests would live on, and who unmounts one would wait for us.
if [ -n "${COFFER_TEST_NAMESPACE:-}" ]; then
  awk '$3 ~ /^fuse/ { print $2 }' /proc/self/mounts | while read -r other; do umount -l "$other" || true; done
fi

work=$(mktemp -d /tmp/cofXXXXXX)
chmod 711 "$work"  # servers that give up root keep their files in it
export HOME=$work/home XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config COFFER_RUNTIME_DIR=$work/run
export COFFER_TEST_KDF=fast COFFER_PASSPHRASE_FILE=$work/passphrase
unset COFFER_STATE_DIR COFFER_PASSPHRASE_COMMAND COFFER_CA_FILE COFFER_CONFIG || true
mkdir -p "$HOME"
(umask 077 && echo 'correct horse battery staple' >"$COFFER_PASSPHRASE_FILE")
git config --global user.name Tester
git config --global user.email tester@localhost
git config --global init.defaultBranch main
git config --global --add safe.directory '*'

servers=() started=()  # started: processes, or -GROUPs, that are ended at the end
mounts_here() { awk -v under="$work/" '$2 ~ "^" under { print $2 }' /proc/self/mounts; }
clean_up() {
  local status=$? dir server
  set +e
  cd /
  if [ "$status" != 0 ] && [ "$status" != 77 ]; then
    echo "--- failed with $status; the end of the daemons' logs:" >&2
    tail -n 15 "$work"/*/coffer/*/log "$work"/*/*/log 2>/dev/null >&2
  fi
  for dir in $(mounts_here); do
    timeout 20 "$coffer" unmount --now --lazy --quiet "$dir" >/dev/null 2>&1 || umount -l "$dir"
  done
  [ "${#started[@]}" = 0 ] || kill -- "${started[@]}" 2>/dev/null
  for server in "${servers[@]}"; do "$here/../servers/$server.sh" stop "$work/$server"; done
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# expect CODE COMMAND...: it must end with this code. What it said is in $said.
expect() {
  local wanted=$1 got=0
  shift
  said=$("$@" 2>&1) || got=$?
  [ "$got" = "$wanted" ] || fail "'$*' ended with $got instead of $wanted: $said"
}

# Something in $said is of this pattern.
must_say() { grep -qi -- "$1" <<<"$said" || fail "nothing about '$1' in: $said"; }

wait_for() {  # MESSAGE COMMAND...
  local message=$1 _
  shift
  for _ in $(seq 300); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  fail "$message"
}

mount_on() {  # STORE DIR OPTIONS...
  mkdir -p "$2"
  "$coffer" mount "$@"
}

daemon_of() { "$coffer" status --json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])'; }
waiting_bytes() { "$coffer" status --json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["waiting"]["bytes"])'; }
# What status says is wrong, and what to do about it, one a line.
problems() {  # DIR
  "$coffer" status --json "$1" |
    python3 -c 'import json, sys; [print(p["what"], "|", p["todo"]) for p in json.load(sys.stdin)["problems"]]'
}

wait_for_end() {  # PID
  local _
  for _ in $(seq 300); do
    [ -d "/proc/$1" ] || return 0
    sleep 0.1
  done
  fail "process $1 does not end"
}

# start_server NAME: a store on loopback. Sets `store`, and `store_options` for every command that takes a store.
start_server() {
  local line status=0 word
  line=$("$here/../servers/$1.sh" start "$work/$1") || status=$?
  [ "$status" != 77 ] || skip "$1 is not installed"
  [ "$status" = 0 ] || fail "$1 does not start"
  servers+=("$1")
  local -A said_by=()
  for word in $line; do said_by[${word%%=*}]=${word#*=}; done
  store=${said_by[url]}/volume
  store_options=(--ca-file "${said_by[ca]}")
  if [ -n "${said_by[endpoint]:-}" ]; then
    store_options+=(--endpoint "${said_by[endpoint]}" --path-style --region "${said_by[region]}")
    export AWS_ACCESS_KEY_ID=${said_by[access_key]} AWS_SECRET_ACCESS_KEY=${said_by[secret_key]}
  else
    (umask 077 && echo "machine 127.0.0.1 login ${said_by[user]} password ${said_by[password]}" >"$HOME/.netrc")
  fi
}

# start_proxy [MODE-FILE]: trouble_proxy.py between coffer and the started server; $work/mode, or the given file, says what it
# does. Sets `store` and `store_options` anew.
start_proxy() {
  local upstream port server=${servers[-1]} mode_file=${1:-$work/mode} _
  : "${direct_store:=$store}"
  [ -n "${direct_options+set}" ] || direct_options=("${store_options[@]}")
  upstream=$(grep -oE '127\.0\.0\.1:[0-9]+' <<<"$direct_store ${direct_options[*]}" | head -n 1)
  upstream=${upstream#*:}
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  echo ok >"$mode_file"
  python3 "$here/../servers/trouble_proxy.py" "$port" "$upstream" "$work/$server/tls" "$mode_file" &
  started+=($!)
  store=${direct_store/:$upstream/:$port}
  store_options=("${direct_options[@]/:$upstream/:$port}")
  for _ in $(seq 100); do
    if (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return 0; fi
    sleep 0.1
  done
  fail "the proxy does not start"
}
