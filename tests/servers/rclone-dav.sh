#!/bin/bash
# `rclone serve webdav` over TLS, Basic: ignores preconditions, and shows half-written bodies under their final name.
. "$(dirname "$0")/common.sh"
case $command in
  stop) stop_pid_file "$dir/pid"; exit ;;
  start) ;;
  *) usage ;;
esac
require rclone rclone
: "${port:=$(free_port 1)}"
rm -rf "$dir"
mkdir -p "$dir/root" "$dir/cache"
sh "$here/mkcert.sh" "$dir/tls"
rclone serve webdav "$dir/root" --config "$dir/none.conf" --cache-dir "$dir/cache" --addr "127.0.0.1:$port" \
  --cert "$dir/tls/server.crt" --key "$dir/tls/server.key" --user tester --pass s3cret >"$dir/log" 2>&1 </dev/null &
echo $! >"$dir/pid"
wait_ready "$dir/pid" "$dir/log"
echo "url=webdavs://127.0.0.1:$port ca=$dir/tls/ca.pem user=tester password=s3cret auth=basic overwrite=torn"
