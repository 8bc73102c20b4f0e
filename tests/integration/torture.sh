#!/bin/bash
# Three machines on one volume, each behind a proxy of its own that makes trouble: random work, kill -9, partitions. At the end
# the trees are equal, check finds nothing, and every version that an fsync acknowledged is accounted for.
# usage: torture.sh COFFER SERVER SECONDS [SEED]
# SERVER `carried`: each machine has a directory of its own as the store, and another program carries files between them.
. "$(dirname "$0")/common.sh"
kind=$1 seconds=$2 seed=${3:-$RANDOM}
echo "seed $seed"
machines=()
if [ "$kind" = carried ]; then
  direct_store=$work/store-a direct_options=()
  "$coffer" init "$direct_store" --no-recovery-key
  places=()
  for name in a b c; do
    [ "$name" = a ] || cp -a "$direct_store" "$work/store-$name"
    echo ok >"$work/$name.mode"
    places+=("$name=$work/store-$name=$work/$name.mode")
    machines+=("$name=$work/store-$name ")
  done
  python3 "$here/../servers/carrier.py" "$seed" "${places[@]}" &
  started+=($!)
else
  start_server "$kind"
  for name in a b c; do
    start_proxy "$work/$name.mode"
    machines+=("$name=$store $(printf '%s\x1f' "${store_options[@]}")")
  done
  "$coffer" init "$direct_store" --no-recovery-key "${direct_options[@]}"
fi
"$here/torture.py" "$coffer" "$work" "$seconds" "$seed" "${machines[@]}"
expect 0 "$coffer" check "$direct_store" --state-dir "$work/state-a" "${direct_options[@]}"
echo "records that sorted below what was settled: $(cat "$work"/state-*/*/log | grep -c 'arrived late' || true)"
