#!/bin/bash
# nginx with its dav and dav-ext modules over TLS and HTTP/2, Basic: it ignores every precondition.
. "$(dirname "$0")/common.sh"
case $command in
  stop) stop_pid_file "$dir/nginx.pid"; exit ;;
  start) ;;
  *) usage ;;
esac
require nginx nginx-light
require /usr/lib/nginx/modules/ngx_http_dav_ext_module.so libnginx-mod-http-dav-ext
: "${port:=$(free_port 1)}"
rm -rf "$dir"
mkdir -p "$dir/root" "$dir/tmp"
sh "$here/mkcert.sh" "$dir/tls"
printf 'tester:{SHA}%s\n' "$(printf s3cret | openssl dgst -sha1 -binary | base64)" >"$dir/basic"
user=
[ "$(id -u)" = 0 ] && user="user www-data;"
cat >"$dir/nginx.conf" <<C
load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;
$user worker_processes 2; pid $dir/nginx.pid; error_log $dir/error.log warn;
events { worker_connections 256; }
http {
  access_log off; client_max_body_size 0; keepalive_requests 100000; keepalive_timeout 60s; tcp_nodelay on;
  client_body_temp_path $dir/tmp/body; proxy_temp_path $dir/tmp/p; fastcgi_temp_path $dir/tmp/f;
  uwsgi_temp_path $dir/tmp/u; scgi_temp_path $dir/tmp/s;
  server {
    listen 127.0.0.1:$port ssl http2; ssl_certificate $dir/tls/server.crt; ssl_certificate_key $dir/tls/server.key;
    auth_basic dav; auth_basic_user_file $dir/basic;
    location / {
      root $dir/root; dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS;
      create_full_put_path off; dav_access user:rw; min_delete_depth 0;
    }
  }
}
C
if [ "$(id -u)" = 0 ]; then
  chown -R www-data "$dir/root" "$dir/tmp"
  chmod 755 "$dir"
  chmod 644 "$dir/basic"
fi
nginx -c "$dir/nginx.conf"
wait_ready "$dir/nginx.pid" "$dir/error.log"
echo "url=webdavs://127.0.0.1:$port ca=$dir/tls/ca.pem user=tester password=s3cret auth=basic"
