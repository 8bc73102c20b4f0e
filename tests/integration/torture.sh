#!/bin/bash
# Three machines on one volume, each behind a proxy of its own that makes trouble: random work, kill -9, partitions. At the end
# the trees are equal, check finds nothing, and every version that an fsync acknowledged is accounted for.
# usage: torture.sh COFFER SERVER SECONDS [SEED]
. "$(dirname "$0")/common.sh"
kind=$1 seconds=$2 seed=${3:-$RANDOM}
echo "seed $seed"
start_server "$kind"
machines=()
for name in a b c; do
  start_proxy "$work/$name.mode"
  machines+=("$name=$store $(printf '%s\x1f' "${store_options[@]}")")
done
"$coffer" init "$direct_store" --no-recovery-key "${direct_options[@]}"
"$here/torture.py" "$coffer" "$work" "$seconds" "$seed" "${machines[@]}"
expect 0 "$coffer" check "$direct_store" --state-dir "$work/state-a" "${direct_options[@]}"
