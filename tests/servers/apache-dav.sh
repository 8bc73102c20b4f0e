#!/bin/bash
# Apache httpd with mod_dav_fs over TLS and HTTP/2: /basic wants Basic, /digest wants Digest. COFFER_DAV_AUTH chooses
# which of the two is printed (basic by default). It looks up the size of a file before it opens it, so that who reads a
# name while it is replaced may get the new bytes cut to the old length.
. "$(dirname "$0")/common.sh"
case $command in
  stop) stop_pid_file "$dir/httpd.pid"; exit ;;
  start) ;;
  *) usage ;;
esac
require /usr/sbin/apache2 apache2
require htpasswd apache2-utils
: "${port:=$(free_port 1)}"
rm -rf "$dir"
mkdir -p "$dir/root/basic" "$dir/root/digest" "$dir/lock"
sh "$here/mkcert.sh" "$dir/tls"
# SHA-1 because the usual apr1 costs milliseconds at each request.
htpasswd -bc -s "$dir/basic" tester s3cret 2>/dev/null
printf 'tester:dav:%s\n' "$(printf 'tester:dav:s3cret' | md5sum | cut -d' ' -f1)" >"$dir/digest"
modules=/usr/lib/apache2/modules
cat >"$dir/httpd.conf" <<C
ServerRoot $dir
PidFile $dir/httpd.pid
DefaultRuntimeDir $dir
Listen 127.0.0.1:$port
ServerName 127.0.0.1
ErrorLog $dir/error.log
LogLevel warn
$(for m in mpm_event authn_core authn_file authz_core authz_user auth_basic auth_digest dav dav_fs setenvif socache_shmcb ssl http2; do
  echo "LoadModule ${m}_module $modules/mod_$m.so"
done)
Protocols h2 http/1.1
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
ServerLimit 1
ThreadsPerChild 64
MaxRequestWorkers 64
SSLEngine on
SSLCertificateFile $dir/tls/server.crt
SSLCertificateKeyFile $dir/tls/server.key
SSLSessionCache shmcb:$dir/sslcache(512000)
DocumentRoot $dir/root
DavLockDB $dir/lock/db
<Directory $dir/root>
  Dav On
  AuthName dav
  Require valid-user
</Directory>
<Directory $dir/root/basic>
  AuthType Basic
  AuthUserFile $dir/basic
</Directory>
<Directory $dir/root/digest>
  AuthType Digest
  AuthDigestDomain /digest/
  AuthUserFile $dir/digest
</Directory>
C
if [ "$(id -u)" = 0 ]; then
  printf 'User www-data\nGroup www-data\n' >>"$dir/httpd.conf"
  chown -R www-data "$dir/root" "$dir/lock" "$dir/basic" "$dir/digest"
  chmod 755 "$dir"
fi
/usr/sbin/apache2 -f "$dir/httpd.conf" -k start
wait_ready "$dir/httpd.pid" "$dir/error.log"
auth=${COFFER_DAV_AUTH:-basic}
echo "url=webdavs://127.0.0.1:$port/$auth ca=$dir/tls/ca.pem user=tester password=s3cret auth=$auth overwrite=torn"
