#!/bin/bash
# The kernel is asked little, as the daemon itself counts and `status --json` shows: a second find, ls -lR and git status ask
# for no name and no attribute of what they list, and making a small file costs at most five upcalls that somebody waits for. usage: upcalls.sh COFFER
. "$(dirname "$0")/common.sh"
"$coffer" init "$work/store" --no-recovery-key
mount_on "$work/store" "$work/m"
tree=$work/m/tree
cp -r "$here/../../fs" "$tree"  # some hundred files
git -C "$tree" init -q
git -C "$tree" add -A
git -C "$tree" commit -qm all
"$coffer" unmount --now "$work/m" >/dev/null
mount_on "$work/store" "$work/m"

# What was asked since the last call of this, but for OPERATION,...: "lookup 3, getattr 2", or nothing.
asked() {
  "$coffer" status --json "$work/m" >"$work/status"
  python3 - "$work/status" "$work/before" "$1" <<'P'
import json, os, sys
now = {name: u["calls"] for name, u in json.load(open(sys.argv[1]))["counters"]["upcalls"].items()}
before = json.load(open(sys.argv[2])) if os.path.exists(sys.argv[2]) else {}
json.dump(now, open(sys.argv[2], "w"))
ignored = sys.argv[3].split(",")
print(", ".join(f"{n} {c - before.get(n, 0)}" for n, c in now.items() if c > before.get(n, 0) and n not in ignored))
P
}

# Extended attributes, which ls asks for, and contents, which git reads, are another matter.
apart=forget,getxattr,listxattr,read,statfs
export GIT_OPTIONAL_LOCKS=0  # else git writes down what it has seen
# With the writeback cache, closing a regular file makes the kernel doubt its number of blocks, and the next stat asks for that:
# of what git opens itself, HEAD and config and their like, and never of the files of the tree.
opened_by_git=24
walks=(
  "find $tree -ls"
  "ls -lR $tree"
  "git -C $tree status --porcelain"
)
for walk in "${walks[@]}"; do
  $walk >"$work/first"
  $walk >"$work/again"  # reading a directory makes the kernel ask for its time of access once more
  asked "$apart" >/dev/null
  $walk >"$work/second"
  got=$(asked "$apart")
  if [[ $walk == git* && $got =~ ^getattr\ ([0-9]+)$ && ${BASH_REMATCH[1]} -le $opened_by_git ]]; then got=; fi
  [ -z "$got" ] || fail "'$walk' asked again: $got"
  cmp "$work/first" "$work/second" || fail "'$walk' shows something else"
done

mkdir "$work/m/new"
echo warm >"$work/m/new/warm"
asked "" >/dev/null
files=200
python3 - "$work/m/new" $files <<'P'
import sys
for i in range(int(sys.argv[2])):
    with open(f"{sys.argv[1]}/{i}", "wb") as f:
        f.write(b"x" * 4096)
P
got=$(asked "forget,getxattr")
calls=$(awk -v RS=', ' '{ sum += $2 } END { print sum }' <<<"$got")
[ "$calls" -le $((5 * files)) ] || fail "$files small files cost $calls upcalls: $got"
echo "$files small files: $calls upcalls ($got)"
