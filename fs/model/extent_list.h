// Arithmetic on lists of extents: sorted by offset, disjoint, and merged where neighbours continue one another in the
// same frame. No rows here.
#pragma once

#include <span>
#include <vector>

#include "fs/model/types.h"

namespace coffer::model {

using Extents = std::vector<Extent>;

// Within the bounds that every stored extent keeps.
inline bool valid_extent(const Extent& e) {
  return e.length >= 1 && e.frame_length <= kFrameMax && e.skip <= e.frame_length &&
         e.length <= e.frame_length - e.skip && e.offset <= kSizeMax && e.length <= kSizeMax - e.offset &&
         e.frame.length >= 1;
}
// The sealed bytes of `b` lie right behind those of `a`.
inline bool follows(const FrameRef& a, const FrameRef& b) {
  return a.pack == b.pack && uint64_t{a.offset} + a.length == b.offset;
}
// The part of `e` in [begin, end), which it overlaps.
Extent part_of(const Extent& e, uint64_t begin, uint64_t end);
// `b` goes on where `a` ends, in the file and in the frame.
bool continues(const Extent& a, const Extent& b);
// Appends an extent that lies behind all of `list`, merged with the last where that is possible.
void append(Extents& list, const Extent& e);
// What of `list` lies in [begin, end).
Extents clip(std::span<const Extent> list, uint64_t begin, uint64_t end);

// A range that is to be replaced: by an extent of the same offset and length, or by a hole.
struct Patch {
  uint64_t begin = 0, end = 0;
  const Extent* extent = nullptr;
};
std::vector<Patch> patches(std::span<const Extent> extents);
// `list` with what the patches (sorted, disjoint) say, of each only what lies in [begin, end).
Extents patched(std::span<const Extent> list, std::span<const Patch> patches, uint64_t begin, uint64_t end);

}  // namespace coffer::model
