#!/bin/bash
# The file system tests of xfstests, on real mounts; CONTRIBUTING.md says how to get and build them. Without arguments, the
# quick ones that are for any file system: of those, only what coffer-semantics(7) explains may fail. With arguments, what
# they say to xfstests' own program `check`.
. "$(dirname "$0")/common.sh"
[ -n "${XFSTESTS_DIR:-}" ] || skip "XFSTESTS_DIR does not say where xfstests is built"
[ "$(id -u)" = 0 ] || skip "xfstests wants root"
suite=$(realpath "$XFSTESTS_DIR")
[ -x "$suite/ltp/fsx" ] || fail "$suite is not xfstests, or it is not built"
# What the tests need of the system is put there for them alone.
if [ -z "${COFFER_TEST_NAMESPACE:-}" ]; then
  rm -rf "$work"
  COFFER_TEST_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$coffer" "$@"
fi
put_over() {  # FILE: what comes on standard input is in its place
  local made
  made=$work/$(basename "$1").made
  cat >"$made"
  chmod --reference="$1" "$made"
  mount --bind "$made" "$1" || skip "no mounts in a namespace of one's own"
}
users=(fsgqa fsgqa2 123456-fsgqa)
{
  cat /etc/passwd
  for i in "${!users[@]}"; do echo "${users[i]}:*:$((61000 + i)):$((61000 + i))::/tmp:/bin/bash"; done
} >"$work/passwd"
{
  cat /etc/group
  for i in "${!users[@]}"; do echo "${users[i]}:x:$((61000 + i)):"; done
} >"$work/group"
put_over /etc/passwd <"$work/passwd"
put_over /etc/group <"$work/group"
mount --bind "$(realpath /bin/bash)" "$(realpath /bin/sh)"  # what some tests take sh for
# For xfstests the type is "fuse". A test that takes too long fails.
sed "s|-e 's/nfs4/nfs/'|& -e 's/fuse.coffer/fuse/'|" "$suite/common/rc" >"$work/rc"
sed "s|exec \./\$seq|exec timeout -k 5 ${XFSTESTS_TIMEOUT:-400} ./\$seq|" "$suite/check" >"$work/check"
put_over "$suite/common/rc" <"$work/rc"
put_over "$suite/check" <"$work/check"
# mount(8) keeps dev and suid to itself, and some tests want them.
sbin=$(realpath /sbin)
cp -a "$sbin" "$work/sbin"
cat >"$work/sbin/mount.fuse.coffer" <<C
#!/bin/bash
exec "$coffer" "\$1" "\$2" -o dev,suid "\${@:3}"
C
chmod +x "$work/sbin/mount.fuse.coffer"
mount --bind "$work/sbin" "$sbin"

results=${XFSTESTS_RESULTS:-$work/results}
options=-oallow_other,passphrase_file=$COFFER_PASSPHRASE_FILE
cat >"$work/config" <<C
export FSTYP=fuse FUSE_SUBTYP=.coffer
export TEST_DEV=file://$work/test TEST_DIR=$work/m SCRATCH_DEV=file://$work/scratch SCRATCH_MNT=$work/m2
export MOUNT_OPTIONS=$options TEST_FS_MOUNT_OPTS=$options
export RESULT_BASE=$results
C
export HOST_OPTIONS=$work/config
mkdir "$work/m" "$work/m2"
for drive in test scratch; do "$coffer" init "$work/$drive" --no-recovery-key; done

cd "$suite"
if [ $# -gt 0 ]; then
  ./check "$@"
  exit
fi
explained="generic/213 generic/732"
# These end with an increase of a limit, for which root of a container may lack the right.
(ulimit -Sf 1 && ulimit -Hf 1 && ulimit -Hf unlimited) 2>/dev/null || explained+=" generic/394 generic/564"
./check -g generic/quick || true
verdict=$(tail -n 1 "$results/check.log")
case $verdict in
  "Passed all 0 "*) fail "xfstests did not begin" ;;
  "Passed all "*) exit ;;
  "Failed "*" of "*) ;;
  *) fail "xfstests did not come to its end: $verdict" ;;
esac
failed=$(sed -n 's/^Failures: //p' "$results/check.log" | tail -n 1 | tr ' ' '\n')
unexplained=$(grep -vxF "${explained// /$'\n'}" <<<"$failed" || true)
[ -z "$unexplained" ] || fail "nothing explains why these fail: ${unexplained//$'\n'/ }"
