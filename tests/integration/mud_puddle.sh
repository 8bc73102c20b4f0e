#!/bin/bash
# Every machine is gone and the passphrase forgotten. Whoever runs the store has all objects, the server's logs, the
# credentials, and this program's source: he gets nothing (store_operator.py says what he tries). Who kept the recovery key gets
# everything back on a new machine, with coffer and with the decoder, bytes, attributes, links and times.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 -c 'import nacl, zstandard' 2>/dev/null || skip "no python3-nacl or no python3-zstandard"
start_server lighttpd-dav
objects=$work/lighttpd-dav/root/basic/volume
key=$work/kept/key
mkdir "$work/kept"
"$coffer" init "$store" "${store_options[@]}" --recovery-key-file "$key" --device-name Hx4verysecrethost
mount_on "$store" "$work/m" "${store_options[@]}"
"$here/make_tree.py" "$work/m"
mkdir "$work/m/Xq7verysecretname"
yes 'Zw9verysecretcontent' 2>/dev/null | head -c 300000 >"$work/m/Xq7verysecretname/Yk2verysecretfile" || true
head -c 1234567 /dev/urandom >"$work/m/Xq7verysecretname/odd"
truncate -s 5217293417 "$work/m/Xq7verysecretname/huge"
ln -s Lp5verysecrettarget "$work/m/Xq7verysecretname/link"
python3 -c "import os, sys; os.setxattr(sys.argv[1], 'user.Wm8verysecretattribute', b'Kj3verysecretvalue')" \
  "$work/m/Xq7verysecretname/odd"
"$coffer" sync "$work/m"
rm "$work/m/sizes/1048576"
dd if=/dev/urandom of="$work/m/sizes/5000001" bs=4096 count=3 seek=70 conv=notrunc status=none
(cd "$work/m" && find . ! -type d -printf '%A@ %p\n' | sort -k 2) >"$work/kept/times"
"$here/tree_digest.py" "$work/m" >"$work/kept/digest"
"$coffer" unmount "$work/m"

# The words that nobody may find. The passphrase and the key are among them.
cat "$COFFER_PASSPHRASE_FILE" "$key" - >"$work/words" <<W
Hx4verysecrethost
Xq7verysecretname
Yk2verysecretfile
Zw9verysecretcontent
Lp5verysecrettarget
Wm8verysecretattribute
Kj3verysecretvalue
1234567
5217293417
a file of several names
one file of many names
W

# Gone: the state directory, the configuration, the passphrase.
rm -rf "$XDG_STATE_HOME" "$XDG_CONFIG_HOME" "$COFFER_RUNTIME_DIR" "$COFFER_PASSPHRASE_FILE"
unset COFFER_PASSPHRASE_FILE
logs=("$work/lighttpd-dav/access.log" "$work/lighttpd-dav/error.log")
[ -s "${logs[0]}" ] || fail "the server has no log"
"$here/store_operator.py" "$objects" "$work/words" "${logs[@]}" "$HOME/.netrc" "$work/lighttpd-dav/plain"
echo 'not the passphrase' >"$work/guess"
expect 3 "$coffer" export "$store" "${store_options[@]}" / "$work/none" --passphrase-file "$work/guess"
[ ! -e "$work/none" ] || fail "something was exported without a key"

# A new machine.
back() {  # WHAT DIR
  (cd "$2" && find . ! -type d -printf '%A@ %p\n' | sort -k 2) | diff - "$work/kept/times" >/dev/null ||
    fail "$1: access times differ"
  "$here/tree_digest.py" "$2" | diff - "$work/kept/digest" >"$work/difference" || fail "$1: $(head "$work/difference")"
}
export HOME=$work/new XDG_STATE_HOME=$work/new/state XDG_CONFIG_HOME=$work/new/config
mkdir "$HOME"
cp "$work/home/.netrc" "$HOME"
mount_on "$store" "$work/m" "${store_options[@]}" --recovery-key-file "$key"
back "mounted with the recovery key" "$work/m"
"$coffer" unmount "$work/m"
"$coffer" export "$store" "${store_options[@]}" / "$work/exported" --recovery-key-file "$key"
"$here/tree_digest.py" "$work/exported" | diff - "$work/kept/digest" >"$work/difference" ||
  fail "exported with the recovery key: $(head "$work/difference")"
"$here/../decoder/decode.py" --recovery-key-file "$key" "$objects" restore "$work/decoded"
back "restored by the decoder" "$work/decoded"
