// Threads for the few operations that must wait for the kernel itself, which a FUSE worker must not.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "fs/fuse/deferred.h"

namespace coffer::fuse {

// Jobs run in the order in which they came, each on the next free thread. How many wait is bounded by the threads that
// make such calls. An interrupted caller gets EINTR at once, and a job whose turn comes only then is not run. Thread-safe.
class Helpers {
 public:
  static constexpr int kThreads = 4;

  Helpers();
  // Answers what waits with EINTR; waits for the jobs under way.
  ~Helpers();

  // `job` works, claims the request, and replies if it got it.
  void add(fuse_req_t req, std::function<void(Deferred&)> job);

 private:
  using Job = std::pair<std::shared_ptr<Deferred>, std::function<void(Deferred&)>>;
  void work();

  Mutex mutex_{Rank::kLeaf};
  CondVar changed_;
  std::deque<Job> waiting_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;
};

}  // namespace coffer::fuse
