#!/bin/bash
# contract_on_servers.sh TEST-PROGRAM NAME...: starts each server (lighttpd, apache, nginx, rclone, ceph-rgw; a suffix
# -digest asks for Digest, -virtual puts the bucket's name before the host's), runs the contract suite on it, stops it. Ends
# with 77 (skipped) when a server's package is not installed. Where HTTP/2 is offered, it has to have been used.
set -u
program=$1
shift
servers=$(cd "$(dirname "$0")/../servers" && pwd)
result=0
for name in "$@"; do
  base=${name%-digest} base=${base%-virtual}
  script=$servers/$base.sh
  [ -e "$script" ] || script=$servers/$base-dav.sh
  export COFFER_DAV_AUTH=basic
  [ "$name" != "$base-digest" ] || export COFFER_DAV_AUTH=digest
  dir=$(mktemp -d /tmp/cofXXXXXX)
  line=$("$script" start "$dir")
  status=$?
  if [ $status = 0 ]; then
    [ "$name" != "$base-virtual" ] || line=${line/endpoint=https:\/\/127.0.0.1/endpoint=https:\/\/localhost}
    COFFER_TEST_STORES="name=${name//-/_} $line" "$program" || result=1
    if [ "$name" = lighttpd ] && ! grep -q '"PROPFIND [^"]* HTTP/2.0"' "$dir/access.log"; then
      echo "$name: no request came over HTTP/2" >&2
      result=1
    fi
    if [ "$name" = "$base-virtual" ] && ! grep -q '"PUT /t-[^/]*/obj/' "$dir/client.rgw.log"; then
      echo "$name: the bucket's name is not in the host" >&2
      result=1
    fi
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
