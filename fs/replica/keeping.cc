// Versions that news takes away from under somebody who has the file open: kept for him, and given a name of their own when
// he changes them.
#include "base/log.h"
#include "crypto/random.h"
#include "fs/replica/impl.h"

namespace coffer {

using model::Inode;
using model::Name;

NewsGate::Hold Replica::hold_news() { return impl_->gate.hold(); }

void Replica::on_supersede(std::function<bool(Ino, Ino)> callback) { impl_->supersede_callback = std::move(callback); }

Result<std::vector<model::Orphan>> Replica::Impl::lift_orphans() const {
  std::vector<model::Orphan> out;
  for (Ino ino : orphans) {
    TRY(auto orphan, model::lift_orphan(*table, ino));
    if (orphan) out.push_back(std::move(*orphan));
  }
  return out;
}

bool Replica::Impl::is_seen_by_us(const model::Conflict& c) const {
  return c.seen && c.original != 0 && c.device == options.device_name;
}

Result<Replica::Impl::SeenCopies> Replica::Impl::seen_copies(const std::vector<model::Conflict>& conflicts,
                                                             const model::Transaction& tx) const {
  SeenCopies out;
  if (!supersede_callback) return out;
  for (size_t i = 0; i < conflicts.size(); ++i) {
    const model::Conflict& c = conflicts[i];
    TRY(auto row, tx.get(model::inode_key(c.copy)));
    if (!row) continue;
    TRY(Inode copy, model::decode_inode(*row));
    out.by_version.try_emplace(copy.version, SeenCopies::Copy{i, c.copy});
    if (is_seen_by_us(c)) out.of_ours.try_emplace(c.original, SeenCopies::Copy{i, c.copy});
  }
  return out;
}

Result<void> Replica::Impl::keep_superseded(Ino ino, const SeenCopies& copies, model::Transaction& tx) {
  if (!supersede_callback) return {};
  TRY(Inode old, model::get_inode(*table, ino));
  // What was pending here, or ours, may have become a conflict copy: that is where its author goes on.
  const auto same = copies.by_version.find(old.version);
  const auto ours = copies.of_ours.find(ino);
  const bool is_same = same != copies.by_version.end(), is_ours = ours != copies.of_ours.end();
  if (is_same || is_ours) {
    const bool take_ours = is_ours && (!is_same || ours->second.order < same->second.order);
    supersede_callback(ino, take_ours ? ours->second.ino : same->second.ino);
    return {};
  }
  const auto now_there = model::get_inode(tx, ino);
  if (now_there && now_there->nlink > 0 && now_there->version == old.version && now_there->size == old.size) {
    supersede_callback(ino, ino);  // only its times changed
    return {};
  }
  const Ino keeper = fresh_ino();
  if (!supersede_callback(ino, keeper)) return {};
  const bool was_named = old.nlink > 0;
  TRY(std::vector<Name> names, model::names_of(*table, ino));
  model::Orphan orphan;
  orphan.ino = keeper;
  TRY(orphan.extents, model::extents(*table, ino, 0, old.size));
  TRY(orphan.xattrs, model::list_xattrs(*table, ino));
  orphan.inode = std::move(old);
  orphan.inode.nlink = 0;
  orphan.inode.parent = orphan.inode.cookie = 0;
  TRYV(model::put_orphan(tx, orphan));
  tx.put(orphan_key(keeper), {});
  orphans.insert(keeper);
  if (!was_named) return {};  // removed by its holder, who expects no name for what he goes on writing
  Kept kept;
  if (!names.empty()) kept.home = std::move(names.front());
  keepers.emplace(keeper, std::move(kept));
  ++keeper_count;
  return {};
}

Result<Ino> Replica::writable(Ino ino) {
  Impl& r = *impl_;
  if (r.keeper_count.load() == 0) return ino;
  bool made = false;
  auto outcome = r.change([&](model::Transaction& tx) NO_THREAD_SAFETY_ANALYSIS -> Result<Name> {
    auto kept = r.keepers.find(ino);
    if (kept == r.keepers.end() || kept->second.copy != 0) return Name{};
    TRY(auto old, model::lift_orphan(tx, ino));
    if (!old) return fail(Code::kStale, "no such inode");
    Name home = kept->second.home;
    auto dir = model::get_inode(tx, home.dir);
    if (!dir || !dir->is_directory() || dir->nlink == 0) home.dir = model::kRootIno;
    const WallTime now = r.now();
    unsigned attempt = 0;
    TRY(std::string name, model::free_conflict_name(tx, home.dir, home.name, r.options.device_name, now, attempt));
    const Inode& was = old->inode;
    TRY(model::Node copy, model::make(tx, home.dir, name, {was.type, was.mode, was.uid, was.gid, 0, ""}, r.fresh_ino(),
                                      random_u64(), now));
    TRY(copy.inode, model::put_extents(tx, copy.ino, old->extents, was.size, random_u64(), now, true));
    copy.inode.gid = was.gid;
    copy.inode.atime = was.atime, copy.inode.mtime = was.mtime, copy.inode.btime = was.btime;
    model::put_xattrs(tx, copy.ino, copy.inode, old->xattrs);
    model::put_inode(tx, copy.ino, copy.inode);
    kept->second.copy = copy.ino;
    made = true;
    return Name{home.dir, name};
  });
  if (!outcome) return fail(outcome.error());
  if (made) {
    log_line(LogLevel::kInfo, "an open file was changed here and elsewhere: kept as a conflict copy");
    model::Touch touch;
    touch.names.push_back(std::move(*outcome));
    if (r.touch_callback) r.touch_callback(touch);
  }
  SharedLock lock(r.state);
  auto kept = r.keepers.find(ino);
  return kept == r.keepers.end() ? ino : kept->second.copy;
}

}  // namespace coffer
