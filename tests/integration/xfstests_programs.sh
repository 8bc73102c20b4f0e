#!/bin/bash
# The programs fsx and fsstress of xfstests on a mount, without its framework: OPERATIONS of fsx in each way of reading and
# writing, SECONDS of fsstress; then the store is sound.
. "$(dirname "$0")/common.sh"
[ -n "${XFSTESTS_DIR:-}" ] || skip "XFSTESTS_DIR does not say where xfstests is built"
suite=$(realpath "$XFSTESTS_DIR")
[ -x "$suite/ltp/fsx" ] || fail "$suite is not xfstests, or it is not built"
operations=${1:-1000000}
seconds=${2:-300}

"$coffer" init "$work/store" --no-recovery-key
mount_on "$work/store" "$work/m"
seed=$RANDOM
mkdir "$work/logs"
run_fsx() {  # NAME OPTIONS...: closes and opens the file anew in between
  echo "fsx, seed $seed: $*"
  "$suite/ltp/fsx" -q -S "$seed" -N "$operations" -c 100 -P "$work/logs" "${@:2}" "$work/m/$1" ||
    fail "fsx $* ended with $?: $(tail -n 40 "$work/logs/$1.fsxlog")"
}
run_fsx mapped
run_fsx unmapped -R -W
run_fsx direct -Z -R -W -r 4096 -w 4096 -t 4096
echo "fsstress, seed $seed"
"$suite/ltp/fsstress" -d "$work/m/stress" -p 4 -n 100000000 -s "$seed" --duration="$seconds" >"$work/logs/fsstress" ||
  fail "fsstress ended with $?: $(tail "$work/logs/fsstress")"
find "$work/m/stress" -type f -exec cat {} + >/dev/null
find "$work/m" -ls >"$work/logs/names"
"$coffer" unmount "$work/m"
"$coffer" check "$work/store"
