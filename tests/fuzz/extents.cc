// Arithmetic on extents, against one byte after the other.
#include <utility>
#include <vector>

#include "fs/model/extent_list.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {
namespace {

using namespace model;

constexpr uint64_t kSpan = 512;
constexpr uint8_t kHole = 3;  // the number of a frame that stands for none, in what is put over a list
constexpr std::pair<int, uint64_t> kNothing{-1, 0};
// Of each byte: the frame, and where in it.
using Picture = std::vector<std::pair<int, uint64_t>>;

Picture picture(const Extents& list) {
  Picture p(kSpan, kNothing);
  uint64_t end = 0;
  for (const Extent& e : list) {
    require(valid_extent(e), "an extent is within bounds");
    require(e.offset >= end && e.end() <= kSpan, "a list is sorted and disjoint");
    end = e.end();
    for (uint64_t i = 0; i < e.length; ++i) p[e.offset + i] = {e.frame.hash.bytes[0], e.skip + i};
  }
  return p;
}

// Sorted and disjoint, as the input says: gap, length, skip, which frame.
Extents read_list(Input& in) {
  Extents list;
  uint64_t at = 0;
  for (unsigned n = in.byte() % 16; n > 0; --n) {
    Extent e;
    e.offset = at + in.byte() % 16;
    e.length = 1 + in.byte() % 40;
    e.skip = in.byte() % 64;
    e.frame_length = 200;
    uint8_t frame = in.byte() % 4;
    e.frame.hash.bytes[0] = frame;
    e.frame.offset = frame * 100u;
    e.frame.length = 100;
    if (e.end() > kSpan) break;
    at = e.end();
    append(list, e);
  }
  return list;
}

}  // namespace

// list | list to put over it | begin u8, end u8
void run(BytesView input) {
  Input in(input);
  Extents list = read_list(in), over = read_list(in);
  uint64_t begin = in.byte(), end = begin + in.byte();
  Picture was = picture(list), top = picture(over);

  Picture clipped = picture(clip(list, begin, end));
  for (uint64_t i = 0; i < kSpan; ++i)
    require(clipped[i] == (i >= begin && i < end ? was[i] : kNothing), "clip keeps what lies within");

  std::vector<Patch> over_it = patches(over);
  for (Patch& p : over_it) {
    if (p.extent->frame.hash.bytes[0] == kHole) p.extent = nullptr;
  }
  Picture now = picture(patched(list, over_it, begin, end));
  for (uint64_t i = 0; i < kSpan; ++i) {
    auto expected = was[i];
    if (i >= begin && i < end && top[i] != kNothing) expected = top[i].first == kHole ? kNothing : top[i];
    require(now[i] == expected, "a patch replaces what lies within");
  }
}

}  // namespace coffer::fuzz
