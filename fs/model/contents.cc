// The contents of regular files.
#include <algorithm>

#include "fs/model/extent_map.h"
#include "fs/model/tree.h"

namespace coffer::model {
namespace {

Result<Inode> get_file(const ReadRows& rows, Ino ino) {
  TRY(Inode inode, get_inode(rows, ino));
  if (!inode.is_regular()) return fail(Code::kInvalid, "not a regular file");
  return inode;
}

void touch_contents(Inode& inode, WallTime now) { inode.mtime = inode.ctime = now; }

}  // namespace

Result<std::vector<Extent>> extents(const ReadRows& rows, Ino ino, uint64_t offset, uint64_t length) {
  TRY(Inode inode, get_file(rows, ino));
  if (offset >= inode.size) return Extents{};
  return FileExtents(rows, ino, inode).read(offset, offset + std::min(length, inode.size - offset));
}

Result<Inode> put_extents(Rows& rows, Ino ino, std::span<const Extent> pieces, uint64_t at_least_size, Version fresh,
                          WallTime now, bool keep_times) {
  TRY(Inode inode, get_file(rows, ino));
  uint64_t end = 0;
  for (const Extent& e : pieces) {
    if (!valid_extent(e) || e.offset < end) return fail(Code::kInvalid, "malformed extents");
    end = e.end();
  }
  if (at_least_size > kSizeMax) return fail(Code::kTooLarge, "the file would be too large");
  ExtentEdit edit(rows, ino, inode);
  TRYV(edit.assign(patches(pieces)));
  TRYV(edit.finish());
  inode.size = std::max({inode.size, at_least_size, end});
  inode.version = fresh;
  if (!keep_times) touch_contents(inode, now);
  put_inode(rows, ino, inode);
  return inode;
}

Result<Inode> truncate(Rows& rows, Ino ino, uint64_t size, Version fresh, WallTime now) {
  TRY(Inode inode, get_file(rows, ino));
  if (size > kSizeMax) return fail(Code::kTooLarge, "the file would be too large");
  if (size < inode.size) {
    ExtentEdit edit(rows, ino, inode);
    TRYV(edit.cut(size, inode.size));
    TRYV(edit.finish());
  }
  if (size != inode.size) inode.version = fresh;
  inode.size = size;
  touch_contents(inode, now);
  put_inode(rows, ino, inode);
  return inode;
}

Result<Inode> punch_hole(Rows& rows, Ino ino, uint64_t offset, uint64_t length, Version fresh, WallTime now) {
  TRY(Inode inode, get_file(rows, ino));
  if (offset < inode.size) {
    ExtentEdit edit(rows, ino, inode);
    TRYV(edit.cut(offset, offset + std::min(length, inode.size - offset)));
    TRYV(edit.finish());
    if (edit.changed()) inode.version = fresh;
  }
  touch_contents(inode, now);
  put_inode(rows, ino, inode);
  return inode;
}

Result<uint64_t> copy_range(Rows& rows, Ino from, uint64_t from_offset, Ino to, uint64_t to_offset, uint64_t length,
                            Version fresh, WallTime now, bool keep_times) {
  TRY(Inode source, get_file(rows, from));
  TRY(Inode inode, get_file(rows, to));
  if (from_offset >= source.size) return 0;
  length = std::min(length, source.size - from_offset);
  if (to_offset > kSizeMax || length > kSizeMax - to_offset)
    return fail(Code::kTooLarge, "the file would be too large");
  if (from == to && from_offset < to_offset + length && to_offset < from_offset + length)
    return fail(Code::kInvalid, "the ranges overlap");
  if (length == 0) return 0;
  TRY(Extents shared, FileExtents(rows, from, source).read(from_offset, from_offset + length));
  std::vector<Patch> all;  // extents, and the holes between them
  uint64_t at = to_offset;
  for (Extent& e : shared) {
    e.offset = e.offset - from_offset + to_offset;
    if (e.offset > at) all.push_back({at, e.offset, nullptr});
    all.push_back({e.offset, e.end(), &e});
    at = e.end();
  }
  const uint64_t end = to_offset + length;
  if (at < end) all.push_back({at, end, nullptr});
  ExtentEdit edit(rows, to, inode);
  TRYV(edit.assign(all));
  TRYV(edit.finish());
  inode.size = std::max(inode.size, end);
  inode.version = fresh;
  if (!keep_times) touch_contents(inode, now);
  put_inode(rows, to, inode);
  return length;
}

Result<uint64_t> seek_data(const ReadRows& rows, Ino ino, uint64_t offset) {
  TRY(Inode inode, get_file(rows, ino));
  FileExtents map(rows, ino, inode);
  for (uint64_t from = offset / kChunk; offset < inode.size; ++from) {
    TRY(std::optional<uint64_t> c, map.next_chunk(from));
    if (!c) break;
    TRY(Extents list, map.chunk(*c));
    for (const Extent& e : list)
      if (e.end() > offset) return std::max(offset, e.offset);
    from = *c;
  }
  return fail(Code::kNoData, "no data from here on");
}

Result<uint64_t> seek_hole(const ReadRows& rows, Ino ino, uint64_t offset) {
  TRY(Inode inode, get_file(rows, ino));
  if (offset >= inode.size) return fail(Code::kNoData, "beyond the end");
  FileExtents map(rows, ino, inode);
  uint64_t at = offset;  // everything from `offset` to here is data
  for (uint64_t from = offset / kChunk;; ++from) {
    TRY(std::optional<uint64_t> c, map.next_chunk(from));
    if (c != from) return at;
    TRY(Extents list, map.chunk(from));
    for (const Extent& e : list) {
      if (e.end() <= at) continue;
      if (e.offset > at) return at;
      at = e.end();
    }
    if (at >= inode.size) return inode.size;
    if (at < (from + 1) * kChunk) return at;
  }
}

}  // namespace coffer::model
