#include "fs/replica/loaded_state.h"

#include <algorithm>
#include <bit>

#include "base/failpoint.h"
#include "fs/model/invariants.h"
#include "fs/replica/impl.h"

namespace coffer {

using model::RowKind;

namespace {

constexpr size_t kBatchBytes = 1 << 20;

std::unexpected<Error> bad(const char* what) { return fail(Code::kCorrupt, std::string("a row of ") + what); }

}  // namespace

void LoadedState::put(RowKey key, BytesView value) {
  Value& row = rows_[std::move(key.bytes)];
  row.clear = key.clear;
  row.bytes = to_bytes(value);
}

Result<void> LoadedState::add(std::string_view key, BytesView value) {
  auto kind = model::kind_of(key);
  if (!kind) return bad("a kind that a state does not have");
  TRY(uint64_t ino, model::parse_first(*kind, key));
  RowKey row;
  switch (*kind) {
    case RowKind::kInode: {
      TRY(model::Inode inode, model::decode_inode(value));
      if (inode.nlink == 0) return bad("an inode that has no link");
      if (inode.only) packs_.insert(inode.only->frame.pack);
      // Each run is below 2^43, and there are fewer of them than bytes: no sum wraps around.
      for (const model::Run& run : inode.chunks) (inode.blocks ? blocks_ : chunks_).named += run.count;
      xattrs_.named += inode.has_xattrs;
      row = model::inode_key(ino);
      break;
    }
    case RowKind::kEntry: {
      TRY(model::EntryPlace place, model::parse_entry_key(key));
      TRY(model::Entry entry, model::decode_entry(value));
      row = model::entry_key(place.dir, place.cookie);
      RowKey name = model::name_key(place.dir, entry.name);
      if (rows_.contains(name.bytes)) return bad("a name that is there twice");
      put(std::move(name), model::encode_number(place.cookie));
      break;
    }
    case RowKind::kLink: {
      TRY(model::EntryPlace place, model::parse_link_key(key));
      if (!value.empty()) return bad("a link that has a value");
      row = model::link_key(ino, place.dir, place.cookie);
      break;
    }
    case RowKind::kExtents: {
      TRY(model::FileChunk at, model::parse_chunk_key(key));
      TRY(auto extents, model::decode_extents(value));
      if (extents.empty()) return bad("extents without any");
      for (const model::Extent& e : extents) packs_.insert(e.frame.pack);
      ++chunks_.there;
      row = model::chunk_key(at.ino, at.chunk);
      break;
    }
    case RowKind::kBitmap: {
      if (key.size() != 17) return bad("a bitmap whose key is none");
      TRY(model::Bitmap bitmap, model::decode_bitmap(value));
      for (uint64_t word : bitmap.words) chunks_.named += static_cast<uint64_t>(std::popcount(word));
      ++blocks_.there;
      row = model::block_key(ino, number_at(key, 9));
      break;
    }
    case RowKind::kXattrs:
      TRYV(model::decode_xattrs(value));
      ++xattrs_.there;
      row = model::xattr_key(ino);
      break;
    default:
      return bad("a kind that a state does not have");
  }
  if (row.bytes != key) return bad("a key that is none");
  put(std::move(row), value);
  return {};
}

Result<std::vector<std::string>> LoadedState::find_faults() const {
  // First, so that looking for rows that an inode names takes no longer than there are rows.
  for (const Count* c : {&chunks_, &blocks_, &xattrs_})
    if (c->named != c->there) return std::vector<std::string>{"files have other rows than they name"};
  return model::find_faults(*this);
}

Result<std::optional<Bytes>> LoadedState::get(const RowKey& key) const {
  auto it = rows_.find(key.bytes);
  return it == rows_.end() ? std::nullopt : std::optional(it->second.bytes);
}

Result<std::optional<Row>> LoadedState::next(std::string_view prefix, std::string_view after) const {
  auto it = after < prefix ? rows_.lower_bound(prefix) : rows_.upper_bound(after);
  if (it == rows_.end() || !it->first.starts_with(prefix)) return std::nullopt;
  return Row{it->first, it->second.bytes};
}

Result<void> Replica::load(const LoadedState& state, uint64_t stamp,
                           std::span<const std::pair<ObjectId, PackPlace>> places, std::span<const RowPut> bookkeeping,
                           const std::stop_token& stop) {
  return load(state, {}, stamp, places, bookkeeping, stop);
}

Result<void> Replica::load(const LoadedState& state, const Parts& parts, uint64_t stamp,
                           std::span<const std::pair<ObjectId, PackPlace>> places, std::span<const RowPut> bookkeeping,
                           const std::stop_token& stop) {
  Impl& r = *impl_;
  {
    ExclusiveLock lock(r.state);
    TRY(auto root, r.table->get(model::inode_key(model::kRootIno)));
    if (root || r.touched->size() > 0 || r.generations.open > 1)
      return fail(Code::kInternal, "a state can be loaded only by a new replica");
    RowPut mark{loading_key(), Bytes{}};
    r.commit(std::span(&mark, 1));
  }
  std::vector<RowPut> batch;
  size_t bytes = 0;
  auto flush = [&]() -> Result<void> {
    if (stop.stop_requested()) return fail(Code::kCancelled, "interrupted");
    TRYV(failpoint("replica.load_batch"));
    TRYV(r.throttle());
    ExclusiveLock lock(r.state);
    r.commit(batch);
    batch.clear();
    bytes = 0;
    return {};
  };
  auto put = [&](RowKey key, Bytes value) -> Result<void> {
    bytes += key.bytes.size() + value.size();
    batch.push_back({std::move(key), std::move(value)});
    return bytes < kBatchBytes ? Result<void>{} : flush();
  };
  const RowKey root = model::inode_key(model::kRootIno);
  for (const auto& [key, value] : state.rows())
    if (key != root.bytes) TRYV(put(RowKey{key, value.clear}, value.bytes));
  for (const auto& [pack, place] : places) TRYV(put(place_key(pack), encode(place)));
  for (const RowPut& row : bookkeeping)
    if (row.value) TRYV(put(row.key, *row.value));
  TRYV(flush());
  TRYV(failpoint("replica.load_last"));
  TRY(auto root_row, state.get(root));
  if (!root_row) return fail(Code::kCorrupt, "a state without a root directory");
  Lsn lsn;
  {
    std::vector<RowPut> last = {
        {root, std::move(*root_row)}, {stable_key(), encode_stable(stamp)}, {loading_key(), std::nullopt}};
    const bool partly = std::find(parts.here.begin(), parts.here.end(), false) != parts.here.end();
    if (partly) {
      last.push_back(parts_row(parts.list));
      for (size_t i = 0; i < parts.here.size(); ++i)
        if (parts.here[i]) last.push_back({part_here_key(static_cast<uint32_t>(i)), Bytes{}});
    }
    ExclusiveLock lock(r.state);
    lsn = r.commit(last);
    r.stable = stamp;
    if (partly) TRYV(r.load_parts());
  }
  return r.journal->sync(lsn);
}

}  // namespace coffer
