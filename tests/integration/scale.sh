#!/bin/bash
# Many files on one machine, all held by the kernel: memory stays bounded, the last are made as fast as the first, a mount takes
# no longer for them, after an unmount and after kill -9, and a small directory is listed as if there were nothing else. Then
# large files in both directions. usage: scale.sh COFFER FILES MEBIBYTES     (1000000 10240 is what is promised)
. "$(dirname "$0")/common.sh"
files=$1 mebibytes=$2
"$coffer" init "$work/store" --no-recovery-key >/dev/null
mount_on "$work/store" "$work/m"
memory() { awk '$1 == "RssAnon:" || $1 == "VmLck:" { sum += $2 } END { print sum }' "/proc/$(daemon_of "$work/m")/status"; }
now() { date +%s%N; }
milliseconds() { echo $((($(now) - $1) / 1000000)); }

# Makes them in directories of a thousand, and says how the rate went: by the daemon's processor time, and by the clock.
python3 - "$work/m/many" "$files" "$(daemon_of "$work/m")" <<'P'
import os, sys, time
top, files, pid = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def cpu():
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

os.mkdir(top)
marks = [(time.monotonic(), cpu())]
parts = 10
for part in range(parts):
    for i in range(part * files // parts, (part + 1) * files // parts):
        if i % 1000 == 0:
            os.mkdir(f"{top}/{i // 1000}")
        os.close(os.open(f"{top}/{i // 1000}/{i}", os.O_CREAT | os.O_WRONLY | os.O_EXCL))
    marks.append((time.monotonic(), cpu()))
rates = [files / parts / (b[0] - a[0]) for a, b in zip(marks, marks[1:])]
costs = [1e6 * (b[1] - a[1]) / (files / parts) for a, b in zip(marks, marks[1:])]
print("files made a second, by tenths:", " ".join(f"{r:.0f}" for r in rates))
print("processor time for one, us:    ", " ".join(f"{c:.0f}" for c in costs))
P
held=$(memory)
echo "$files files, all held by the kernel: RssAnon and locked $held KiB"
[ "$held" -le $((200 << 10)) ] || fail "more than 200 MiB in memory"

mkdir "$work/m/few"
touch "$work/m/few/"{0..9}
start=$(now)
"$coffer" unmount --now --quiet "$work/m" || [ $? = 10 ]
echo "unmounted in $(milliseconds "$start") ms"
start=$(now)
mount_on "$work/store" "$work/m"
echo "mounted after an unmount in $(milliseconds "$start") ms"
start=$(now)
[ "$(ls "$work/m/few" | wc -l)" = 10 ] || fail "ls shows something else"
echo "ls of ten files, cold: $(milliseconds "$start") ms"
mkdir "$work/m/other"
echo last >"$work/m/other/last"
sync "$work/m/other/last"
pid=$(daemon_of "$work/m")
kill -9 "$pid"
wait_for_end "$pid"
umount -l "$work/m" 2>/dev/null || true
start=$(now)
mount_on "$work/store" "$work/m"
echo "mounted after kill -9 in $(milliseconds "$start") ms"
[ "$(cat "$work/m/other/last")" = last ] || fail "what was synced is gone"
[ "$(find "$work/m/many" -type f | wc -l)" = "$files" ] || fail "files are missing"
held=$(memory)
echo "after find: RssAnon and locked $held KiB"
[ "$held" -le $((200 << 10)) ] || fail "more than 200 MiB in memory"

peak=0
head -c $((64 << 20)) /dev/urandom >"$work/piece"
for i in $(seq $((mebibytes / 64))); do
  cat "$work/piece" >"$work/m/large-$((i % 8))"
  cat "$work/m/large-$((i * 5 % 8))" >/dev/null 2>&1 || true  # not all of them are there from the start
  held=$(memory)
  [ "$held" -le "$peak" ] || peak=$held
done
echo "$mebibytes MiB in both directions: RssAnon and locked at most $peak KiB"
[ "$peak" -le $((300 << 10)) ] || fail "more than 300 MiB in memory"
expect 0 "$coffer" unmount --now "$work/m"
