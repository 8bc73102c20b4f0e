// Names, attributes and extended attributes: thin steps from the model's operations to committed rows.
#include "crypto/random.h"
#include "fs/model/entries.h"
#include "fs/replica/impl.h"

namespace coffer {

using model::Inode;
using model::Node;

namespace {

// Parts of the state that one listing may ask for before anybody needs them.
constexpr size_t kWishesOfAListing = 4;

}  // namespace

// Who waits for a directory's attributes is about to look into it: its entries come with them.
void Replica::Impl::wish_for_entries(Ino dir, std::string_view name) const {
  auto found = model::find_entry(*known_rows, dir, name);
  if (!found || !*found || (*found)->entry.type != model::FileType::kDirectory) return;
  std::vector<size_t> missing = parts.missing_of(model::entry_prefix((*found)->entry.ino));
  if (missing.size() > kWishesOfAListing) missing.resize(kWishesOfAListing);
  parts.wish(missing);
}

Result<Node> Replica::lookup(Ino dir, std::string_view name) {
  const uint64_t drops = impl_->drops;
  auto node = [&]() -> Result<Node> {
    SharedLock lock(impl_->state);
    return model::lookup(*impl_->known_rows, dir, name);
  }();
  if (node)
    impl_->overlay(node->ino, node->inode, drops);
  else if (node.error().code() == Code::kUnavailable)
    impl_->wish_for_entries(dir, name);
  return node;
}

Result<Inode> Replica::attributes(Ino ino) {
  const uint64_t drops = impl_->drops;
  auto inode = [&]() -> Result<Inode> {
    SharedLock lock(impl_->state);
    return model::get_inode(*impl_->known_rows, ino);
  }();
  if (inode) impl_->overlay(ino, *inode, drops);
  return inode;
}

Result<Node> Replica::make(Ino dir, std::string_view name, const model::NewInode& what) {
  TRYV(impl_->space->admit(0));
  return impl_->change([&](model::Transaction& tx) NO_THREAD_SAFETY_ANALYSIS {
    const Ino ino = what.type == model::FileType::kDirectory ? impl_->fresh_directory_ino() : impl_->fresh_ino();
    return model::make(tx, dir, name, what, ino, random_u64(), impl_->now());
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
    if (unlinked.last) TRYV(impl_->need_contents(unlinked.ino));
    keep_orphan(tx, impl_->orphans, unlinked);
    return unlinked;
  });
}

Result<model::Unlinked> Replica::rmdir(Ino dir, std::string_view name) {
  return impl_->change([&](model::Transaction& tx) NO_THREAD_SAFETY_ANALYSIS -> Result<model::Unlinked> {
    TRY(model::Unlinked unlinked, model::rmdir(tx, dir, name, impl_->now()));
    if (unlinked.last) TRYV(impl_->need_contents(unlinked.ino));
    keep_orphan(tx, impl_->orphans, unlinked);
    return unlinked;
  });
}

Result<std::optional<model::Unlinked>> Replica::rename(Ino dir, std::string_view name, Ino new_dir,
                                                       std::string_view new_name, model::RenameMode mode) {
  // A rename over a name first seals and journals what was written to the file, so that a crash shows the old file or the
  // new one, never an empty one.
  if (impl_->file_count.load() > 0 || impl_->unnamed_count.load() > 0) {
    const uint64_t misses = PartWishes::misses();
    auto [source, replaces] = [&] {
      SharedLock lock(impl_->state);
      auto from = model::lookup(*impl_->known_rows, dir, name);
      auto to = model::lookup(*impl_->known_rows, new_dir, new_name);
      return std::pair(from ? from->ino : 0, to.has_value());
    }();
    if (misses != PartWishes::misses()) return fail(Code::kUnavailable, "a part of the state is not here yet");
    if (source != 0 && replaces) TRYV(impl_->seal_file(source));
  }
  return impl_->change([&](model::Transaction& tx) NO_THREAD_SAFETY_ANALYSIS -> Result<std::optional<model::Unlinked>> {
    TRY(auto unlinked, model::rename(tx, dir, name, new_dir, new_name, mode, impl_->now()));
    if (unlinked && unlinked->last) TRYV(impl_->need_contents(unlinked->ino));
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
  return model::list(*impl_->known_rows, dir, after, max);
}

Result<std::vector<Replica::ListedNode>> Replica::list_nodes(Ino dir, uint64_t after, size_t max) {
  const uint64_t drops = impl_->drops;
  std::vector<ListedNode> out;
  {
    SharedLock lock(impl_->state);
    TRY(auto entries, model::list(*impl_->known_rows, dir, after, max));
    out.reserve(entries.size());
    std::vector<size_t> wanted;
    for (auto& e : entries) {
      ListedNode n{e.cookie, std::move(e.entry.name), {e.entry.ino, {}}, e.entry.type, true};
      const std::string key = model::inode_key(e.entry.ino).bytes;
      if (auto missing = impl_->parts.missing_of(key); !missing.empty() && !impl_->parts.is_own(e.entry.ino)) {
        n.here = false;
        if (wanted.size() < kWishesOfAListing && (wanted.empty() || wanted.back() != missing.front()))
          wanted.push_back(missing.front());
      } else {
        TRY(n.node.inode, model::get_inode(*impl_->known_rows, e.entry.ino));
      }
      out.push_back(std::move(n));
    }
    // Who lists names often asks for what they lead to next.
    impl_->parts.wish(wanted);
  }
  for (ListedNode& n : out)
    if (n.here) impl_->overlay(n.node.ino, n.node.inode, drops);
  return out;
}

Result<std::vector<model::Name>> Replica::names_of(Ino ino) {
  SharedLock lock(impl_->state);
  return model::names_of(*impl_->known_rows, ino);
}

Result<Bytes> Replica::get_xattr(Ino ino, std::string_view name) {
  SharedLock lock(impl_->state);
  return model::get_xattr(*impl_->known_rows, ino, name);
}

Result<std::vector<model::Xattr>> Replica::list_xattrs(Ino ino) {
  SharedLock lock(impl_->state);
  return model::list_xattrs(*impl_->known_rows, ino);
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
