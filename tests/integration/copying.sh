#!/bin/bash
# rsync -aHAX and tar take a tree with every file type, hard links, holes, extended attributes, ACLs and odd times into
# the mount and out of it again, and no difference is found.
# usage: copying.sh COFFER
. "$(dirname "$0")/applications.sh"
unset RSYNC_RSH TAR_OPTIONS
"$here/make_tree.py" "$work/source"
sleep 1  # rsync compares whole seconds: what is made and copied within one, it takes for equal, and leaves its fraction alone
"$here/tree_digest.py" "$work/source" >"$work/source.digest"
same_as_source() {
  "$here/tree_digest.py" "$1" | diff "$work/source.digest" - >"$work/differs" || fail "$2: $(head -n 20 "$work/differs")"
}

copy=(rsync -aHAXS --numeric-ids)
"${copy[@]}" "$work/source/" "$mnt/rsync/"
same_as_source "$mnt/rsync" "rsync into the mount"
remount
same_as_source "$mnt/rsync" "rsync into the mount, after a remount"
"${copy[@]}" "$mnt/rsync/" "$work/back/"
same_as_source "$work/back" "rsync out of the mount"
for pair in "source m/rsync" "m/rsync back"; do
  found=$("${copy[@]}" --checksum --delete --dry-run --itemize-changes "$work/${pair% *}/" "$work/${pair#* }/")
  [ -z "$found" ] || fail "rsync finds differences from ${pair% *} to ${pair#* }: $found"
done
same_elsewhere "rsync"

# Sockets are no matter of tar's.
find "$work/source" -type s -delete
touch -d '1999-12-31 23:59:59.999999999' "$work/source/special"
"$here/tree_digest.py" "$work/source" >"$work/source.digest"
pack=(tar --format=posix --numeric-owner --xattrs '--xattrs-include=*' --acls --sparse)
"${pack[@]}" -cf "$mnt/source.tar" -C "$work/source" .
mkdir "$mnt/untarred" "$work/untarred"
"${pack[@]}" -xpf "$mnt/source.tar" -C "$mnt/untarred"
same_as_source "$mnt/untarred" "tar into the mount"
"${pack[@]}" -cf "$work/mount.tar" -C "$mnt/untarred" .
"${pack[@]}" -xpf "$work/mount.tar" -C "$work/untarred"
same_as_source "$work/untarred" "tar out of the mount"
"${pack[@]}" --compare -f "$mnt/source.tar" -C "$mnt/untarred" || fail "tar finds differences"
same_elsewhere "tar"
"$coffer" unmount "$mnt"
