#!/bin/bash
# lighttpd with mod_webdav over TLS and HTTP/2: /basic wants Basic, /digest wants Digest. COFFER_DAV_AUTH chooses which
# of the two is printed (basic by default).
. "$(dirname "$0")/common.sh"
case $command in
  stop) stop_pid_file "$dir/pid"; exit ;;
  start) ;;
  *) usage ;;
esac
require lighttpd lighttpd
require /usr/lib/lighttpd/mod_webdav.so lighttpd-mod-webdav
require /usr/lib/lighttpd/mod_openssl.so lighttpd-mod-openssl
: "${port:=$(free_port 1)}"
rm -rf "$dir"
mkdir -p "$dir/root/basic" "$dir/root/digest" "$dir/tmp" "$dir/db"
sh "$here/mkcert.sh" "$dir/tls"
echo 'tester:s3cret' >"$dir/plain"
cat >"$dir/lighttpd.conf" <<C
server.modules = ( "mod_accesslog", "mod_auth", "mod_authn_file", "mod_openssl", "mod_webdav" )
server.document-root = "$dir/root"
server.upload-dirs = ( "$dir/tmp" )
server.bind = "127.0.0.1"
server.port = $port
server.errorlog = "$dir/error.log"
accesslog.filename = "$dir/access.log"
accesslog.format = "%h %u %t \"%r\" %>s %b \"%{Range}i\" \"%{User-Agent}i\""
server.pid-file = "$dir/pid"
server.max-keep-alive-requests = 100000
server.max-keep-alive-idle = 60
server.feature-flags = ( "server.h2proto" => "enable" )
ssl.engine = "enable"
ssl.pemfile = "$dir/tls/server.pem"
auth.backend = "plain"
auth.backend.plain.userfile = "$dir/plain"
auth.require = (
  "/basic" => ( "method" => "basic", "realm" => "dav", "require" => "valid-user" ),
  "/digest" => ( "method" => "digest", "realm" => "dav", "require" => "valid-user" ) )
mimetype.assign = ( "" => "application/octet-stream" )
webdav.activate = "enable"
webdav.is-readonly = "disable"
webdav.sqlite-db-name = "$dir/db/locks.sqlite"
C
# It is started by root in containers and refuses to serve as root without being told a user.
if [ "$(id -u)" = 0 ]; then
  echo 'server.username = "www-data"' >>"$dir/lighttpd.conf"
  echo 'server.groupname = "www-data"' >>"$dir/lighttpd.conf"
  chown -R www-data "$dir"
  chmod 755 "$dir"
fi
lighttpd -f "$dir/lighttpd.conf" >"$dir/start.log" 2>&1
wait_ready "$dir/pid" "$dir/error.log" "$dir/start.log"
auth=${COFFER_DAV_AUTH:-basic}
echo "url=webdavs://127.0.0.1:$port/$auth ca=$dir/tls/ca.pem user=tester password=s3cret auth=$auth"
