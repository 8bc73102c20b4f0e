#include "fs/model/extent_list.h"

#include <algorithm>

namespace coffer::model {

Extent part_of(const Extent& e, uint64_t begin, uint64_t end) {
  Extent part = e;
  begin = std::max(begin, e.offset);
  end = std::min(end, e.end());
  part.skip = e.skip + static_cast<uint32_t>(begin - e.offset);
  part.offset = begin;
  part.length = static_cast<uint32_t>(end - begin);
  return part;
}

bool continues(const Extent& a, const Extent& b) {
  return a.end() == b.offset && a.skip + a.length == b.skip && a.frame_length == b.frame_length && a.frame == b.frame;
}

void append(Extents& list, const Extent& e) {
  if (!list.empty() && continues(list.back(), e))
    list.back().length += e.length;
  else
    list.push_back(e);
}

Extents clip(std::span<const Extent> list, uint64_t begin, uint64_t end) {
  Extents out;
  if (begin >= end) return out;
  auto it = std::partition_point(list.begin(), list.end(), [&](const Extent& e) { return e.end() <= begin; });
  for (; it != list.end() && it->offset < end; ++it) out.push_back(part_of(*it, begin, end));
  return out;
}

std::vector<Patch> patches(std::span<const Extent> extents) {
  std::vector<Patch> out;
  out.reserve(extents.size());
  for (const Extent& e : extents) out.push_back({e.offset, e.end(), &e});
  return out;
}

Extents patched(std::span<const Extent> list, std::span<const Patch> patches, uint64_t begin, uint64_t end) {
  Extents out;
  out.reserve(list.size() + patches.size() + 1);
  auto it = list.begin();
  auto copy = [&](uint64_t from, uint64_t to) {
    if (from >= to) return;
    while (it != list.end() && it->end() <= from) ++it;
    for (; it != list.end() && it->offset < to; ++it) {
      append(out, part_of(*it, from, to));
      if (it->end() > to) return;  // the rest of it comes later, or is covered
    }
  };
  uint64_t done = 0;
  for (const Patch& p : patches) {
    uint64_t from = std::max(p.begin, begin), to = std::min(p.end, end);
    if (from >= to) continue;
    copy(done, from);
    if (p.extent) append(out, part_of(*p.extent, from, to));
    done = to;
  }
  copy(done, UINT64_MAX);
  return out;
}

}  // namespace coffer::model
