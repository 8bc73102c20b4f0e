#!/bin/bash
# Many names in one directory: ls and rm while others are made; mv of the directory; rm -r of it while others are made.
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
"$coffer" unmount "$mnt"
