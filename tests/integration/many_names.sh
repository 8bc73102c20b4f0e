#!/bin/bash
# Many names in one directory: ls and rm while others are made; mv of the directory; rm -r of it while others are made,
# elsewhere and in it.
# usage: many_names.sh COFFER COUNT
. "$(dirname "$0")/applications.sh"
count=$1
"$here/many_names.py" make "$mnt/big" "$count"
remount
[ "$(ls -U "$mnt/big" | wc -l)" = "$count" ] || fail "ls shows $(ls -U "$mnt/big" | wc -l) names of $count"
"$here/many_names.py" change "$mnt/big" "$count"
same_elsewhere "many names"

mkdir "$mnt/elsewhere"
mv "$mnt/big" "$mnt/elsewhere/moved"
[ "$(ls -U "$mnt/elsewhere/moved" | wc -l)" = "$count" ] || fail "names are missing after mv"
same_elsewhere "mv of a directory"

"$here/many_names.py" make "$mnt/others" "$((count / 10))" &
others=$!
rm -r "$mnt/elsewhere"
wait "$others" || fail "no names could be made beside rm -r"
[ ! -e "$mnt/elsewhere" ] || fail "rm -r left something"
[ "$(find "$mnt/others" -type f | wc -l)" = "$((count / 10))" ] || fail "names made beside rm -r are missing"
same_elsewhere "rm -r"

# What somebody adds to a directory while it is being removed keeps it, and rm says so: nothing else goes wrong.
mkdir "$mnt/busy"
for i in 0 1 2 3 4 5 6 7 8 9; do "$here/many_names.py" make "$mnt/busy/$i" "$((count / 50))"; done
"$here/many_names.py" feed "$mnt/busy" "$((count / 5))" &
feeder=$!
until [ -e "$mnt/busy/0/fed-000000" ] || ! kill -0 "$feeder"; do :; done
tries=0
until rm -r "$mnt/busy" 2>>"$work/rm-said"; do tries=$((tries + 1)); done
wait "$feeder" || fail "names could not be made in a tree that is being removed"
if grep -v 'Directory not empty' "$work/rm-said"; then fail "rm -r meets something else than new names"; fi
[ ! -e "$mnt/busy" ] || fail "the tree is still there"
echo "rm -r met new names $tries times"
same_elsewhere "rm -r of a tree that somebody adds to"
"$coffer" unmount "$mnt"
