#include "fs/model/extent_map.h"

#include <algorithm>
#include <bit>

namespace coffer::model {
namespace {

constexpr size_t kRunsMax = 64;  // runs of chunks in an inode; with more, its runs are of blocks

std::vector<Run>::const_iterator run_at(const std::vector<Run>& runs, uint64_t n) {
  return std::partition_point(runs.begin(), runs.end(), [&](const Run& r) { return r.end() <= n; });
}

bool in_runs(const std::vector<Run>& runs, uint64_t n) {
  auto it = run_at(runs, n);
  return it != runs.end() && it->first <= n;
}

std::optional<uint64_t> next_in_runs(const std::vector<Run>& runs, uint64_t from) {
  auto it = run_at(runs, from);
  if (it == runs.end()) return std::nullopt;
  return std::max(it->first, from);
}

void add_to_runs(std::vector<Run>& runs, uint64_t n) {
  size_t i = static_cast<size_t>(run_at(runs, n) - runs.cbegin());  // the first run that ends behind n
  if (i < runs.size() && runs[i].first <= n) return;
  bool joins_left = i > 0 && runs[i - 1].end() == n;
  bool joins_right = i < runs.size() && runs[i].first == n + 1;
  if (joins_left && joins_right) {
    runs[i - 1].count += 1 + runs[i].count;
    runs.erase(runs.begin() + static_cast<ptrdiff_t>(i));
  } else if (joins_left) {
    ++runs[i - 1].count;
  } else if (joins_right) {
    --runs[i].first;
    ++runs[i].count;
  } else {
    runs.insert(runs.begin() + static_cast<ptrdiff_t>(i), Run{n, 1});
  }
}

void remove_from_runs(std::vector<Run>& runs, uint64_t n) {
  size_t i = static_cast<size_t>(run_at(runs, n) - runs.cbegin());
  if (i == runs.size() || runs[i].first > n) return;
  Run left{runs[i].first, n - runs[i].first};
  Run right{n + 1, runs[i].end() - n - 1};
  auto at = runs.begin() + static_cast<ptrdiff_t>(i);
  if (left.count > 0 && right.count > 0) {
    *at = left;
    runs.insert(at + 1, right);
  } else if (left.count > 0) {
    *at = left;
  } else if (right.count > 0) {
    *at = right;
  } else {
    runs.erase(at);
  }
}

bool test(const Bitmap& b, uint64_t bit) { return b.words[bit / 64] >> (bit % 64) & 1; }

std::optional<uint64_t> next_in_bitmap(const Bitmap& b, uint64_t from) {
  for (uint64_t w = from / 64; w < b.words.size(); ++w) {
    uint64_t word = b.words[w];
    if (w == from / 64) word &= ~uint64_t{0} << (from % 64);
    if (word != 0) return w * 64 + static_cast<uint64_t>(std::countr_zero(word));
  }
  return std::nullopt;
}

}  // namespace

Result<Extents> ExtentSource::read(uint64_t begin, uint64_t end) const {
  Extents out;
  if (begin >= end) return out;
  for (uint64_t from = begin / kChunk; from <= (end - 1) / kChunk; ++from) {
    TRY(std::optional<uint64_t> c, next_chunk(from));
    if (!c || *c > (end - 1) / kChunk) break;
    from = *c;
    TRY(Extents list, chunk(from));
    for (const Extent& e : list)
      if (e.end() > begin && e.offset < end) append(out, part_of(e, begin, end));
  }
  return out;
}

Result<Bitmap> FileExtents::bitmap(uint64_t block) const {
  if (recent_ && recent_->first == block) return recent_->second;
  TRY(std::optional<Bytes> row, rows_.get(block_key(ino_, block)));
  if (!row) return fail(Code::kCorrupt, "a bitmap of chunks is missing");
  TRY(Bitmap b, decode_bitmap(*row));
  recent_.emplace(block, b);
  return b;
}

Result<bool> FileExtents::has_row(uint64_t chunk) const {
  if (!inode_.blocks) return in_runs(inode_.chunks, chunk);
  if (!in_runs(inode_.chunks, chunk / kBlock)) return false;
  TRY(Bitmap b, bitmap(chunk / kBlock));
  return test(b, chunk % kBlock);
}

Result<Extents> FileExtents::chunk(uint64_t chunk) const {
  if (inode_.only) return chunk == 0 ? Extents{*inode_.only} : Extents{};
  TRY(bool there, has_row(chunk));
  if (!there) return Extents{};
  TRY(std::optional<Bytes> row, rows_.get(chunk_key(ino_, chunk)));
  if (!row) return fail(Code::kCorrupt, "a chunk of extents is missing");
  TRY(Extents list, decode_extents(*row));
  if (list.empty() || list.front().offset / kChunk != chunk)
    return fail(Code::kCorrupt, "a chunk of extents is another's");
  return list;
}

Result<std::optional<uint64_t>> FileExtents::next_chunk(uint64_t from) const {
  if (inode_.only) return from == 0 ? std::optional<uint64_t>(0) : std::nullopt;
  if (!inode_.blocks) return next_in_runs(inode_.chunks, from);
  for (uint64_t at = from;;) {
    std::optional<uint64_t> block = next_in_runs(inode_.chunks, at / kBlock);
    if (!block) return std::nullopt;
    if (*block != at / kBlock) at = *block * kBlock;
    TRY(Bitmap b, bitmap(*block));
    if (auto bit = next_in_bitmap(b, at % kBlock)) return *block * kBlock + *bit;
    at = (*block + 1) * kBlock;
  }
}

ExtentEdit::ExtentEdit(Rows& rows, Ino ino, Inode& inode, ChunkObserver* observer)
    : FileExtents(rows, ino, inode), out_(rows), root_(inode), observer_(observer), small_(inode.chunks.empty()) {
  if (small_ && inode.only) list_.push_back(*inode.only);
  list_before_ = list_;
}

Result<void> ExtentEdit::assign(std::span<const Patch> patches) {
  if (small_) {
    list_ = patched(list_, patches, 0, kSizeMax);
    return {};
  }
  size_t i = 0;
  uint64_t at = patches.empty() ? 0 : patches[0].begin;  // what lies before is done
  while (i < patches.size()) {
    at = std::max(at, patches[i].begin);
    if (at >= patches[i].end) {
      ++i;
      continue;
    }
    uint64_t c = at / kChunk;
    if (!patches[i].extent) {  // a hole needs to visit only what is there
      TRY(std::optional<uint64_t> there, next_chunk(c));
      if (!there || *there > (patches[i].end - 1) / kChunk) {
        at = patches[i].end;
        continue;
      }
      if (*there > c) {
        c = *there;
        at = c * kChunk;
      }
    }
    TRY(Extents before, chunk(c));
    const uint64_t chunk_end = (c + 1) * kChunk;
    auto last = std::partition_point(patches.begin() + static_cast<ptrdiff_t>(i), patches.end(),
                                     [&](const Patch& p) { return p.begin < chunk_end; });
    std::span<const Patch> here(patches.begin() + static_cast<ptrdiff_t>(i), last);
    Extents after = patched(before, here, at, chunk_end);
    TRYV(set_chunk(c, before, std::move(after)));
    at = chunk_end;
  }
  return {};
}

Result<void> ExtentEdit::cut(uint64_t begin, uint64_t end) {
  if (begin >= end) return {};
  Patch hole{begin, end, nullptr};
  return assign({&hole, 1});
}

Result<void> ExtentEdit::become(const ExtentSource& source) {
  if (small_) {
    TRY(std::optional<uint64_t> beyond, source.next_chunk(1));
    if (!beyond) {
      TRY(list_, source.read(0, kSizeMax));
      return {};
    }
    TRYV(spread());  // too much for one list
  }
  // In step through the chunks of both.
  for (uint64_t from = 0;;) {
    TRY(std::optional<uint64_t> mine, next_chunk(from));
    TRY(std::optional<uint64_t> theirs, source.next_chunk(from));
    if (!mine && !theirs) return {};
    uint64_t c = std::min(mine.value_or(UINT64_MAX), theirs.value_or(UINT64_MAX));
    TRY(Extents before, chunk(c));
    TRY(Extents after, source.chunk(c));
    TRYV(set_chunk(c, before, std::move(after)));
    from = c + 1;
  }
}

Result<void> ExtentEdit::set_chunk(uint64_t c, const Extents& before, Extents after) {
  if (before == after) return {};
  changed_ = true;
  if (observer_) TRYV(observer_->before_change(c, before));
  if (after.empty()) {
    out_.erase(chunk_key(ino_, c));
    return remove_row(c);
  }
  out_.put(chunk_key(ino_, c), encode(after));
  if (before.empty()) return add_row(c);
  return {};
}

Result<void> ExtentEdit::finish() {
  if (!small_) {
    // Back into the inode when that is easily seen to be possible: an extent that starts at 0 ends in the first chunk.
    if (root_.blocks || root_.chunks != std::vector<Run>{{0, 1}}) return {};
    TRY(Extents list, chunk(0));
    if (list.size() != 1 || list[0].offset != 0) return {};
    out_.erase(chunk_key(ino_, 0));
    root_.only = list[0];
    root_.chunks.clear();
    return {};
  }
  if (list_ == list_before_) return {};
  changed_ = true;
  if (list_.empty() || (list_.size() == 1 && list_[0].offset == 0)) {
    if (observer_) TRYV(observer_->before_change(0, list_before_));
    root_.only.reset();
    if (!list_.empty()) root_.only = list_[0];
    return {};
  }
  return spread();
}

// Moves the list into chunk rows.
Result<void> ExtentEdit::spread() {
  small_ = false;
  root_.only.reset();
  if (observer_ && !list_before_.empty()) TRYV(observer_->before_change(0, list_before_));
  for (size_t i = 0; i < list_.size();) {
    uint64_t c = list_[i].offset / kChunk;
    const uint64_t end = (c + 1) * kChunk;
    Extents part;
    while (i < list_.size() && list_[i].offset < end) {
      Extent& e = list_[i];
      part.push_back(part_of(e, 0, end));
      if (e.end() > end)
        e = part_of(e, end, kSizeMax);
      else
        ++i;
    }
    if (observer_ && (c > 0 || list_before_.empty())) TRYV(observer_->before_change(c, {}));
    out_.put(chunk_key(ino_, c), encode(part));
    TRYV(add_row(c));
  }
  return {};
}

void ExtentEdit::put_bitmap(uint64_t block, const Bitmap& b) {
  out_.put(block_key(ino_, block), encode(b));
  recent_.emplace(block, b);
}

Result<void> ExtentEdit::add_row(uint64_t c) {
  if (!root_.blocks) {
    add_to_runs(root_.chunks, c);
    return root_.chunks.size() > kRunsMax ? to_blocks() : Result<void>{};
  }
  Bitmap b;
  if (in_runs(root_.chunks, c / kBlock)) {
    TRY(b, bitmap(c / kBlock));
  } else {
    add_to_runs(root_.chunks, c / kBlock);
  }
  b.words[c % kBlock / 64] |= uint64_t{1} << (c % 64);
  put_bitmap(c / kBlock, b);
  return {};
}

Result<void> ExtentEdit::remove_row(uint64_t c) {
  if (!root_.blocks) {
    remove_from_runs(root_.chunks, c);
    return {};
  }
  const uint64_t block = c / kBlock;
  TRY(Bitmap b, bitmap(block));
  b.words[c % kBlock / 64] &= ~(uint64_t{1} << (c % 64));
  if (b != Bitmap{}) {
    put_bitmap(block, b);
    return {};
  }
  out_.erase(block_key(ino_, block));
  recent_.reset();
  remove_from_runs(root_.chunks, block);
  if (root_.chunks.empty()) root_.blocks = false;
  return {};
}

Result<void> ExtentEdit::to_blocks() {
  std::vector<Run> chunks = std::move(root_.chunks);
  root_.chunks.clear();
  root_.blocks = true;
  recent_.reset();
  uint64_t block = 0;
  Bitmap b;
  auto put = [&] {
    if (b == Bitmap{}) return;
    put_bitmap(block, b);
    add_to_runs(root_.chunks, block);
  };
  for (const Run& r : chunks) {
    for (uint64_t c = r.first; c < r.end(); ++c) {
      if (c / kBlock != block) {
        put();
        block = c / kBlock;
        b = {};
      }
      b.words[c % kBlock / 64] |= uint64_t{1} << (c % 64);
    }
  }
  put();
  return {};
}

Result<void> erase_extents(Rows& rows, Ino ino, const Inode& inode) {
  if (inode.only) return {};
  FileExtents there(rows, ino, inode);
  for (uint64_t from = 0;;) {
    TRY(std::optional<uint64_t> c, there.next_chunk(from));
    if (!c) break;
    rows.erase(chunk_key(ino, *c));
    from = *c + 1;
  }
  if (inode.blocks)
    for (const Run& r : inode.chunks)
      for (uint64_t block = r.first; block < r.end(); ++block) rows.erase(block_key(ino, block));
  return {};
}

Result<bool> same_extents(const ExtentSource& a, const ExtentSource& b) {
  for (uint64_t from = 0;;) {
    TRY(std::optional<uint64_t> in_a, a.next_chunk(from));
    TRY(std::optional<uint64_t> in_b, b.next_chunk(from));
    if (!in_a && !in_b) return true;
    uint64_t c = std::min(in_a.value_or(UINT64_MAX), in_b.value_or(UINT64_MAX));
    TRY(Extents of_a, a.chunk(c));
    TRY(Extents of_b, b.chunk(c));
    if (of_a != of_b) return false;
    from = c + 1;
  }
}

}  // namespace coffer::model
