// The extents of a regular file, wherever they are: in the inode, or in chunk rows found by the inode's runs. Huge
// holes cost nothing: only chunks that have rows are visited.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/rows.h"
#include "fs/model/extent_list.h"
#include "fs/model/keys.h"
#include "fs/model/types.h"

namespace coffer::model {

inline constexpr uint64_t kChunksMax = kSizeMax / kChunk + 1;  // of a file

// A file's extents, chunk by chunk: of a file as it is, or of a version that it once had.
class ExtentSource {
 public:
  virtual ~ExtentSource() = default;
  virtual Result<Extents> chunk(uint64_t chunk) const = 0;
  // The first chunk from `from` on that may have extents.
  virtual Result<std::optional<uint64_t>> next_chunk(uint64_t from) const = 0;

  // What lies in [begin, end), clipped to it, merged across chunks.
  Result<Extents> read(uint64_t begin, uint64_t end) const;
};

// Sees the extents of each chunk as they were before an edit first changes it.
class ChunkObserver {
 public:
  virtual ~ChunkObserver() = default;
  virtual Result<void> before_change(uint64_t chunk, const Extents& extents) = 0;
};

// Reads a file as its inode and rows say. Borrows both.
class FileExtents : public ExtentSource {
 public:
  FileExtents(const ReadRows& rows, Ino ino, const Inode& inode) : rows_(rows), ino_(ino), inode_(inode) {}
  Result<Extents> chunk(uint64_t chunk) const override;
  Result<std::optional<uint64_t>> next_chunk(uint64_t from) const override;
  Result<bool> has_row(uint64_t chunk) const;

 protected:
  Result<Bitmap> bitmap(uint64_t block) const;

  const ReadRows& rows_;
  const Ino ino_;
  const Inode& inode_;
  mutable std::optional<std::pair<uint64_t, Bitmap>> recent_;  // the block read last
};

// Changes a file's extents: rows at once, and where they are in `inode`, which the caller puts after finish().
class ExtentEdit : private FileExtents {
 public:
  ExtentEdit(Rows& rows, Ino ino, Inode& inode, ChunkObserver* observer = nullptr);

  // Sorted and disjoint.
  Result<void> assign(std::span<const Patch> patches);
  Result<void> cut(uint64_t begin, uint64_t end);  // makes a hole
  // Makes all that is there equal to `source`, which may be an earlier version of this file.
  Result<void> become(const ExtentSource& source);
  Result<void> finish();
  bool changed() const { return changed_; }

 private:
  Result<void> set_chunk(uint64_t chunk, const Extents& before, Extents after);
  Result<void> spread();
  Result<void> add_row(uint64_t chunk);
  Result<void> remove_row(uint64_t chunk);
  Result<void> to_blocks();
  void put_bitmap(uint64_t block, const Bitmap& bitmap);

  Rows& out_;
  Inode& root_;
  ChunkObserver* const observer_;
  bool changed_ = false;
  // A file without chunk rows is edited as one list, and spread over rows only if it has to be.
  bool small_;
  Extents list_;
  Extents list_before_;
};

// Removes every row of a file's extents.
Result<void> erase_extents(Rows& rows, Ino ino, const Inode& inode);
// Whether two sources have the same bytes as far as extents can tell.
Result<bool> same_extents(const ExtentSource& a, const ExtentSource& b);

}  // namespace coffer::model
