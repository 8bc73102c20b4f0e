#!/bin/bash
# What a developer does, in the mount: git clone, a local clone with hard links, gc, fsck; and a C++ build of this very
# program.
# usage: development.sh COFFER TARGET    (coffer_crypto, or coffer for all of it)
. "$(dirname "$0")/applications.sh"
target=$1
checkout=$(realpath "$here/../..")

"$here/make_repository.py" "$work/origin" 400
git clone -q "file://$work/origin" "$mnt/clone"
# A pack of each commit, so that there is something to link and something to collect.
git clone -q --local "$mnt/clone" "$mnt/linked"
for pack in "$mnt"/linked/.git/objects/pack/*.pack; do
  [ "$(stat -c %h "$pack")" = 2 ] || fail "git clone --local has not hard-linked $pack"
done
for round in 1 2 3; do
  echo "$round" >>"$mnt/linked/link/new"
  git -C "$mnt/linked" add -A
  git -C "$mnt/linked" commit -q -m "round $round"
done
git -C "$mnt/linked" gc -q --aggressive --prune=now
git -C "$mnt/linked" push -q origin HEAD:refs/heads/pushed
git -C "$mnt/clone" worktree add -q "$mnt/worktree" pushed
[ "$(cat "$mnt/worktree/link/new")" = "$(printf '1\n2\n3')" ] || fail "the worktree is not what was pushed"
# A real one: this program's own.
repositories=(clone linked worktree)
if git -C "$checkout" rev-parse -q --verify HEAD >/dev/null; then
  git clone -q "file://$checkout" "$mnt/real"
  [ "$(git -C "$mnt/real" ls-tree -r HEAD)" = "$(git -C "$checkout" ls-tree -r HEAD)" ] || fail "the clone is another tree"
  repositories+=(real)
fi
remount
for repository in "${repositories[@]}"; do
  git -C "$mnt/$repository" fsck --full --strict
  [ -z "$(git -C "$mnt/$repository" status --porcelain)" ] || fail "git status is not clean in $repository"
done
same_elsewhere "git"

export CCACHE_DISABLE=1
mkdir "$mnt/source"
git -C "$checkout" ls-files -z | tar -C "$checkout" --null -T - -c | tar -C "$mnt/source" -x
cmake -S "$mnt/source" -B "$mnt/build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DCOFFER_TESTS=OFF \
  >/dev/null
cmake --build "$mnt/build" --target "$target" -j 2 >"$work/build.log" || fail "the build: $(tail -n 30 "$work/build.log")"
if [ "$target" = coffer ]; then
  program=("$mnt/build/fs/cli/coffer" --version)
else
  cat >"$mnt/main.cc" <<'P'
#include <cstdio>
#include "crypto/hash.h"
#include "crypto/random.h"
int main() { std::printf("%d\n", coffer::random_u64() != coffer::random_u64()); }
P
  g++ -std=c++23 -I"$mnt/source" "$mnt/main.cc" -o "$mnt/program" "$mnt/build/crypto/libcoffer_crypto.a" \
    "$mnt/build/base/libcoffer_base.a" -lsodium
  program=("$mnt/program")
fi
"${program[@]}" >/dev/null || fail "what was built does not run"
remount
# Nothing is newer than it was.
cmake --build "$mnt/build" --target "$target" | grep -q 'no work to do' || fail "after a remount, ninja builds again"
"${program[@]}" >/dev/null || fail "after a remount, what was built does not run"
same_elsewhere "a C++ build"
"$coffer" unmount "$mnt"
