// How many writes are being taken in right now, for whoever must not cut them off.
#pragma once

#include <chrono>

#include "base/mutex.h"

namespace coffer::fuse {

// Thread-safe.
class ActiveWrites {
 public:
  class Scope {
   public:
    explicit Scope(ActiveWrites& writes) : writes_(writes) {
      MutexLock lock(writes_.mutex_);
      ++writes_.active_;
    }
    ~Scope() {
      MutexLock lock(writes_.mutex_);
      if (--writes_.active_ == 0) writes_.idle_.notify_all();
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    ActiveWrites& writes_;
  };

  // Waits for a moment without writes; false when there was none for so long.
  bool wait_until_idle(std::chrono::nanoseconds at_most) {
    auto end = std::chrono::steady_clock::now() + at_most;
    MutexLock lock(mutex_);
    while (active_ > 0) {
      auto left = end - std::chrono::steady_clock::now();
      if (left <= std::chrono::nanoseconds(0)) return false;
      idle_.wait_for(mutex_, left);
    }
    return true;
  }

 private:
  Mutex mutex_{Rank::kLeaf};
  CondVar idle_;
  size_t active_ GUARDED_BY(mutex_) = 0;
};

}  // namespace coffer::fuse
