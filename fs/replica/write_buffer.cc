#include "fs/replica/write_buffer.h"

#include <algorithm>

#include "cache/frame.h"

namespace coffer {

void WriteBuffer::write(uint64_t offset, BytesView data) {
  if (data.empty()) return;
  uint64_t end = offset + data.size();
  // The run that starts at or before `offset` and reaches it takes the data: overwritten in place, then extended.
  auto it = runs_.upper_bound(offset);
  if (it != runs_.begin()) {
    auto previous = std::prev(it);
    uint64_t previous_end = previous->first + previous->second.size();
    if (previous_end >= offset) {
      size_t at = static_cast<size_t>(offset - previous->first);
      size_t inside = std::min<size_t>(data.size(), previous->second.size() - at);
      std::copy_n(data.begin(), inside, previous->second.begin() + static_cast<ptrdiff_t>(at));
      if (inside == data.size()) return;
      data = data.subspan(inside);
      erase(previous_end, end - previous_end);
      previous->second.insert(previous->second.end(), data.begin(), data.end());
      bytes_ += data.size();
      it = previous;
    } else {
      it = runs_.end();
    }
  } else {
    it = runs_.end();
  }
  if (it == runs_.end()) {
    erase(offset, end - offset);
    it = runs_.emplace(offset, to_bytes(data)).first;
    bytes_ += data.size();
  }
  auto next = std::next(it);
  if (next != runs_.end() && next->first == it->first + it->second.size()) {
    it->second.insert(it->second.end(), next->second.begin(), next->second.end());
    runs_.erase(next);
  }
}

void WriteBuffer::erase(uint64_t offset, uint64_t length) {
  uint64_t end = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
  auto it = runs_.upper_bound(offset);
  if (it != runs_.begin()) --it;
  while (it != runs_.end() && it->first < end) {
    uint64_t start = it->first, run_end = start + it->second.size();
    if (run_end <= offset) {
      ++it;
      continue;
    }
    Bytes run = std::move(it->second);
    it = runs_.erase(it);
    bytes_ -= run.size();
    if (run_end > end) {
      size_t keep = static_cast<size_t>(run_end - end);
      runs_.emplace_hint(it, end, Bytes(run.end() - static_cast<ptrdiff_t>(keep), run.end()));
      bytes_ += keep;
    }
    if (start < offset) {
      run.resize(static_cast<size_t>(offset - start));
      bytes_ += run.size();
      runs_.emplace(start, std::move(run));
    }
  }
}

std::vector<WriteBuffer::Piece> WriteBuffer::pieces(bool all) const {
  std::vector<Piece> out;
  for (const auto& [start, run] : runs_) {
    uint64_t end = start + run.size();
    for (uint64_t at = start; at < end;) {
      uint64_t border = std::min(end, (at / kFrameMax + 1) * kFrameMax);
      if (all || border % kFrameMax == 0)
        out.push_back({at, BytesView(run).subspan(static_cast<size_t>(at - start), static_cast<size_t>(border - at))});
      at = border;
    }
  }
  return out;
}

std::vector<WriteBuffer::Copy> WriteBuffer::copy(uint64_t offset, uint64_t length) const {
  std::vector<Copy> out;
  uint64_t end = offset + length;
  auto it = runs_.upper_bound(offset);
  if (it != runs_.begin()) --it;
  for (; it != runs_.end() && it->first < end; ++it) {
    uint64_t from = std::max(offset, it->first), to = std::min<uint64_t>(end, it->first + it->second.size());
    if (from >= to) continue;
    auto begin = it->second.begin() + static_cast<ptrdiff_t>(from - it->first);
    out.push_back({from, Bytes(begin, begin + static_cast<ptrdiff_t>(to - from))});
  }
  return out;
}

}  // namespace coffer
