// The keys of the rows. One letter says the kind; numbers are big-endian, so that rows sort by them.
//
//   I ino                 Inode
//   E dir cookie          Entry, in the order of creation: what readdir walks
//   N dir (name)          cookie u64: finds an entry by name
//   L ino dir cookie      empty: one for each link of an inode beyond its home entry
//   C (ino chunk)         the extents of one chunk of a file, unless Inode::only holds them all
//   X (ino)               extended attributes
//   T ino                 Tombstone: what a removed inode was, until nobody can refer to it any more
//   H generation index    HistoryEntry: a row as it was before the generation changed it
// Parts in brackets are hidden on disk (RowKey). I, E, C, X and T rows are tracked: history keeps what they were. N and L
// rows follow from E and are put right whenever an E row is put, erased or undone.
#pragma once

#include "base/rows.h"
#include "fs/model/types.h"

namespace coffer::model {

using Generation = uint64_t;

RowKey inode_key(Ino ino);
RowKey entry_key(Ino dir, uint64_t cookie);
std::string entry_prefix(Ino dir);
RowKey name_key(Ino dir, std::string_view name);
RowKey link_key(Ino ino, Ino dir, uint64_t cookie);
std::string link_prefix(Ino ino);
RowKey chunk_key(Ino ino, uint64_t chunk);
RowKey xattr_key(Ino ino);
RowKey tombstone_key(Ino ino);
RowKey history_key(Generation generation, uint64_t index);
std::string history_prefix(Generation generation);

bool is_tracked(const RowKey& key);

// Takes a key apart again; kCorrupt when it is not of that kind.
struct EntryPlace {
  Ino dir;
  uint64_t cookie;
};
Result<EntryPlace> parse_entry_key(std::string_view key);
Result<EntryPlace> parse_link_key(std::string_view key);  // the directory and cookie of the link

}  // namespace coffer::model
