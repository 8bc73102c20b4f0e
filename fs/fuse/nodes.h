// The kernel's numbers for inodes.
//
// The kernel knows an inode by a node id, and tells with forget() when it no longer does. Normally the node id is the
// inode number. With the writeback cache the kernel is the authority on size, times and cached pages of a regular file
// that it holds, and news of another machine cannot be merged into that. So when news changes such a file, the node id
// that the kernel holds is bound to another inode, which has the contents as they were: whoever has it open stays with
// them, and the next lookup of a name gets a new node id with fresh attributes and an empty page cache.
//
// A node id is never given out for another file while the kernel knows it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "fs/fuse/count_table.h"
#include "fs/model/types.h"

namespace coffer::fuse {

using model::Ino;
using NodeId = uint64_t;

// Thread-safe.
class Nodes {
 public:
  // The root is known from the start, and never forgotten.
  Nodes();

  // What has been superseded so far, as a number. Taken before the attributes of an inode are read that will be told to
  // the kernel together with its node id.
  uint64_t ticket() const { return ticket_.load(std::memory_order_acquire); }
  // The node id by which the kernel will know `ino`, and one lookup more of it. nullopt, and nothing counted, when some
  // inode was superseded since `ticket`: then what was read may be older than the node id, and is to be read again.
  std::optional<NodeId> acquire(Ino ino, uint64_t ticket);
  // Takes `count` lookups back. The inode, when the kernel knows no node id of it any more and it was marked unlinked:
  // the caller then tells the replica.
  std::optional<Ino> release(NodeId id, uint64_t count);

  struct Resolved {
    Ino ino = 0;
    Ino number = 0;           // the inode number that applications see
    bool superseded = false;  // others get another node id for this inode
  };
  Resolved resolve(NodeId id) const;
  // The node id that acquire() would give now, if the kernel knows it.
  std::optional<NodeId> known(Ino ino) const;

  // The inode has no name any more. False: the kernel does not know it, so nobody will ever release() it.
  bool mark_unlinked(Ino ino);
  // It got one again.
  void mark_linked(Ino ino);
  // News changes this regular file: the node ids by which the kernel knows it are those of `keeper` from now on, which is
  // not known yet, or of the file itself still. False: the kernel does not know it, or is not told.
  bool supersede(Ino ino, Ino keeper);
  // What the kernel knows as `from` is `to` from now on, unless it was already.
  void rebind(Ino from, Ino to);

  // At the end of a mount, when no release() will come: the inodes that wait for one.
  std::vector<Ino> take_unlinked();
  size_t size() const;

 private:
  struct Shard {
    mutable Mutex mutex{Rank::kLeaf};
    CountTable lookups GUARDED_BY(mutex);  // by node id
  };
  // The node ids of an inode that does not just have its number.
  struct Numbers {
    NodeId current = 0;
    std::vector<NodeId> older;  // that the kernel knows still
  };

  static constexpr size_t kShards = 16;
  static constexpr NodeId kFirstAlias = NodeId{1} << 63;

  Shard& shard_of(NodeId id) { return shards_[(id ^ (id >> 24)) % kShards]; }
  const Shard& shard_of(NodeId id) const { return shards_[(id ^ (id >> 24)) % kShards]; }
  bool counted(NodeId id) const;
  NodeId current(Ino ino) const REQUIRES_SHARED(mutex_);
  Ino ino_of(NodeId id) const REQUIRES_SHARED(mutex_);
  bool is_known(Ino ino) const REQUIRES_SHARED(mutex_);
  NodeId renumber(Ino ino) REQUIRES(mutex_);
  void forget_number(NodeId id, Ino ino) REQUIRES(mutex_);
  bool move_numbers(Ino from, Ino to) REQUIRES(mutex_);

  std::atomic<uint64_t> ticket_{0};
  std::atomic<size_t> special_{0};  // size of renumbered_ and unlinked_: while there are none, an id is an inode number
  mutable SharedMutex mutex_{Rank::kNodes};
  std::unordered_map<Ino, Numbers> renumbered_ GUARDED_BY(mutex_);
  std::unordered_map<NodeId, Ino> aliases_ GUARDED_BY(mutex_);  // node ids that are not the number of their inode
  std::unordered_set<Ino> unlinked_ GUARDED_BY(mutex_);
  NodeId next_alias_ GUARDED_BY(mutex_) = kFirstAlias;
  std::array<Shard, kShards> shards_;
};

}  // namespace coffer::fuse
