// fsync under fsync=remote: many callers, one wait for the store.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "fs/fuse/deferred.h"

namespace coffer::fuse {

// Requests whose data is durable here already and that now wait for the store, on a thread of their own: one round of
// `sync` answers all that came before it began. How many there are is bounded by the threads that call fsync.
// An interrupted caller gets EINTR, and his data goes to the store all the same. Thread-safe.
class BatchedSyncs {
 public:
  explicit BatchedSyncs(std::function<Result<void>()> sync);
  // Answers what waits with EINTR; waits for the round that is under way.
  ~BatchedSyncs();

  void add(fuse_req_t req);

 private:
  void work();

  const std::function<Result<void>()> sync_;
  Mutex mutex_{Rank::kLeaf};
  CondVar changed_;
  std::vector<std::shared_ptr<Deferred>> waiting_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::jthread worker_;
};

}  // namespace coffer::fuse
