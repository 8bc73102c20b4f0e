// Names, attributes and extended attributes: thin steps from the model's operations to committed rows.
#include "crypto/random.h"
#include "fs/replica/impl.h"

namespace coffer {

using model::Inode;
using model::Node;

Result<Node> Replica::lookup(Ino dir, std::string_view name) {
  const uint64_t drops = impl_->drops;
  auto node = [&]() -> Result<Node> {
    SharedLock lock(impl_->state);
    return model::lookup(*impl_->table, dir, name);
  }();
  if (node) impl_->overlay(node->ino, node->inode, drops);
  return node;
}

Result<Inode> Replica::attributes(Ino ino) {
  const uint64_t drops = impl_->drops;
  auto inode = [&]() -> Result<Inode> {
    SharedLock lock(impl_->state);
    return model::get_inode(*impl_->table, ino);
  }();
  if (inode) impl_->overlay(ino, *inode, drops);
  return inode;
}

Result<Node> Replica::make(Ino dir, std::string_view name, const model::NewInode& what) {
  TRYV(impl_->space->admit(0));
  return impl_->change([&](model::Transaction& tx) NO_THREAD_SAFETY_ANALYSIS {
    return model::make(tx, dir, name, what, impl_->fresh_ino(), random_u64(), impl_->now());
  });
}

Result<Node> Replica::link(Ino ino, Ino dir, std::string_view name) {
  TRYV(impl_->space->admit(0));
  const uint64_t drops = impl_->drops;
  auto node = impl_->change([&](model::Transaction& tx) { return model::link(tx, ino, dir, name, impl_->now()); });
  if (node) impl_->overlay(ino, node->inode, drops);
  return node;
}

namespace {

// What lost its last link waits for forget(): until then it has a row that says so.
void keep_orphan(model::Transaction& tx, std::set<Ino>& orphans, const model::Unlinked& unlinked) {
  if (!unlinked.last) return;
  tx.put(orphan_key(unlinked.ino), {});
  orphans.insert(unlinked.ino);
}

}  // namespace

Result<model::Unlinked> Replica::unlink(Ino dir, std::string_view name) {
  return impl_->change([&](model::Transaction& tx) NO_THREAD_SAFETY_ANALYSIS -> Result<model::Unlinked> {
    TRY(model::Unlinked unlinked, model::unlink(tx, dir, name, impl_->now()));
    keep_orphan(tx, impl_->orphans, unlinked);
    return unlinked;
  });
}

Result<model::Unlinked> Replica::rmdir(Ino dir, std::string_view name) {
  return impl_->change([&](model::Transaction& tx) NO_THREAD_SAFETY_ANALYSIS -> Result<model::Unlinked> {
    TRY(model::Unlinked unlinked, model::rmdir(tx, dir, name, impl_->now()));
    keep_orphan(tx, impl_->orphans, unlinked);
    return unlinked;
  });
}

Result<std::optional<model::Unlinked>> Replica::rename(Ino dir, std::string_view name, Ino new_dir,
                                                       std::string_view new_name, model::RenameMode mode) {
  // A rename over a name first seals and journals what was written to the file, so that a crash shows the old file or the
  // new one, never an empty one.
  if (impl_->file_count.load() > 0) {
    auto [source, replaces] = [&] {
      SharedLock lock(impl_->state);
      auto from = model::lookup(*impl_->table, dir, name);
      auto to = model::lookup(*impl_->table, new_dir, new_name);
      return std::pair(from ? from->ino : 0, to.has_value());
    }();
    if (source != 0 && replaces) TRYV(impl_->seal_file(source));
  }
  return impl_->change([&](model::Transaction& tx) NO_THREAD_SAFETY_ANALYSIS -> Result<std::optional<model::Unlinked>> {
    TRY(auto unlinked, model::rename(tx, dir, name, new_dir, new_name, mode, impl_->now()));
    if (unlinked) keep_orphan(tx, impl_->orphans, *unlinked);
    return unlinked;
  });
}

Result<Inode> Replica::set_attributes(Ino ino, const model::SetAttributes& what) {
  const uint64_t drops = impl_->drops;
  auto inode =
      impl_->change([&](model::Transaction& tx) { return model::set_attributes(tx, ino, what, impl_->now()); });
  if (inode) impl_->overlay(ino, *inode, drops);
  return inode;
}

void Replica::forget(Ino ino) {
  {
    SharedLock lock(impl_->state);
    if (!impl_->orphans.contains(ino)) return;
  }
  impl_->drop_written(ino);
  auto erased = impl_->change([&](model::Transaction& tx) NO_THREAD_SAFETY_ANALYSIS -> Result<void> {
    if (impl_->orphans.erase(ino) == 0) return {};
    if (auto kept = impl_->keepers.find(ino); kept != impl_->keepers.end() && kept->second.copy == 0) {
      impl_->keepers.erase(kept);
      --impl_->keeper_count;
    }
    auto inode = model::get_inode(tx, ino);
    if (!inode || inode->nlink != 0) return {};  // the unlink did not commit, or news brought the file back
    // Others can only know it if it was there before the open generation.
    bool known = true;
    if (auto index = impl_->touched->index_of(model::inode_key(ino))) {
      TRY(auto before, model::before_image(*impl_->table, impl_->touched->generation(), *index));
      known = before.before.has_value();
    }
    TRYV(model::erase_inode(tx, ino, known));
    tx.erase(orphan_key(ino));
    return {};
  });
  // What fails here is erased at the next start: the orphan's row is still there.
  (void)erased;
}

Result<std::vector<model::ListedEntry>> Replica::list(Ino dir, uint64_t after, size_t max) {
  SharedLock lock(impl_->state);
  return model::list(*impl_->table, dir, after, max);
}

Result<std::vector<Replica::ListedNode>> Replica::list_nodes(Ino dir, uint64_t after, size_t max) {
  const uint64_t drops = impl_->drops;
  std::vector<ListedNode> out;
  {
    SharedLock lock(impl_->state);
    TRY(auto entries, model::list(*impl_->table, dir, after, max));
    out.reserve(entries.size());
    for (auto& e : entries) {
      TRY(Inode inode, model::get_inode(*impl_->table, e.entry.ino));
      out.push_back({e.cookie, std::move(e.entry.name), {e.entry.ino, std::move(inode)}});
    }
  }
  for (ListedNode& n : out) impl_->overlay(n.node.ino, n.node.inode, drops);
  return out;
}

Result<std::vector<model::Name>> Replica::names_of(Ino ino) {
  SharedLock lock(impl_->state);
  return model::names_of(*impl_->table, ino);
}

Result<Bytes> Replica::get_xattr(Ino ino, std::string_view name) {
  SharedLock lock(impl_->state);
  return model::get_xattr(*impl_->table, ino, name);
}

Result<std::vector<model::Xattr>> Replica::list_xattrs(Ino ino) {
  SharedLock lock(impl_->state);
  return model::list_xattrs(*impl_->table, ino);
}

Result<void> Replica::set_xattr(Ino ino, std::string_view name, BytesView value, model::XattrMode mode) {
  TRYV(impl_->space->admit(value.size()));
  return impl_->change(
      [&](model::Transaction& tx) { return model::set_xattr(tx, ino, name, value, mode, impl_->now()); });
}

Result<void> Replica::remove_xattr(Ino ino, std::string_view name) {
  return impl_->change([&](model::Transaction& tx) { return model::remove_xattr(tx, ino, name, impl_->now()); });
}

}  // namespace coffer
