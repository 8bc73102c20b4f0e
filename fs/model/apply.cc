#include "fs/model/apply.h"

#include <algorithm>

#include "crypto/hash.h"
#include "fs/model/apply_moves.h"
#include "fs/model/apply_state.h"

namespace coffer::model {

Result<std::optional<Inode>> ApplyState::find(Ino ino) const {
  TRY(std::optional<Bytes> row, rows.get(inode_key(ino)));
  if (!row) return std::nullopt;
  TRY(Inode inode, decode_inode(*row));
  if (inode.nlink == 0 && !is_loose(ino)) return std::nullopt;  // removed, and open here
  return inode;
}

void ApplyState::add_loose(Ino ino, Loose how) {
  if (loose_.emplace(ino, std::move(how)).second) loose_order_.push_back(ino);
}

Result<bool> ApplyState::revive(Ino ino) {
  TRY(std::optional<Tombstone> t, get_tombstone(rows, ino));
  if (!t) return false;
  Inode inode = std::move(t->inode);
  Place place{inode.parent, std::move(t->name)};
  TRY(std::optional<Bytes> row, rows.get(inode_key(ino)));
  Version map_version = t->map_version;
  if (row) {  // it is still open here, and may have been written to since: its extents are the rows'
    TRY(Inode open, decode_inode(*row));
    inode.only = open.only;
    inode.chunks = open.chunks;
    inode.blocks = open.blocks;
    inode.has_xattrs = open.has_xattrs;
    map_version = open.version;
  }
  if (inode.is_regular() && map_version != inode.version) {
    Inode present = inode;
    present.version = map_version;
    TRY(std::optional<VersionExtents> known, open_version(rows, ino, present, map_version, inode.version));
    if (known) {
      // The local version stays reachable for nobody; the one that takes its place here is that which all others have.
      ExtentEdit edit(rows, ino, inode);
      TRYV(edit.become(*known));
      TRYV(edit.finish());
      TRYV(drop_displaced(rows, ino, inode.version));
    }
  }
  put_xattrs(rows, ino, inode, t->xattrs);
  inode.nlink = inode.is_directory() ? 2 : 0;
  inode.parent = 0;
  inode.cookie = 0;
  rows.erase(tombstone_key(ino));
  rows.put(inode_key(ino), encode(inode));
  add_loose(ino, {Origin::kRevived, std::move(place)});
  if (inode.is_regular()) out.touch.contents.push_back(ino);
  out.touch.attributes.push_back(ino);
  return true;
}

Result<void> ApplyState::discard(Ino ino) {
  TRY(Inode inode, get_inode(rows, ino));
  TRYV(erase_extents(rows, ino, inode));
  if (inode.has_xattrs) rows.erase(xattr_key(ino));
  rows.erase(inode_key(ino));
  settle(ino);
  return {};
}

Result<Ino> ApplyState::derive_ino(Ino from) const {
  for (uint64_t attempt = 0;; ++attempt) {
    Bytes seed;
    Writer w(seed);
    w.string("coffer conflict copy");
    w.id(author.record);
    w.u64(from);
    w.u64(attempt);
    Hash h = blake2b(seed);
    // The uppermost bit is set, so it is neither 0 nor the root.
    Ino ino = Reader(h.view()).u64() | 1ull << 63;
    TRY(std::optional<Bytes> inode, rows.get(inode_key(ino)));
    TRY(std::optional<Bytes> tombstone, rows.get(tombstone_key(ino)));
    TRY(std::optional<Bytes> alias, rows.get(alias_key(ino)));
    if (!inode && !tombstone && !alias) return ino;
  }
}

Result<bool> ApplyState::has_contents(Ino ino, Version version) const {
  TRY(std::optional<Inode> inode, find(ino));
  if (inode) return inode->is_regular() && inode->version == version;
  TRY(std::optional<Tombstone> t, get_tombstone(rows, ino));
  return t && t->inode.is_regular() && t->inode.version == version;
}

Result<ApplyState::Followed> ApplyState::follow(Ino ino, Version version) const {
  TRY(Ino at, resolve_alias(rows, ino));
  Followed followed{{at}};
  while (true) {
    TRY(bool present, has_contents(at, version));
    if (present) return followed;
    TRY(std::optional<Displaced> d, get_displaced(rows, at, version));
    if (!d || d->moved_to == 0) return followed;
    TRY(at, resolve_alias(rows, d->moved_to));
    if (std::find(followed.way.begin(), followed.way.end(), at) != followed.way.end()) return followed;
    followed.way.push_back(at);
  }
}

namespace {

Inode new_inode(const InodeChange& c) {
  Inode i;
  i.type = c.type;
  i.mode = c.mode.value_or(0);
  i.uid = c.uid.value_or(0);
  i.gid = c.gid.value_or(0);
  i.rdev = c.rdev.value_or(0);
  i.atime = c.atime.value_or(WallTime{});
  i.mtime = c.mtime.value_or(WallTime{});
  i.ctime = c.ctime.value_or(WallTime{});
  i.btime = c.btime.value_or(WallTime{});
  if (i.is_directory()) {
    i.nlink = 2;
    i.next_cookie = kFirstCookie;
  }
  if (c.target) {
    i.target = *c.target;
    i.size = i.target.size();
  }
  return i;
}

// Merges changes into sorted attributes. What would make them too many in sum is left out.
void merge_xattrs(std::vector<Xattr>& list, const std::vector<XattrChange>& changes) {
  size_t total = 0;
  for (const Xattr& x : list) total += x.name.size() + x.value.size();
  for (const XattrChange& c : changes) {
    auto it = std::lower_bound(list.begin(), list.end(), c.name,
                               [](const Xattr& x, const std::string& name) { return x.name < name; });
    const bool there = it != list.end() && it->name == c.name;
    const size_t old = there ? c.name.size() + it->value.size() : 0;
    if (!c.value) {
      if (!there) continue;
      list.erase(it);
      total -= old;
      continue;
    }
    const size_t size = c.name.size() + c.value->size();
    if (total - old + size > kXattrTotalMax) continue;
    total = total - old + size;
    if (there)
      it->value = *c.value;
    else
      list.insert(it, Xattr{c.name, *c.value});
  }
}

class Applier {
 public:
  Applier(Rows& rows, const ChangeSet& changes, const Author& author, Applied& out)
      : state_(rows, changes, author, out) {}

  Result<void> run() {
    TRYV(make_root_if_missing());
    TRYV(move_frames(state_.rows, state_.changes.moves));
    TRYV(state_.find_families());
    for (const InodeChange& c : state_.changes.inodes)
      if (c.kind == InodeChange::Kind::kMade) TRYV(make_inode(c));
    ContentApplier contents(state_);
    std::vector<Ino> files(state_.changes.inodes.size());
    for (size_t i = 0; i < files.size(); ++i) {
      const InodeChange& c = state_.changes.inodes[i];
      const bool aside = state_.is_aside(c.ino);
      if (!c.content || made_.contains(c.ino) || (c.only_seen() && !aside)) continue;
      TRY(Ino ino, resolve_alias(state_.rows, c.ino));
      if (c.origin != 0) {
        TRY(bool known, is_known(ino));
        if (!known) {
          TRY(ino, resolve_alias(state_.rows, c.origin));
        }
      }
      TRY(files[i], contents.apply(ino, *c.content,
                                   !aside          ? ContentApplier::Where::kThere
                                   : c.only_seen() ? ContentApplier::Where::kSeenAside
                                                   : ContentApplier::Where::kAside));
    }
    TRYV(NameApplier(state_).run());
    for (size_t i = 0; i < files.size(); ++i) {
      const InodeChange& c = state_.changes.inodes[i];
      if (c.kind != InodeChange::Kind::kRemoved && !made_.contains(c.ino) && !c.only_seen())
        TRYV(change_attributes(c, files[i]));
    }
    return {};
  }

 private:
  Result<void> make_root_if_missing() {
    TRY(std::optional<Bytes> root, state_.rows.get(inode_key(kRootIno)));
    if (root) return {};
    for (const InodeChange& c : state_.changes.inodes) {
      if (c.ino != kRootIno || c.kind != InodeChange::Kind::kMade) continue;
      Inode inode = new_inode(c);
      TRYV(put_new(c, inode));
      return {};
    }
    make_root(state_.rows, 0755, 0, 0, state_.author.when);
    return {};
  }

  Result<bool> is_known(Ino ino) {
    TRY(std::optional<Inode> inode, state_.find(ino));
    if (inode) return true;
    TRY(std::optional<Bytes> tombstone, state_.rows.get(tombstone_key(ino)));
    return tombstone.has_value();
  }

  Result<void> put_new(const InodeChange& c, Inode& inode) {
    if (!c.xattrs.empty() || inode.has_xattrs) {
      std::vector<Xattr> xattrs;
      merge_xattrs(xattrs, c.xattrs);
      put_xattrs(state_.rows, c.ino, inode, xattrs);
    }
    put_inode(state_.rows, c.ino, inode);
    made_.insert(c.ino);
    state_.out.touch.attributes.push_back(c.ino);
    return {};
  }

  // An inode that is known already is changed instead: two logs can come to make the same one when a replica is copied.
  // One that was removed was brought back by the author. It becomes what it would be without a tombstone; but whoever has
  // not seen the removal may name its earlier versions still.
  Result<void> make_inode(const InodeChange& c) {
    if (made_.contains(c.ino)) return {};
    TRY(Ino ino, resolve_alias(state_.rows, c.ino));
    TRY(std::optional<Inode> known, state_.find(c.ino));
    if (known || ino != c.ino) return {};
    TRY(std::optional<Tombstone> tombstone, get_tombstone(state_.rows, c.ino));
    TRY(std::optional<Bytes> open, state_.rows.get(inode_key(c.ino)));
    if (open && !tombstone) TRYV(drop_open(c.ino, *open));
    Inode inode = new_inode(c);
    const Version version = c.content ? c.content->version : 0;
    std::optional<VersionKeeper> keeper;
    if (tombstone) {
      if (tombstone->inode.type != c.type || (version != 0 && tombstone->inode.version == version)) return {};
      TRYV(state_.revive(c.ino));
      state_.detach_anew(c.ino);
      TRY(const Inode old, get_inode(state_.rows, c.ino));
      inode.only = old.only;
      inode.chunks = old.chunks;
      inode.blocks = old.blocks;
      inode.has_xattrs = old.has_xattrs;
      if (inode.is_regular()) keeper.emplace(state_.rows, c.ino, old.version, old.size);
    }
    if (inode.is_regular()) {
      std::vector<Patch> pieces;
      if (c.content)
        for (const ContentPiece& p : c.content->pieces)
          if (p.extent) pieces.push_back({p.offset, p.offset + p.length, &*p.extent});
      ExtentEdit edit(state_.rows, c.ino, inode, keeper ? &*keeper : nullptr);
      if (keeper) TRYV(edit.cut(0, kSizeMax));
      TRYV(edit.assign(pieces));
      TRYV(edit.finish());
      if (keeper) TRYV(keeper->finish(version));
      inode.size = c.content ? c.content->size : 0;
      inode.version = version;
      inode.origin = c.origin;
      if (c.origin != 0) {
        TRY(Ino origin, resolve_alias(state_.rows, c.origin));
        TRYV(put_moved_if_new(state_.rows, origin, version, c.ino));
      }
      state_.out.touch.contents.push_back(c.ino);
    }
    TRYV(put_new(c, inode));
    state_.add_loose(c.ino, {ApplyState::Origin::kMade, {}});
    return {};
  }

  // What nobody else knew and is unlinked, but still open here, gives way to what others make of it: a copy of this machine
  // has published it before it was removed. Who has it open here was taken out before (lift_orphan).
  Result<void> drop_open(Ino ino, BytesView row) {
    TRY(const Inode inode, decode_inode(row));
    TRYV(erase_extents(state_.rows, ino, inode));
    if (inode.has_xattrs) state_.rows.erase(xattr_key(ino));
    state_.rows.erase(inode_key(ino));
    return {};
  }

  // `file`: where the contents went, if it changed them.
  Result<void> change_attributes(const InodeChange& c, Ino file) {
    TRY(Ino ino, resolve_alias(state_.rows, c.ino));
    // Times belong to contents: with a version that lives in another file, they go there.
    const bool elsewhere = file != 0 && file != ino;
    TRYV(change_attributes(c, ino, !elsewhere));
    if (elsewhere) TRYV(change_attributes(c, file, true));
    return {};
  }

  static void change(Inode& inode, std::vector<Xattr>& xattrs, const InodeChange& c, bool times) {
    if (c.mode) inode.mode = *c.mode;
    if (c.uid) inode.uid = *c.uid;
    if (c.gid) inode.gid = *c.gid;
    if (times) {
      if (c.atime) inode.atime = *c.atime;
      if (c.mtime) inode.mtime = *c.mtime;
      if (c.ctime) inode.ctime = *c.ctime;
    }
    merge_xattrs(xattrs, c.xattrs);
  }

  Result<void> change_attributes(const InodeChange& c, Ino ino, bool times) {
    TRY(std::optional<Inode> inode, state_.find(ino));
    if (inode) {
      if (inode->type != c.type) return {};
      std::vector<Xattr> xattrs;
      if (!c.xattrs.empty()) {
        TRY(xattrs, list_xattrs(state_.rows, ino));
      }
      change(*inode, xattrs, c, times);
      if (!c.xattrs.empty()) put_xattrs(state_.rows, ino, *inode, xattrs);
      put_inode(state_.rows, ino, *inode);
      state_.out.touch.attributes.push_back(ino);
      if (times && inode->is_regular() && (c.mtime || c.ctime || c.atime)) state_.out.touch.contents.push_back(ino);
      return {};
    }
    // Attributes alone do not bring a removed file back, as its remover would not have kept it for them; but if something
    // else does, it has them.
    TRY(std::optional<Tombstone> t, get_tombstone(state_.rows, ino));
    if (!t || t->inode.type != c.type) return {};
    change(t->inode, t->xattrs, c, times);
    state_.rows.put(tombstone_key(ino), encode(*t));
    return {};
  }

  ApplyState state_;
  std::unordered_set<Ino> made_;  // by this record
};

}  // namespace

Result<Applied> apply(Rows& rows, const ChangeSet& changes, const Author& author) {
  if (!is_well_formed(changes)) return fail(Code::kCorrupt, "malformed changes");
  Applied out;
  TRYV(Applier(rows, changes, author, out).run());
  return out;
}

}  // namespace coffer::model
