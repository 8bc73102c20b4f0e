#!/bin/sh
# mkcert.sh DIR: a certificate authority and what it signed, for tests of TLS on loopback.
#   ca.pem       the authority
#   server.pem   certificate, then key, for 127.0.0.1, ::1, localhost and coffer.localhost (a bucket's name before it)
#   other.pem    the same authority, for other.invalid only
#   expired.pem  for 127.0.0.1, but of the past
#   stranger.pem for 127.0.0.1, by another authority of the same name
set -eu
mkdir -p "$1"
cd "$1"
umask 077

authority() {  # FILE-PREFIX
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=coffer test authority" \
    -addext keyUsage=critical,keyCertSign -keyout "$1.key" -out "$1.pem" 2>/dev/null
}
# `openssl ca` because `openssl x509` cannot sign for the past.
sign() {  # NAME AUTHORITY ALT-NAMES BEGIN END (YYYYMMDDHHMMSSZ)
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  rm -rf db && mkdir db && : >db/index && echo 01 >db/serial
  cat >db/conf <<C
[ca]
default_ca = d
[d]
database = db/index
serial = db/serial
new_certs_dir = db
default_md = sha256
policy = p
x509_extensions = e
unique_subject = no
[p]
commonName = supplied
[e]
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = $3
C
  openssl ca -batch -notext -config db/conf -cert "$2.pem" -keyfile "$2.key" -in "$1.csr" -out "$1.crt" \
    -startdate "$4" -enddate "$5" 2>/dev/null
  cat "$1.crt" "$1.key" >"$1.pem"
}

authority ca
authority stranger-ca
here=DNS:localhost,DNS:coffer.localhost,IP:127.0.0.1,IP:::1
now=$(date -u -d '-1 day' +%Y%m%d%H%M%SZ)
later=$(date -u -d '+365 days' +%Y%m%d%H%M%SZ)
sign server ca $here "$now" "$later"
sign other ca DNS:other.invalid "$now" "$later"
sign expired ca $here 20200101000000Z 20200201000000Z
sign stranger stranger-ca $here "$now" "$later"
rm -rf db
