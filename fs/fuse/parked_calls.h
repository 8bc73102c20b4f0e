// Upcalls that need a part of the state that is not here yet: no FUSE worker waits for the network.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <thread>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "fs/fuse/deferred.h"
#include "fs/fuse/upcall_meter.h"
#include "fs/fuse/wire.h"
#include "fs/replica/fetcher.h"

namespace coffer::fuse {

// An operation that fails for want of a part has had no effect. Its request is kept as the kernel sent it, and is handed to
// libfuse once more when the part is here. How many there are is bounded by what the kernel sends. Their answer otherwise:
// EINTR as soon as the caller is interrupted; ETIMEDOUT after the fetcher's bounded time without the part. Thread-safe.
class ParkedCalls {
 public:
  explicit ParkedCalls(Fetcher& fetcher);
  ~ParkedCalls();  // end()

  // The session whose requests come from here on; before the first.
  void serve(fuse_session* session) { session_ = session; }
  // Takes over the request that this thread is working on.
  void park(fuse_req_t req, Upcall upcall, std::set<size_t> parts);
  // Answers all with EINTR, and those that come later. The session goes after this.
  void end();
  size_t parked() const;

 private:
  struct Call {
    std::shared_ptr<Deferred> request;
    Upcall upcall;
    RawRequest raw;
    Result<void> outcome;
  };
  using CallPtr = std::shared_ptr<Call>;
  static constexpr int kThreads = 2;  // an operation may have to wait for the disk

  void work();
  void finish(const CallPtr& call);

  Fetcher& fetcher_;
  fuse_session* session_ = nullptr;

  mutable Mutex mutex_{Rank::kLeaf};
  CondVar changed_;
  std::unordered_set<CallPtr> calls_ GUARDED_BY(mutex_);
  std::deque<CallPtr> ready_ GUARDED_BY(mutex_);  // a subset of calls_
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;
};

}  // namespace coffer::fuse
