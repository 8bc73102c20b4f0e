#!/bin/bash
# Ceph's RADOS gateway: a real S3 server. One monitor and one OSD that keeps everything in memory. A bucket `coffer`
# exists when it is ready. DIR must be short: the path of a Unix socket has at most 107 bytes.
. "$(dirname "$0")/common.sh"
access_key=testaccess secret_key=testsecret0123456789
export CEPH_CONF=$dir/ceph.conf

case $command in
  stop)
    for daemon in rgw osd mon; do stop_pid_file "$dir/$daemon.pid"; done
    exit ;;
  start) ;;
  *) usage ;;
esac
require radosgw radosgw
require ceph-mon ceph-mon
require ceph-osd ceph-osd
: "${port:=$(free_port 64)}"
rm -rf "$dir"
mkdir -p "$dir/mon" "$dir/osd" "$dir/run"
sh "$here/mkcert.sh" "$dir/tls"
fsid=$(cat /proc/sys/kernel/random/uuid)
osd_id=$(cat /proc/sys/kernel/random/uuid)

# Authentication between the daemons is off, as everything is on loopback. Without tcp_nodelay each small request takes
# 44 ms. The short paxos intervals and few placement groups make it ready in two seconds.
cat >"$CEPH_CONF" <<C
[global]
fsid = $fsid
mon host = [v2:127.0.0.1:$((port + 1))/0,v1:127.0.0.1:$((port + 2))/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
run dir = $dir/run
admin socket = $dir/run/\$name.asok
log file = $dir/\$name.log
log to stderr = false
err to stderr = true
crash dir = $dir/crash
mon data = $dir/mon
osd data = $dir/osd
osd objectstore = memstore
memstore device bytes = 8589934592
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon cluster log file = $dir/cluster.log
ms bind port min = $((port + 10))
ms bind port max = $((port + 60))
ms mon client mode = crc
paxos propose interval = 0.01
paxos min wait = 0.01
mon data avail warn = 2
mon data avail crit = 1
[client.rgw]
rgw frontends = beast tcp_nodelay=1 ssl_endpoint=127.0.0.1:$port ssl_certificate=$dir/tls/server.crt ssl_private_key=$dir/tls/server.key
rgw dns name = localhost
rgw enable usage log = false
rgw enable ops log = false
C

background() {  # NAME COMMAND...
  name=$1
  shift
  "$@" >"$dir/$name.out" 2>&1 </dev/null &
  echo $! >"$dir/$name.pid"
}
trap 'for daemon in rgw osd mon; do stop_pid_file "$dir/$daemon.pid"; done' ERR
monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:127.0.0.1:$((port + 1)),v1:127.0.0.1:$((port + 2))]" \
  "$dir/monmap" >/dev/null
ceph-mon -i a --mkfs --monmap "$dir/monmap"
background mon ceph-mon -i a -f
ceph --connect-timeout 30 osd new "$osd_id" >/dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$osd_id" >"$dir/osd.mkfs" 2>&1
background osd ceph-osd -i 0 -f
radosgw-admin user create --uid=test --display-name=test --access-key=$access_key --secret-key=$secret_key \
  >"$dir/user.json" 2>"$dir/user.err"
background rgw radosgw -n client.rgw -f
wait_ready "$dir/rgw.pid" "$dir"/*.out "$dir/client.rgw.log"
# This curl's signer needs the hash spelt out.
curl -sS --fail -o /dev/null --cacert "$dir/tls/ca.pem" --aws-sigv4 aws:amz:us-east-1:s3 --user $access_key:$secret_key \
  -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -X PUT "https://127.0.0.1:$port/coffer"
echo "url=s3://coffer endpoint=https://127.0.0.1:$port ca=$dir/tls/ca.pem access_key=$access_key" \
  "secret_key=$secret_key region=us-east-1"
