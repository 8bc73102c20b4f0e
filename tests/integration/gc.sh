#!/bin/bash
# A drive on which much was written and removed shrinks; who joins then reads everything, and who was away through it comes
# back and keeps what he wrote.
. "$(dirname "$0")/common.sh"
store=$work/store
stored() { du -s --block-size=1 --apparent-size "$store/obj" | cut -f 1; }
digest() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

"$coffer" init "$store" --no-recovery-key
mount_on "$store" "$work/a"
for i in 0 1 2; do head -c 5000000 /dev/urandom >"$work/a/kept$i"; done
"$coffer" sync --quiet "$work/a"  # a pack with something that lives stays whole
for i in $(seq 10); do head -c 10000000 /dev/urandom >"$work/a/removed$i"; done
"$coffer" sync --quiet "$work/a"

# Another one has a look, works, and goes offline with what he did.
mount_on "$store" "$work/b" --state-dir "$work/state-b"
cp "$work/b/kept0" "$work/kept0"
head -c 3000000 /dev/urandom | tee "$work/of-b" >"$work/b/of-b"
"$coffer" unmount --quiet "$work/b"
mount_on "$store" "$work/b" --state-dir "$work/state-b"
daemon=$(daemon_of "$work/b")
mv "$store" "$store.away"
head -c 3000000 /dev/urandom | tee "$work/offline" >"$work/b/written offline"
head -c 4096 /dev/urandom >"$work/block"
dd if="$work/block" of="$work/b/removed2" bs=4096 seek=100 conv=notrunc status=none
"$coffer" unmount --quiet --now "$work/b" >/dev/null
wait_for_end "$daemon"
mv "$store.away" "$store"

rm "$work"/a/removed*
"$coffer" sync --quiet "$work/a"
before=$(stored)
[ "$before" -gt 110000000 ] || fail "the store has only $before bytes"
"$coffer" gc "$work/a" | grep -q '^waiting' || fail "gc does not tell what waits"
[ "$(stored)" = "$before" ] || fail "gc deleted before the grace was over"
"$coffer" gc --grace 0 --dry-run "$work/a" | grep -q '^would free' || fail "gc does not tell what it would free"
[ "$(stored)" = "$before" ] || fail "a dry run deleted something"
"$coffer" gc --grace 0 --json "$work/a" >"$work/freed.json"
python3 - "$work/freed.json" <<'END' || fail "gc freed less than was removed: $(cat "$work/freed.json")"
import json, sys
said = json.load(open(sys.argv[1]))
sys.exit(not (said["freed"]["bytes"] >= 100_000_000 and said["live"]["bytes"] >= 15_000_000))
END
after=$(stored)
[ "$after" -lt $((before - 100000000)) ] || fail "the store has $after bytes after $before"
"$coffer" status "$work/a" | grep -q '^gc  .*freed' || fail "status does not tell what gc did"
"$coffer" check "$store" | grep -q 'no fault found' || fail "check finds a fault"

# Who joins now gets everything.
mount_on "$store" "$work/c" --state-dir "$work/state-c"
[ "$(digest "$work/a")" = "$(digest "$work/c")" ] || fail "who joins reads something else"

# Who was away comes back: what he wrote is there, and all are the same.
mount_on "$store" "$work/b" --state-dir "$work/state-b"
for m in b a c b a c; do "$coffer" sync --quiet "$work/$m"; done
cmp "$work/b/written offline" "$work/offline"
cmp "$work/c/written offline" "$work/offline"
cmp "$work/c/of-b" "$work/of-b"
dd if="$work/c/removed2" bs=4096 skip=100 count=1 iflag=direct status=none | cmp - "$work/block"
cmp "$work/b/kept0" "$work/kept0"
(cd "$work/a" && find . | sort) >"$work/names"
for m in b c; do (cd "$work/$m" && find . | sort) | cmp - "$work/names" || fail "$m has other names"; done
for m in a b c; do "$coffer" unmount --quiet "$work/$m"; done

# Without a mount, as the device that this machine is.
mount_on "$store" "$work/a"
head -c 5000000 /dev/urandom >"$work/a/alone"
"$coffer" sync --quiet "$work/a"
rm "$work/a/alone"
"$coffer" unmount --quiet "$work/a"
"$coffer" gc --quiet --grace 0 "$store" >"$work/said"
grep -Eq '^freed +[1-9][0-9]* objects?, [4-9]\.' "$work/said" || fail "gc without a mount: $(cat "$work/said")"
expect 2 "$coffer" gc --grace soon "$store"
