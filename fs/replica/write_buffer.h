// Written data of one file that is not sealed yet: runs of bytes at file offsets, disjoint and never adjacent.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/bytes.h"

namespace coffer {

// Not thread-safe.
class WriteBuffer {
 public:
  struct Piece {
    uint64_t offset = 0;
    BytesView bytes;  // at most kFrameMax; valid until the buffer changes
  };

  void write(uint64_t offset, BytesView data);
  void erase(uint64_t offset, uint64_t length);
  void truncate(uint64_t size) { erase(size, UINT64_MAX - size); }

  // What to seal, cut at multiples of kFrameMax of the file. Without `all`, a frame that is not full is kept back.
  std::vector<Piece> pieces(bool all) const;
  // Copies what overlaps [offset, offset + length).
  struct Copy {
    uint64_t offset = 0;
    Bytes bytes;
  };
  std::vector<Copy> copy(uint64_t offset, uint64_t length) const;

  bool empty() const { return runs_.empty(); }
  size_t bytes() const { return bytes_; }
  uint64_t end() const { return runs_.empty() ? 0 : runs_.rbegin()->first + runs_.rbegin()->second.size(); }

 private:
  std::map<uint64_t, Bytes> runs_;
  size_t bytes_ = 0;
};

}  // namespace coffer
