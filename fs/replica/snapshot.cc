#include "fs/replica/snapshot.h"

#include "fs/model/extent_map.h"
#include "fs/replica/impl.h"

namespace coffer {

using model::Inode;
using model::RowKind;

void SnapshotRows::keep(std::span<const RowPut> puts) {
  if (lost_) return;
  for (const RowPut& put : puts) {
    // Links and names follow from entries and inodes, and are not tracked.
    const auto kind = model::kind_of(put.key.bytes);
    const bool of_state = model::is_tracked(put.key) || kind == RowKind::kLink || kind == RowKind::kName;
    if (!of_state || before_.puts().contains(put.key.bytes)) continue;
    auto row = table_.get(put.key);
    if (!row || bytes_ > kMost) {
      lost_ = true;
      return;
    }
    bytes_ += put.key.bytes.size() + (*row ? (*row)->size() : 0) + 100;
    if (*row)
      before_.put(put.key, std::move(**row));
    else
      before_.erase(put.key);
  }
}

Result<void> SnapshotRows::check() const {
  if (lost_) return fail(Code::kUnavailable, "too much changed while the state was being read");
  return {};
}

Result<std::optional<Bytes>> SnapshotRows::get(const RowKey& key) const {
  SharedLock lock(state_);
  TRYV(check());
  return before_.get(key);
}

Result<std::optional<Row>> SnapshotRows::next(std::string_view prefix, std::string_view after) const {
  SharedLock lock(state_);
  TRYV(check());
  return before_.next(prefix, after);
}

Result<void> StateSnapshot::walk(RowKind kind, const std::function<Result<void>(const Row&)>& visit,
                                 const std::stop_token& stop) const {
  return model::walk_rows(*rows_, kind, [&](const Row& row) -> Result<void> {
    if (stop.stop_requested()) return fail(Code::kCancelled, "interrupted");
    return visit(row);
  });
}

Result<std::set<ObjectId>> StateSnapshot::held_packs(const std::stop_token& stop) const {
  std::set<ObjectId> out;
  TRYV(walk(
      RowKind::kInode,
      [&](const Row& row) -> Result<void> {
        TRY(model::Ino ino, model::parse_first(RowKind::kInode, row.key));
        TRY(Inode inode, model::decode_inode(row.value));
        if (inode.only) out.insert(inode.only->frame.pack);
        if (inode.chunks.empty()) return {};
        model::FileExtents file(*rows_, ino, inode);
        for (uint64_t from = 0;;) {
          TRY(auto chunk, file.next_chunk(from));
          if (!chunk) return {};
          from = *chunk + 1;
          TRY(auto extents, file.chunk(*chunk));
          for (const model::Extent& e : extents) out.insert(e.frame.pack);
        }
      },
      stop));
  return out;
}

Result<void> StateSnapshot::survey(const std::stop_token& stop) {
  return walk(
      RowKind::kInode,
      [this](const Row& row) -> Result<void> {
        TRY(model::Ino ino, model::parse_first(RowKind::kInode, row.key));
        TRY(Inode inode, model::decode_inode(row.value));
        if (inode.nlink == 0) return {};
        if (!inode.chunks.empty()) in_chunks_.push_back(ino);
        if (inode.has_xattrs) with_xattrs_.push_back(ino);
        if (inode.only) packs_.insert(inode.only->frame.pack);
        return {};
      },
      stop);
}

Result<void> StateSnapshot::visit_chunks(bool bitmaps, const Visit& visit, const std::stop_token& stop) {
  auto give = [&](const RowKey& key) -> Result<void> {
    TRY(auto row, rows_->get(key));
    if (!row) return fail(Code::kCorrupt, "a row of a file's extents is missing");
    return visit(key.bytes, *row);
  };
  for (model::Ino ino : in_chunks_) {
    if (stop.stop_requested()) return fail(Code::kCancelled, "interrupted");
    TRY(Inode inode, model::get_inode(*rows_, ino));
    if (bitmaps) {
      if (!inode.blocks) continue;
      for (const model::Run& run : inode.chunks)
        for (uint64_t block = run.first; block < run.end(); ++block) TRYV(give(model::block_key(ino, block)));
      continue;
    }
    model::FileExtents file(*rows_, ino, inode);
    for (uint64_t from = 0;;) {
      TRY(auto chunk, file.next_chunk(from));
      if (!chunk) break;
      from = *chunk + 1;
      TRY(auto row, rows_->get(model::chunk_key(ino, *chunk)));
      if (!row) return fail(Code::kCorrupt, "a row of a file's extents is missing");
      TRY(auto extents, model::decode_extents(*row));
      for (const model::Extent& e : extents) packs_.insert(e.frame.pack);
      TRYV(visit(model::chunk_key(ino, *chunk).bytes, *row));
    }
  }
  return {};
}

Result<void> StateSnapshot::visit(RowKind kind, const Visit& visit, const std::stop_token& stop) {
  switch (kind) {
    case RowKind::kBitmap:
      return visit_chunks(true, visit, stop);
    case RowKind::kExtents:
      return visit_chunks(false, visit, stop);
    case RowKind::kInode:
      return walk(
          kind,
          [&](const Row& row) -> Result<void> {
            TRY(Inode inode, model::decode_inode(row.value));
            if (inode.nlink == 0) return {};  // unlinked and open here: nobody else's business
            return visit(row.key, row.value);
          },
          stop);
    case RowKind::kEntry:
    case RowKind::kLink:
      return walk(
          kind, [&](const Row& row) { return visit(row.key, row.value); }, stop);
    case RowKind::kXattrs:
      for (model::Ino ino : with_xattrs_) {
        RowKey key = model::xattr_key(ino);
        TRY(auto row, rows_->get(key));
        if (!row) return fail(Code::kCorrupt, "a row of extended attributes is missing");
        TRYV(visit(key.bytes, *row));
      }
      return {};
    default:
      return fail(Code::kInternal, "rows of this kind are no part of the tree");
  }
}

Result<std::unique_ptr<StateSnapshot>> Replica::snapshot() {
  Impl& r = *impl_;
  ExclusiveLock lock(r.state);
  TRY(auto outgoing_row, r.table->get(outgoing_key()));
  TRY(auto root, r.table->get(model::inode_key(model::kRootIno)));
  if (r.parts.loading()) return std::unique_ptr<StateSnapshot>();
  bool pending = r.generations.first_pending != r.generations.open || r.touched->size() > 0;
  if (pending || !r.applied.empty() || outgoing_row || !root) return std::unique_ptr<StateSnapshot>();
  return std::make_unique<StateSnapshot>(r.snapshot_rows());
}

std::shared_ptr<const SnapshotRows> Replica::Impl::snapshot_rows() {
  auto rows = std::make_shared<SnapshotRows>(state, *table);
  std::erase_if(snapshots, [](const auto& other) { return other.expired(); });
  snapshots.push_back(rows);
  return rows;
}

}  // namespace coffer
