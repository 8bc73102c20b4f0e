#include <algorithm>

#include "fs/model/apply_state.h"
#include "fs/model/tree.h"

namespace coffer::model {
namespace {

std::vector<Patch> patches(const ContentChange& change) {
  std::vector<Patch> out;
  out.reserve(change.pieces.size());
  for (const ContentPiece& p : change.pieces)
    out.push_back({p.offset, p.offset + p.length, p.extent ? &*p.extent : nullptr});
  return out;
}

// What a change makes of its base.
class ChangedExtents : public ExtentSource {
 public:
  ChangedExtents(const ExtentSource* base, const ContentChange& change)
      : base_(base), patches_(patches(change)), size_(change.size) {
    for (const Patch& p : patches_)
      if (p.extent) data_.push_back(p);
  }

  Result<Extents> chunk(uint64_t chunk) const override {
    Extents list;
    if (base_) {
      TRY(list, base_->chunk(chunk));
    }
    const uint64_t begin = chunk * kChunk, end = begin + kChunk;
    auto first = std::partition_point(patches_.begin(), patches_.end(), [&](const Patch& p) { return p.end <= begin; });
    auto last = std::partition_point(first, patches_.end(), [&](const Patch& p) { return p.begin < end; });
    return clip(patched(list, {first, last}, begin, end), begin, std::min(end, size_));
  }

  Result<std::optional<uint64_t>> next_chunk(uint64_t from) const override {
    std::optional<uint64_t> next;
    if (base_) {
      TRY(next, base_->next_chunk(from));
    }
    auto data =
        std::partition_point(data_.begin(), data_.end(), [&](const Patch& p) { return p.end <= from * kChunk; });
    if (data != data_.end()) next = std::min(next.value_or(UINT64_MAX), std::max(from, data->begin / kChunk));
    if (next && *next * kChunk >= size_) return std::nullopt;
    return next;
  }

 private:
  const ExtentSource* base_;  // nullptr: empty
  std::vector<Patch> patches_;
  std::vector<Patch> data_;  // those with extents
  uint64_t size_;
};

}  // namespace

Result<Ino> ContentApplier::apply(Ino ino, const ContentChange& change, Where where) {
  const bool aside = where != Where::kThere, seen = where == Where::kSeenAside;
  TRY(ApplyState::Followed followed, state_.follow(ino, change.base));
  const Ino file = followed.ino();

  // What is here already, or was and went its way, is not new.
  TRY(std::optional<Inode> inode, state_.find(file));
  Version version;
  Ino origin;
  if (inode) {
    version = inode->version;
    origin = inode->origin;
  } else {
    TRY(std::optional<Tombstone> tombstone, get_tombstone(state_.rows, file));
    if (!tombstone) return 0;
    version = tombstone->inode.version;
    origin = tombstone->inode.origin;
    if (!tombstone->inode.is_regular()) return 0;
  }
  if (inode && !inode->is_regular()) return 0;
  if (!seen) {
    if (version == change.version) return file;
    TRY(std::optional<Displaced> known, get_displaced(state_.rows, file, change.version));
    if (known) return file;
  }

  Ino target = file;
  if (!inode) {
    ContentChange back = change;
    if (seen && version != change.base) {
      TRY(back.version, state_.derive_ino(ino));
    }
    TRYV(bring_back(file, back));
    if (aside) state_.set_aside(file);
  } else {
    bool current = false;
    if (!aside) {
      TRY(current, is_present(state_.rows, file, *inode, change.base));
    }
    if (current) {
      TRYV(update(file, *inode, change));
    } else {
      TRY(target, conflict(ino, file, *inode, change, where));
    }
  }
  if (aside) state_.out.touch.contents.push_back(file);  // its author's is the copy
  state_.out.touch.contents.push_back(target);
  if (seen) return target;
  // Whoever names this version next names it as the contents of the file that he knows.
  for (Ino way : followed.way) TRYV(put_moved_if_new(state_.rows, way, change.version, target));
  if (origin != 0) {
    TRY(origin, resolve_alias(state_.rows, origin));
    TRYV(put_moved_if_new(state_.rows, origin, change.version, target));
  }
  return target;
}

// The edited contents are the change's version now.
Result<void> ContentApplier::finish(ExtentEdit& edit, VersionKeeper& keeper, Ino file, Inode& inode,
                                    const ContentChange& change) {
  TRYV(edit.finish());
  TRYV(keeper.finish(change.version));
  inode.size = change.size;
  inode.version = change.version;
  put_inode(state_.rows, file, inode);
  return {};
}

Result<void> ContentApplier::update(Ino file, Inode& inode, const ContentChange& change) {
  VersionKeeper keeper(state_.rows, file, inode.version, inode.size);
  ExtentEdit edit(state_.rows, file, inode, &keeper);
  std::vector<Patch> changed = patches(change);
  TRYV(edit.assign(changed));
  if (change.size < inode.size) TRYV(edit.cut(change.size, inode.size));
  return finish(edit, keeper, file, inode, change);
}

// Its remover did not see this version, so the file comes back with it: not with what he removed.
Result<void> ContentApplier::bring_back(Ino file, const ContentChange& change) {
  TRY(bool revived, state_.revive(file));
  if (!revived) return {};
  TRY(Inode inode, get_inode(state_.rows, file));
  if (inode.version == change.version) return {};  // he only saw it
  TRY(std::optional<VersionExtents> base, open_version(state_.rows, file, inode, inode.version, change.base));
  VersionKeeper keeper(state_.rows, file, inode.version, inode.size);
  ExtentEdit edit(state_.rows, file, inode, &keeper);
  TRYV(edit.become(ChangedExtents(base ? &*base : nullptr, change)));
  return finish(edit, keeper, file, inode, change);
}

Result<Ino> ContentApplier::conflict(Ino named, Ino file, const Inode& inode, const ContentChange& change,
                                     Where where) {
  const bool aside = where != Where::kThere;
  TRY(std::optional<VersionExtents> base, open_version(state_.rows, file, inode, inode.version, change.base));
  ChangedExtents theirs(base ? &*base : nullptr, change);
  if (change.size == inode.size && !aside) {
    TRY(bool same, same_extents(theirs, FileExtents(state_.rows, file, inode)));
    if (same) {
      TRYV(VersionKeeper(state_.rows, file, change.version, change.size).finish(inode.version));
      return file;
    }
  }
  TRY(Ino copy_ino, state_.derive_ino(named));
  Inode copy = inode;
  copy.nlink = 0;
  copy.parent = 0;
  copy.cookie = 0;
  copy.has_xattrs = false;
  copy.only.reset();
  copy.chunks.clear();
  copy.blocks = false;
  copy.origin = inode.origin != 0 ? inode.origin : file;
  copy.size = change.size;
  copy.version = where == Where::kSeenAside ? copy_ino : change.version;  // what was seen is what it was, too
  ExtentEdit edit(state_.rows, copy_ino, copy);
  TRYV(edit.become(theirs));
  TRYV(edit.finish());
  if (inode.has_xattrs) {
    TRY(std::vector<Xattr> xattrs, list_xattrs(state_.rows, file));
    put_xattrs(state_.rows, copy_ino, copy, xattrs);
  }
  put_inode(state_.rows, copy_ino, copy);
  state_.add_loose(copy_ino, {ApplyState::Origin::kCopy, {aside ? named : file, {}}});
  return copy_ino;
}

}  // namespace coffer::model
