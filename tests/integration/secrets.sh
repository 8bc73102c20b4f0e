#!/bin/bash
# Planted secrets (passphrases, a recovery key, the store's credentials, the volume's keys) are looked for in everything that
# others can see of coffer: arguments, environments of children, output, error messages, logs, status, files.
. "$(dirname "$0")/common.sh"
start_server lighttpd-dav
export PATH=$work/bin:$PATH
passphrase='Kw7 planted passphrase, with plenty of words' other='Zm4 another planted passphrase, as long as it'
mkdir "$work/bin" "$work/m"
(umask 077 && echo "$passphrase" >"$work/secret1" && echo "$other" >"$work/secret2" && echo "wrong $other" >"$work/secret3")
unset COFFER_PASSPHRASE_FILE

# What children see: a passphrase command, and the program that keeps keys.
cat >"$work/bin/give" <<S
#!/bin/sh
tr '\\\\0' '\\\\n' </proc/\$\$/environ >>$work/children
tr '\\\\0' ' ' </proc/\$\$/cmdline >>$work/children
cat "$work/\$1"
S
cat >"$work/bin/secret-tool" <<S
#!/bin/sh
tr '\\\\0' '\\\\n' </proc/\$\$/environ >>$work/children
tr '\\\\0' ' ' </proc/\$\$/cmdline >>$work/children
case \$1 in store) cat >$work/secret-kept ;; lookup) cat $work/secret-kept 2>/dev/null ;; clear) rm -f $work/secret-kept ;; esac
S
chmod +x "$work/bin/give" "$work/bin/secret-tool"

# What everybody sees of processes, all the time.
cat >"$work/watch.py" <<'P'
import glob, sys, time
needles = [line.encode() for line in open(sys.argv[1]).read().splitlines()]
while True:
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            seen = open(path, "rb").read()
        except OSError:
            continue
        for n in needles:
            if n in seen:
                print("seen in", path, seen, flush=True)
    time.sleep(0.02)
P
run() { # COMMAND...: whatever it ends with, what it says is kept
  echo "--- $*" >>"$work/output"
  "$coffer" "$@" "${store_options[@]}" >>"$work/output" 2>&1 || echo "--- ended with $?" >>"$work/output"
}
password=$(awk '{ print $6 }' "$HOME/.netrc")
[ "${#password}" -ge 6 ] || fail "the server's password is too short to be looked for"
run init "$store" --recovery-key-file "$work/secret-recovery" --passphrase-command 'give secret1'
recovery=$(cat "$work/secret-recovery")
printf '%s\n' "Kw7 planted" "Zm4 another" "$password" "${recovery:0:17}" "${recovery:42:17}" >"$work/secret-needles"
chmod 600 "$work/secret-needles"
python3 "$work/watch.py" "$work/secret-needles" >"$work/seen" &
started+=($!)

run mount "$store" "$work/m" --passphrase-command 'give secret1' --keep-key=secret-service
pid=$(daemon_of "$work/m")
echo hello >"$work/m/file"
run status --json "$work/m"
run status "$work/m"
run sync "$work/m"
run key list "$store" --passphrase-command 'give secret1'
run key list --json "$store" --recovery-key-file "$work/secret-recovery"
run key add "$store" --passphrase-command 'give secret1' --new-passphrase-command 'give secret2' --label other
run key change "$store" --passphrase-command 'give secret2' --new-passphrase-command 'give secret3'
run ls "$store" / --recovery-key-file "$work/secret-recovery"
# Errors.
run ls "$store" / --passphrase-command 'give secret2'
run mount "$store" "$work/m" --passphrase-command 'give secret1' # mounted already
sed 's/^\(...\)./\1!/' "$work/secret-recovery" >"$work/secret-typo"
run ls "$store" / --recovery-key-file "$work/secret-typo"
run ls "$store" / --recovery-key-file "$work/secret1"
run init "$work/weak" --no-recovery-key --passphrase-command 'echo Passw0rd!'
run ls "$store" / --passphrase-command 'give secret1; exit 1'
sed -i 's/password .*/&wrong/' "$HOME/.netrc"
run ls "$store" / --passphrase-command 'give secret1'
sed -i 's/wrong$//' "$HOME/.netrc"
run ls "${store/127.0.0.1:/127.0.0.1:1}" / --passphrase-command 'give secret1'

grep -q 'Max core file size *0 *0' "/proc/$pid/limits" || fail "the daemon may leave a core dump"
[ "$(awk '/VmLck/ { print $2 }' "/proc/$pid/status")" -gt 0 ] || fail "the daemon has no locked memory"
if grep -qaFf "$work/secret-needles" "/proc/$pid/cmdline" "/proc/$pid/environ"; then fail "a secret stands in /proc/$pid"; fi
run unmount "$work/m"
run mount "$store" "$work/m" --passphrase-command 'give secret3' --keep-key=secret-service
grep -q '^ *--- ended' <(tail -n 1 "$work/output") && fail "the mount with a kept key failed"
echo more >"$work/m/file"
run unmount "$work/m"
run key forget "$store"
grep -q 'Removed the key from' "$work/output" || fail "the key was not kept"

# The keys that were kept: of the volume; they went through a pipe and nowhere else.
[ -s "$work/children" ] || fail "no child was seen"
cp "$work/secret-needles" "$work/secret-all"
for sought in "$work/output" "$work/children" "$work/seen" "$work/state" "$work/run"; do
  if grep -raFf "$work/secret-all" "$sought"; then fail "a secret is in $sought"; fi
done
if grep -raqE 'coffer-key-1:' "$work/output" "$work/children" "$work/seen" "$work/state" "$work/run"; then
  fail "the volume's keys were shown"
fi
for expected in 'wrong passphrase' 'mistyped' 'Replaced the passphrase' 'too easy to guess'; do
  grep -q "$expected" "$work/output" || fail "the test has not come to '$expected'"
done
