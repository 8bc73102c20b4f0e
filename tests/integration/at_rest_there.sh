#!/bin/bash
# What the list of a store's objects tells. Of trees that take the same room and differ in names, contents, depth, or in how
# the bytes are spread over files, each is put into new volumes, and the lists of (kind, size) are compared: they must not
# tell the trees apart. Where they do, coffer-security(7) says so, and this measures how much. And padding costs less than 12 %.
. "$(dirname "$0")/common.sh"
lists=$work/lists
mkdir "$lists"

# list_of VARIANT SEED: makes a volume with that tree; prints the kind (what is before the first slash) and size of each object.
list_of() {
  rm -rf "$work/state" "$work/store"
  "$coffer" init "$work/store" --no-recovery-key >/dev/null 2>&1
  mount_on "$work/store" "$work/m"
  "$here/make_variant.py" "$1" "$2" "$work/m"
  "$coffer" sync --quiet "$work/m"
  "$coffer" unmount --quiet "$work/m"
  find "$work/store" -type f -printf '%P %s\n' | sed 's|/[^ ]*||' | sort
}

# indistinguishable A B [FILTER]: some list of A's is one of B's. When a list was cut otherwise (a busy machine publishes at
# other moments), there are more tries; what tells them apart always does so in every one of them.
indistinguishable() {
  local a=$1 b=$2 filter=${3:-cat} try
  for try in 1 2 3 4 5; do
    list_of "$a" "$try" | $filter >"$lists/$a.a.$try"
    list_of "$b" "1$try" | $filter >"$lists/$b.b.$try"
    for first in "$lists/$a".a.*; do
      for second in "$lists/$b".b.*; do
        if cmp -s "$first" "$second"; then
          rm "$lists"/*
          return 0
        fi
      done
    done
  done
  fail "$a and $b are told apart: $(diff "$lists/$a.a.1" "$lists/$b.b.1")"
}

indistinguishable files-12-512 files-12-512  # names and contents
indistinguishable flat deep                  # directories beside each other, or in each other
indistinguishable noted-1-6144 files-6-1024  # one large file, or several small ones, with as much beside contents
# Without that, packs tell nothing of how the bytes are spread, but the record that lists the files is longer for more files.
without_records() { grep -v '^log '; }
indistinguishable files-1-6144 files-96-64 without_records
one=$(list_of files-1-6144 1 | awk '$1 == "log" { sum += $2 } END { print sum }')
many=$(list_of files-96-64 1 | awk '$1 == "log" { sum += $2 } END { print sum }')
echo "6 MiB as one file: $one bytes of records; as 96 files: $many"

# Padding, over a tree of a programmer's.
/usr/bin/python3 -c 'import nacl, zstandard' 2>/dev/null || skip "no python3-nacl or no python3-zstandard: padding not measured"
rm -rf "$work/state" "$work/store"
"$coffer" init "$work/store" --no-recovery-key >/dev/null 2>&1
mount_on "$work/store" "$work/m"
cp -r "$here/../../"{base,cache,crypto,fs,man,remote,tests} "$work/m"
cp -r /usr/include/c++ "$work/m" 2>/dev/null || true
"$here/make_tree.py" "$work/m"
for note in $(seq 5); do  # and a few small files, saved now and then
  echo "$note" >"$work/m/note"
  "$coffer" sync --quiet "$work/m"
done
"$coffer" unmount --quiet "$work/m"
"$here/../decoder/decode.py" --passphrase-file "$COFFER_PASSPHRASE_FILE" "$work/store" objects >"$work/objects"
awk '{ n[$1]++; size[$1] += $2; used[$1] += $3; all += $2; all_used += $3 }
  END { for (k in n) printf "%s: %d, %d bytes, of which %d are padding\n", k, n[k], size[k], size[k] - used[k]
        printf "padding: %.2f %%\n", 100 * (all - all_used) / all_used
        exit !(all_used > 5000000 && all - all_used < 0.12 * all_used) }' "$work/objects" ||
  fail "padding costs too much, or there was little to pad"
