// The steps of which all changes to names are made: they keep E, N, L and I rows in step. Times are the caller's.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "base/rows.h"
#include "fs/model/keys.h"
#include "fs/model/types.h"

namespace coffer::model {

// The inodes that one operation changes: each is read once and put once, however often it is named. Pointers stay good.
class InodeSet {
 public:
  explicit InodeSet(Rows& rows) : rows_(rows) {}
  Result<Inode*> get(Ino ino);  // kStale: no such inode
  Inode* add(Ino ino, Inode inode);
  void flush();  // puts all of them

 private:
  struct Slot {
    Ino ino = 0;
    Inode inode;
  };
  static constexpr size_t kMax = 6;  // both directories of a rename, what is moved, what is replaced
  Rows& rows_;
  std::array<std::optional<Slot>, kMax> slots_;
};

struct FoundEntry {
  uint64_t cookie = 0;
  Entry entry;
};
Result<std::optional<FoundEntry>> find_entry(const ReadRows& rows, Ino dir, std::string_view name);
Result<bool> is_empty(const ReadRows& rows, Ino dir);

// Adds an entry with the next cookie. For a file: one more link, its home if it had none. For a directory: its place.
void add_entry(Rows& rows, Ino dir, Inode& dir_inode, std::string_view name, Ino ino, Inode& inode);
// Removes it. A file has one link less, and another home if this was it; a directory has no place then, and keeps its
// nlink, which counts what is in it.
Result<void> remove_entry(Rows& rows, Ino dir, Inode& dir_inode, const FoundEntry& found, Inode& inode);
// Gives an entry another name in the same directory.
void rename_entry(Rows& rows, Ino dir, const FoundEntry& found, std::string_view new_name);

// Whether `dir` is `above` or lies below it.
Result<bool> is_within(const ReadRows& rows, Ino dir, Ino above);

}  // namespace coffer::model
