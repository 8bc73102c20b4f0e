#include "fs/fuse/nodes.h"

#include <algorithm>

namespace coffer::fuse {

Nodes::Nodes() {
  Shard& shard = shard_of(model::kRootIno);
  MutexLock lock(shard.mutex);
  shard.lookups.add(model::kRootIno, 1);
}

bool Nodes::counted(NodeId id) const {
  const Shard& shard = shard_of(id);
  MutexLock lock(shard.mutex);
  return shard.lookups.contains(id);
}

NodeId Nodes::current(Ino ino) const {
  auto it = renumbered_.find(ino);
  if (it != renumbered_.end()) return it->second.current;
  return ino < kFirstAlias ? ino : 0;  // 0: acquire() will make one
}

Ino Nodes::ino_of(NodeId id) const {
  auto it = aliases_.find(id);
  return it == aliases_.end() ? id : it->second;
}

NodeId Nodes::renumber(Ino ino) {
  auto [it, fresh] = renumbered_.try_emplace(ino);
  if (fresh) {
    ++special_;
    if (ino < kFirstAlias) it->second.older.push_back(ino);
  } else {
    it->second.older.push_back(it->second.current);
  }
  it->second.current = next_alias_++;
  aliases_[it->second.current] = ino;
  return it->second.current;
}

std::optional<NodeId> Nodes::acquire(Ino ino, uint64_t ticket) {
  auto count = [this](NodeId id) {
    Shard& shard = shard_of(id);
    MutexLock lock(shard.mutex);
    shard.lookups.add(id, 1);
    return id;
  };
  {
    SharedLock lock(mutex_);
    if (ticket_.load(std::memory_order_relaxed) != ticket) return std::nullopt;
    // A foreign inode number could look like one of our aliases: it gets an alias as well.
    if (ino < kFirstAlias || renumbered_.contains(ino)) return count(current(ino));
  }
  ExclusiveLock lock(mutex_);
  if (ticket_.load(std::memory_order_relaxed) != ticket) return std::nullopt;
  return count(renumbered_.contains(ino) ? current(ino) : renumber(ino));
}

std::optional<Ino> Nodes::release(NodeId id, uint64_t count) {
  if (id == model::kRootIno) return std::nullopt;
  {
    Shard& shard = shard_of(id);
    MutexLock lock(shard.mutex);
    if (shard.lookups.subtract(id, count) > 0) return std::nullopt;
  }
  // mark_unlinked() raises special_ before it looks at the count, so one of the two sees the other.
  if (special_.load() == 0) return std::nullopt;
  ExclusiveLock lock(mutex_);
  if (counted(id)) return std::nullopt;  // looked up again meanwhile
  Ino ino = ino_of(id);
  forget_number(id, ino);
  if (renumbered_.contains(ino) || counted(current(ino)) || unlinked_.erase(ino) == 0) return std::nullopt;
  --special_;
  return ino;
}

void Nodes::forget_number(NodeId id, Ino ino) {
  auto it = renumbered_.find(ino);
  if (it == renumbered_.end()) return;
  Renumbered& numbers = it->second;
  if (id != numbers.current) {
    std::erase(numbers.older, id);
    aliases_.erase(id);
  }
  if (!numbers.older.empty() || counted(numbers.current)) return;
  aliases_.erase(numbers.current);
  renumbered_.erase(it);
  --special_;
}

Nodes::Resolved Nodes::resolve(NodeId id) const {
  if (special_.load(std::memory_order_acquire) == 0) return {id, false};
  SharedLock lock(mutex_);
  Ino ino = ino_of(id);
  return {ino, current(ino) != id};
}

std::optional<NodeId> Nodes::known(Ino ino) const {
  SharedLock lock(mutex_);
  NodeId id = current(ino);
  if (!counted(id)) return std::nullopt;
  return id;
}

bool Nodes::mark_unlinked(Ino ino) {
  ExclusiveLock lock(mutex_);
  if (!unlinked_.insert(ino).second) return true;
  ++special_;
  auto it = renumbered_.find(ino);
  bool is_known = counted(current(ino)) || (it != renumbered_.end() && !it->second.older.empty());
  if (is_known) return true;
  unlinked_.erase(ino);
  --special_;
  return false;
}

void Nodes::mark_linked(Ino ino) {
  if (special_.load() == 0) return;
  ExclusiveLock lock(mutex_);
  if (unlinked_.erase(ino) > 0) --special_;
}

void Nodes::supersede(Ino ino) {
  ExclusiveLock lock(mutex_);
  ++ticket_;
  if (counted(current(ino))) renumber(ino);
}

std::vector<Ino> Nodes::take_unlinked() {
  ExclusiveLock lock(mutex_);
  std::vector<Ino> out(unlinked_.begin(), unlinked_.end());
  special_ -= unlinked_.size();
  unlinked_.clear();
  return out;
}

size_t Nodes::size() const {
  size_t n = 0;
  for (const Shard& shard : shards_) {
    MutexLock lock(shard.mutex);
    n += shard.lookups.size();
  }
  return n;
}

}  // namespace coffer::fuse
