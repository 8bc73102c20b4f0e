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

// 0: acquire() will make one.
NodeId Nodes::current(Ino ino) const {
  auto it = renumbered_.find(ino);
  if (it != renumbered_.end()) return it->second.current;
  // A foreign inode number could look like one of our aliases; and another inode may have this one's number.
  return ino < kFirstAlias && !aliases_.contains(ino) ? ino : 0;
}

Ino Nodes::ino_of(NodeId id) const {
  auto it = aliases_.find(id);
  return it == aliases_.end() ? id : it->second;
}

bool Nodes::is_known(Ino ino) const {
  auto it = renumbered_.find(ino);
  return counted(current(ino)) || (it != renumbered_.end() && !it->second.older.empty());
}

// A new current node id.
NodeId Nodes::renumber(Ino ino) {
  const NodeId before = current(ino);
  auto [it, fresh] = renumbered_.try_emplace(ino);
  if (fresh) ++special_;
  if (before != 0 && counted(before))
    it->second.older.push_back(before);
  else
    aliases_.erase(before);
  it->second.current = next_alias_++;
  aliases_[it->second.current] = ino;
  return it->second.current;
}

// Binds all node ids that the kernel knows of `from` to `to`. False: there are none.
bool Nodes::move_numbers(Ino from, Ino to) {
  std::vector<NodeId> ids;
  if (auto it = renumbered_.find(from); it != renumbered_.end()) ids = it->second.older;
  const NodeId last = current(from);
  if (last != 0 && counted(last)) ids.push_back(last);
  if (renumbered_.erase(from) > 0) --special_;
  if (last != from) aliases_.erase(last);
  if (ids.empty()) return false;
  auto [it, fresh] = renumbered_.try_emplace(to);
  if (fresh) ++special_;
  Numbers& numbers = it->second;
  if (!fresh) ids.push_back(numbers.current);
  numbers.current = ids.back();
  ids.pop_back();
  numbers.older.insert(numbers.older.end(), ids.begin(), ids.end());
  for (NodeId id : numbers.older) aliases_[id] = to;
  aliases_[numbers.current] = to;
  return true;
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
    if (NodeId id = current(ino); id != 0) return count(id);
  }
  ExclusiveLock lock(mutex_);
  if (ticket_.load(std::memory_order_relaxed) != ticket) return std::nullopt;
  NodeId id = current(ino);
  return count(id != 0 ? id : renumber(ino));
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
  Numbers& numbers = it->second;
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
  if (special_.load(std::memory_order_acquire) == 0) return {id, id, false};
  SharedLock lock(mutex_);
  Ino ino = ino_of(id);
  return {ino, id < kFirstAlias ? id : ino, current(ino) != id};
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
  if (is_known(ino)) return true;
  unlinked_.erase(ino);
  --special_;
  return false;
}

void Nodes::mark_linked(Ino ino) {
  if (special_.load() == 0) return;
  ExclusiveLock lock(mutex_);
  if (unlinked_.erase(ino) > 0) --special_;
}

bool Nodes::supersede(Ino ino, Ino keeper) {
  ExclusiveLock lock(mutex_);
  ++ticket_;
  if (!is_known(ino)) return false;
  if (keeper == ino) {
    renumber(ino);
    return true;
  }
  // It is looked up again by an id of its own: the kernel may still hold another by its number.
  return move_numbers(ino, keeper);
}

void Nodes::rebind(Ino from, Ino to) {
  ExclusiveLock lock(mutex_);
  ++ticket_;
  if (unlinked_.erase(from) > 0) --special_;
  move_numbers(from, to);
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
