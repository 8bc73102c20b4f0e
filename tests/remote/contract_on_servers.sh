#!/bin/bash
# contract_on_servers.sh TEST-PROGRAM NAME...: starts each server (lighttpd, apache, nginx, rclone, ceph-rgw; a suffix
# -digest asks for Digest), runs the contract suite on it, stops it. Ends with 77 (skipped) when a server's package is
# not installed.
set -u
program=$1
shift
servers=$(cd "$(dirname "$0")/../servers" && pwd)
result=0
for name in "$@"; do
  base=${name%-digest}
  script=$servers/$base.sh
  [ -e "$script" ] || script=$servers/$base-dav.sh
  export COFFER_DAV_AUTH=basic
  [ "$base" = "$name" ] || export COFFER_DAV_AUTH=digest
  dir=$(mktemp -d /tmp/cofXXXXXX)
  line=$("$script" start "$dir")
  status=$?
  if [ $status = 0 ]; then
    COFFER_TEST_STORES="name=${name//-/_} $line" "$program" || result=1
  elif [ $status = 77 ]; then
    [ $result = 0 ] && result=77
  else
    echo "$name: the server did not start" >&2
    result=1
  fi
  "$script" stop "$dir"
  rm -rf "$dir"
done
exit $result
