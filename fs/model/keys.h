// The keys of the rows. One letter says the kind; numbers are big-endian, so that rows sort by them.
//
//   I ino                  Inode
//   E dir cookie           Entry, in the order of creation: what readdir walks
//   N dir (name)           number, the cookie: finds an entry by name
//   L ino dir cookie       empty: one for each link of an inode beyond its home entry
//   C (ino chunk)          the extents of one chunk of a file, unless Inode::only holds them all
//   B (ino block)          Bitmap: which chunks of a block have rows (only with Inode::blocks)
//   X (ino)                extended attributes
//   T ino                  Tombstone
//   V ino version          Displaced: a version of a file's contents that is current no more
//   W (ino version chunk)  the extents of one chunk of a displaced version
//   A ino                  number, the inode that took this one's place: two directories of one name became one
//   D dir (ino name)       the name under which an entry really is that was meant to be `name`: a conflict
//   H generation index     HistoryEntry: a row as it was before the generation changed it
// Parts in brackets are hidden on disk (RowKey). All but N, L and H rows are tracked: history keeps what they were. N
// and L rows follow from E and I rows, and are put right whenever those are put, erased or undone.
//
// T, V, W, A and D rows are what changes leave behind for others who have not seen them yet (remains.h).
#pragma once

#include <functional>
#include <optional>

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
RowKey block_key(Ino ino, uint64_t block);
RowKey xattr_key(Ino ino);
RowKey tombstone_key(Ino ino);
RowKey displaced_key(Ino ino, Version version);
std::string displaced_prefix(Ino ino);
RowKey displaced_chunk_key(Ino ino, Version version, uint64_t chunk);
RowKey alias_key(Ino ino);
RowKey diverted_key(Ino dir, Ino ino, std::string_view name);
RowKey history_key(Generation generation, uint64_t index);
std::string history_prefix(Generation generation);

// The kinds, for telling keys apart and walking all of one kind.
enum class RowKind : char {
  kInode = 'I',
  kEntry = 'E',
  kName = 'N',
  kLink = 'L',
  kExtents = 'C',
  kBitmap = 'B',
  kXattrs = 'X',
  kTombstone = 'T',
  kDisplaced = 'V',
  kDisplacedExtents = 'W',
  kAlias = 'A',
  kDiverted = 'D',
  kHistory = 'H',
};
std::string kind_prefix(RowKind kind);
// Calls `visit` with every row of a kind whose keys are clear; it stops at the first error. `visit` may erase the row.
Result<void> walk_rows(const ReadRows& rows, RowKind kind, const std::function<Result<void>(const Row&)>& visit);
std::optional<RowKind> kind_of(std::string_view key);
bool is_tracked(const RowKey& key);

// Takes a key apart again; kCorrupt when it is not of that kind.
struct EntryPlace {
  Ino dir;
  uint64_t cookie;
};
Result<EntryPlace> parse_entry_key(std::string_view key);
Result<EntryPlace> parse_link_key(std::string_view key);  // the directory and cookie of the link
// The first number of any key of `kind`: the inode that it is about (of E and D, the directory; of H, the generation).
Result<uint64_t> parse_first(RowKind kind, std::string_view key);
struct FileChunk {
  Ino ino;
  uint64_t chunk;
};
Result<FileChunk> parse_chunk_key(std::string_view key);
struct FileVersion {
  Ino ino;
  Version version;
};
Result<FileVersion> parse_displaced_key(std::string_view key);

}  // namespace coffer::model
