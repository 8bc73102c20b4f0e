// Sealing what files consist of with other keys: the same bytes at another place, which is a change of no contents.
#include <algorithm>

#include "fs/model/extent_map.h"
#include "fs/replica/impl.h"

namespace coffer {

using model::Extent;
using model::Inode;
using model::RowKind;

Result<std::optional<Ino>> Replica::next_file(Ino after) {
  const std::string prefix = model::kind_prefix(RowKind::kInode);
  for (std::string at = model::inode_key(after).bytes;;) {
    SharedLock lock(impl_->state);
    TRY(auto row, impl_->known_rows->next(prefix, at));
    if (!row) return std::optional<Ino>();
    TRY(Inode inode, model::decode_inode(row->value));
    if (inode.is_regular() && inode.nlink > 0) {
      TRY(Ino ino, model::parse_first(RowKind::kInode, row->key));
      return std::optional(ino);
    }
    at = std::move(row->key);
  }
}

Result<std::vector<Extent>> Replica::next_extents(Ino ino, uint64_t offset, size_t most) {
  std::vector<Extent> out;
  SharedLock lock(impl_->state);
  auto inode = model::get_inode(*impl_->known_rows, ino);
  if (!inode && inode.error().code() == Code::kStale) return out;  // removed meanwhile
  if (!inode) return fail(inode.error());
  model::FileExtents file(*impl_->known_rows, ino, *inode);
  for (uint64_t chunk = offset / model::kChunk; out.size() < most;) {
    TRY(auto there, file.next_chunk(chunk));
    if (!there) break;
    TRY(auto list, file.chunk(*there));
    for (const Extent& e : list)
      if (e.offset >= offset && out.size() < most) out.push_back(e);
    chunk = *there + 1;
  }
  return out;
}

Result<std::vector<Missing>> Replica::seal_anew(Ino ino, std::span<const Extent> extents, SealedAnew& known) {
  Impl& r = *impl_;
  uint64_t bytes = 0;
  for (const Extent& e : extents) bytes += e.frame_length;
  TRYV(r.space->admit(bytes));  // on a full disk, what is left of it is for uploading what there is
  TRYV(r.throttle());
  std::map<FrameRef, Bytes> plain;
  std::vector<Missing> missing;
  for (const Extent& e : extents) {
    if (known.contains(e.frame) || plain.contains(e.frame)) continue;
    Extent whole = e;
    whole.skip = 0;
    whole.length = whole.frame_length;
    Bytes& into = plain[e.frame];
    into.resize(e.frame_length);
    TRYV(r.read_extent(whole, into, missing));
  }
  if (!missing.empty()) return missing;
  {
    // Nothing is cut off between sealing and leading to it, or the pack would look as if nobody needed it.
    SharedLock generation(r.freeze);
    std::map<FrameRef, FrameRef> sealed;
    for (const auto& [old, content] : plain) {
      TRY(FrameRef frame, r.packs->append(content));
      sealed.emplace(old, frame);
    }
    ExclusiveLock lock(r.state);
    auto inode = model::get_inode(*r.known_rows, ino);
    if (!inode && inode.error().code() == Code::kStale) return missing;
    if (!inode) return fail(inode.error());
    if (inode->nlink == 0) return missing;
    // What was sealed for another place may have lost it, and the pack its last user.
    auto is_shown = [&](const Anew& there) NO_THREAD_SAFETY_ANALYSIS {
      auto holder = model::get_inode(*r.known_rows, there.ino);
      auto shown = model::extents(*r.known_rows, there.ino, there.offset, 1);
      return holder && holder->nlink > 0 && shown && !shown->empty() && shown->front().frame == there.frame;
    };
    std::vector<Extent> moved;
    for (const Extent& e : extents) {
      auto fresh = sealed.find(e.frame);
      auto before = known.find(e.frame);
      if (fresh == sealed.end() && before == known.end()) continue;
      if (fresh == sealed.end() && !is_shown(before->second)) {
        known.erase(before);
        continue;
      }
      const FrameRef frame = fresh != sealed.end() ? fresh->second : before->second.frame;
      TRY(std::vector<Extent> shown, model::extents(*r.known_rows, ino, e.offset, e.length));
      for (Extent& there : shown) {
        if (there.frame != e.frame || there.frame_length != e.frame_length) continue;
        there.frame = frame;
        moved.push_back(there);
        if (fresh != sealed.end()) known.try_emplace(e.frame, Anew{frame, ino, there.offset});
      }
    }
    if (moved.empty()) return missing;
    model::Transaction tx(*r.known_rows, *r.touched);
    TRYV(model::put_extents(tx, ino, moved, 0, inode->version, r.now(), true));
    TRYV(r.commit(tx, moved));
  }
  r.tell_pending();
  if (r.packs->unsynced_bytes() > kUnsyncedFrom) {
    MutexLock lock(r.work_mutex);
    r.seal_wanted = true;
    r.work_wake.notify_all();
  }
  return missing;
}

bool Replica::drop_frame(const FrameRef& frame) {
  if (!impl_->may_go(frame.pack)) return false;
  return impl_->packs->drop_range(frame.pack, frame.offset, frame.length).has_value();
}

}  // namespace coffer
