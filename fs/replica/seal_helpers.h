// Threads that help to seal: a mebibyte that was written to a file is sixteen frames, and each processor can seal some.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace coffer {

// Thread-safe. Several may call run() at once; how much waits is bounded by them, since each waits for his own.
class SealHelpers {
 public:
  static constexpr size_t kThreads = 2;
  static constexpr size_t kWorthIt = 4;  // jobs; fewer are done before a thread has woken up

  SealHelpers();
  ~SealHelpers();

  // Calls job(i) for each i < count, in no order, on this thread and on those that are free. Returns when all are done. `job`
  // throws nothing. The caller may hold locks that it does not take.
  void run(size_t count, const std::function<void(size_t)>& job);

 private:
  struct Task {
    const std::function<void(size_t)>* job;
    size_t count;
    size_t next = 0;  // the first that nobody has begun
    size_t active = 0;
  };
  // Does jobs of `task` until none is left to be begun; without the lock meanwhile.
  void work_on(Task& task) REQUIRES(mutex_);
  void help();

  Mutex mutex_{Rank::kLeaf};
  CondVar wake_;                                // there are jobs
  CondVar done_;                                // somebody has ended his last of a task
  std::deque<Task*> tasks_ GUARDED_BY(mutex_);  // of which jobs are left to be begun
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;
};

}  // namespace coffer
