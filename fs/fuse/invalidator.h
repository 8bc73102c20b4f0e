// Tells the kernel what changed behind its back.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "fs/fuse/kernel_caches.h"
#include "fs/fuse/nodes.h"
#include "fs/replica/replica.h"

namespace coffer::fuse {

// Owns a few threads that do the telling; nobody waits for them. Work is gathered by directory: one directory is told by
// one thread at a time, so as many but one may be stuck in the kernel before the others are delayed. The queue has an
// entry for each name that news touched in a directory that the kernel knows: it is bounded by the news.
// Thread-safe.
class Invalidator {
 public:
  static constexpr int kThreads = 4;

  // The replica and `kernel` outlive stop().
  Invalidator(Replica& replica, std::shared_ptr<Nodes> nodes, KernelCaches& kernel);
  ~Invalidator();
  // What is queued is dropped; waits for what is under way. Idempotent.
  void stop();

  // The state has changed already, and node ids are superseded. Queues what the kernel is to be told. Called without locks.
  void push(const model::Touch& touch);
  // Waits until everything pushed before has been told.
  void drain();

 private:
  struct Name {
    std::string name;
    bool gently = false;
  };
  struct Directory {
    std::vector<Name> names;
    std::vector<NodeId> attributes;  // of what is in it; told last
  };

  void queue_name(const model::Name& name);
  void queue_contents(Ino ino);
  void queue_attributes(Ino ino);
  template <typename Change>
  void queue(NodeId dir, Change&& change);
  void work();
  void tell(NodeId dir, const Directory& what);

  Replica& replica_;
  const std::shared_ptr<Nodes> nodes_;
  KernelCaches& kernel_;

  Mutex mutex_{Rank::kLeaf};
  CondVar changed_;
  std::unordered_map<NodeId, Directory> directories_ GUARDED_BY(mutex_);  // 0: in no directory
  std::deque<NodeId> order_ GUARDED_BY(mutex_);                           // of directories_
  std::unordered_set<NodeId> busy_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;
};

}  // namespace coffer::fuse
