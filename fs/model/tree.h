// The local operations of the file system on rows: what a system call does to names, attributes and extents. Pure:
// state in, state out; time, fresh numbers and who calls are arguments. Permission checks are the kernel's
// (default_permissions).
//
// Invariants that every function keeps, and fs/model/invariants.h checks: every E row has its N row and the other way
// round; nlink counts the entries of a file (a directory: 2 + its subdirectories); a directory has one entry; there are
// no cycles, no dangling entries, no inode without an entry except unlinked ones with nlink 0.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/rows.h"
#include "fs/model/keys.h"
#include "fs/model/types.h"

namespace coffer::model {

struct Node {
  Ino ino = 0;
  Inode inode;
};

// Makes the root directory of an empty volume.
void make_root(Rows& rows, uint32_t mode, uint32_t uid, uint32_t gid, WallTime now);

// kStale: no such inode.
Result<Inode> get_inode(const ReadRows& rows, Ino ino);
void put_inode(Rows& rows, Ino ino, const Inode& inode);
// kNotFound; kNotDirectory; kNameTooLong: no such name can be.
Result<Node> lookup(const ReadRows& rows, Ino dir, std::string_view name);

struct NewInode {
  FileType type = FileType::kRegular;
  uint32_t mode = 0;
  uint32_t uid = 0, gid = 0;  // a set-group-id directory overrides gid, and is inherited by directories
  uint64_t rdev = 0;
  std::string target;
};
// Errors: kExists, kNotDirectory, kNameTooLong, kInvalid, kStale (the directory was removed).
Result<Node> make(Rows& rows, Ino dir, std::string_view name, const NewInode& what, Ino fresh_ino, Version fresh,
                  WallTime now);
Result<Node> link(Rows& rows, Ino ino, Ino dir, std::string_view name, WallTime now);  // kNotPermitted: a directory

// What lost a link. When `last` and nobody has it open, the caller calls erase_inode.
struct Unlinked {
  Ino ino = 0;
  bool last = false;
};
Result<Unlinked> unlink(Rows& rows, Ino dir, std::string_view name, WallTime now);  // kIsDirectory
Result<Unlinked> rmdir(Rows& rows, Ino dir, std::string_view name, WallTime now);   // kNotEmpty, kNotDirectory

enum class RenameMode { kReplace, kNoReplace, kExchange };
// Returns what the new name held before, if that lost a link. Renaming a link onto another link of the same inode does
// nothing. kInvalid: a directory into itself or below.
Result<std::optional<Unlinked>> rename(Rows& rows, Ino dir, std::string_view name, Ino new_dir,
                                       std::string_view new_name, RenameMode mode, WallTime now);
// Removes an inode that has nlink 0: rows, extents, attributes; leaves a tombstone when `keep_tombstone` (the inode was
// known to others) or when there is one, and then its extents and attributes too until drop_tombstone.
Result<void> erase_inode(Rows& rows, Ino ino, bool keep_tombstone);

struct SetAttributes {
  std::optional<uint32_t> mode, uid, gid;
  std::optional<WallTime> atime, mtime, ctime;  // ctime: now when absent
};
Result<Inode> set_attributes(Rows& rows, Ino ino, const SetAttributes& what, WallTime now);

// Directory entries with a cookie greater than `after`, at most `max`.
struct ListedEntry {
  uint64_t cookie = 0;
  Entry entry;
};
Result<std::vector<ListedEntry>> list(const ReadRows& rows, Ino dir, uint64_t after, size_t max);
// Every name of an inode: directory and entry.
struct Name {
  Ino dir = 0;
  std::string name;
};
Result<std::vector<Name>> names_of(const ReadRows& rows, Ino ino);

// --- extended attributes: kNoData when absent; kExists / kNoData by mode; kTooLarge
enum class XattrMode { kAny, kCreate, kReplace };
Result<Bytes> get_xattr(const ReadRows& rows, Ino ino, std::string_view name);
Result<std::vector<Xattr>> list_xattrs(const ReadRows& rows, Ino ino);
Result<void> set_xattr(Rows& rows, Ino ino, std::string_view name, BytesView value, XattrMode mode, WallTime now);
Result<void> remove_xattr(Rows& rows, Ino ino, std::string_view name, WallTime now);

// --- contents of regular files (kInvalid on others)
// The extents that overlap [offset, offset + length), clipped to it, sorted.
Result<std::vector<Extent>> extents(const ReadRows& rows, Ino ino, uint64_t offset, uint64_t length);
// Puts extents (sorted, disjoint) over what was there; grows size to `at_least_size` if smaller; mtime and ctime = now
// unless `keep_times`; version = fresh.
Result<Inode> put_extents(Rows& rows, Ino ino, std::span<const Extent> pieces, uint64_t at_least_size, Version fresh,
                          WallTime now, bool keep_times);
Result<Inode> truncate(Rows& rows, Ino ino, uint64_t size, Version fresh, WallTime now);
// Makes [offset, offset + length) a hole; size stays.
Result<Inode> punch_hole(Rows& rows, Ino ino, uint64_t offset, uint64_t length, Version fresh, WallTime now);
// Makes up to `length` bytes of `to` the same as those of `from` (less at its end), holes too, by sharing its extents; grows
// `to`; how many. kInvalid: ranges of one file that overlap. Times as in put_extents; version = fresh.
Result<uint64_t> copy_range(Rows& rows, Ino from, uint64_t from_offset, Ino to, uint64_t to_offset, uint64_t length,
                            Version fresh, WallTime now, bool keep_times);
// The next offset >= `offset` with data, or that lies in a hole (the end of file counts as one); kNoData.
Result<uint64_t> seek_data(const ReadRows& rows, Ino ino, uint64_t offset);
Result<uint64_t> seek_hole(const ReadRows& rows, Ino ino, uint64_t offset);

}  // namespace coffer::model
