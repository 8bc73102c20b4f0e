// Packs that are mostly dead, or that somebody else may have under the same name, are not uploaded: what lives in them is
// sealed anew, into the open pack.
#include <algorithm>

#include "base/log.h"
#include "fs/replica/impl.h"

namespace coffer {

using model::Extent;
using model::Ino;

namespace {

// With what may be dead, the rest is not worth the reading and sealing. Small packs ride inside the record, without what
// lies before and behind their living frames.
constexpr uint64_t kMostDead = 4;  // one part of so many
constexpr uint64_t kSmall = 64 << 10;

bool is_sparse(uint64_t size, uint64_t living) { return size > kSmall && size - living > size / kMostDead; }

}  // namespace

// The packs of `frozen` for which it is worth it, or needed.
std::set<ObjectId> Replica::Impl::sparse_packs(const Frozen& frozen) {
  std::set<ObjectId> out;
  MutexLock lock(unsent_mutex);
  for (const Frozen::Pack& pack : frozen.packs) {
    uint64_t living = 0;
    for (const IndexEntry& e : pack.index) living += e.frame.length;
    auto size = unsent.find(pack.id);
    if (size == unsent.end()) continue;
    if (left_open.contains(pack.id) || is_sparse(size->second, std::min(living, size->second))) out.insert(pack.id);
  }
  return out;
}

Result<void> Replica::Impl::rewrite(const model::ChangeSet& set, const std::set<ObjectId>& sparse) {
  Bytes plain;
  for (const model::InodeChange& c : set.inodes) {
    if (!c.content) continue;
    for (const model::ContentPiece& piece : c.content->pieces) {
      if (!piece.extent || !sparse.contains(piece.extent->frame.pack)) continue;
      const Extent& old = *piece.extent;
      TRYV(space->admit(old.length));  // on a full disk, what is left of it is for uploading what there is
      plain.resize(old.frame_length);
      TRYV(packs->read(old.frame, plain));
      TRY(FrameRef frame, packs->append(BytesView(plain).subspan(old.skip, old.length)));
      TRYV(move_extent(c.ino, old, frame, true));
    }
  }
  // A move tells of whole frames, of which a range shows a part.
  for (const model::Move& m : set.moves) {
    if (!sparse.contains(m.to.frame.pack)) continue;
    TRYV(space->admit(m.to.frame_length));
    plain.resize(m.to.frame_length);
    TRYV(packs->read(m.to.frame, plain));
    TRY(FrameRef frame, packs->append(plain));
    TRYV(move_extent(m.ino, m.to, frame, false));
  }
  return {};
}

// Leads whatever still shows `old` to `frame`, which has just its bytes (`cut`), or all of its frame. Contents, version and
// times stay what they are.
Result<void> Replica::Impl::move_extent(Ino ino, const Extent& old, const FrameRef& frame, bool cut) {
  SharedLock generation(freeze);
  ExclusiveLock lock(state);
  model::Transaction tx(*known_rows, *touched);
  auto inode = model::get_inode(tx, ino);
  if (!inode && inode.error().code() == Code::kStale) return {};  // removed meanwhile
  if (!inode) return fail(inode.error());
  TRY(std::vector<Extent> shown, model::extents(tx, ino, old.offset, old.length));
  // What was copied within the file may show another part of the frame there.
  std::erase_if(shown, [&](const Extent& e) {
    return e.frame != old.frame || e.skip < old.skip || e.skip + e.length > old.skip + old.length;
  });
  if (shown.empty()) return {};
  for (Extent& e : shown) {
    if (cut) {
      e.skip -= old.skip;
      e.frame_length = old.length;
    }
    e.frame = frame;
  }
  TRYV(model::put_extents(tx, ino, shown, 0, inode->version, now(), true));
  return commit(tx, shown);
}

}  // namespace coffer
