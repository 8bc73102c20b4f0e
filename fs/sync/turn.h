// Publishing and applying take turns: a record of our own is made on top of exactly what it quotes.
#pragma once

#include <utility>

#include "base/mutex.h"

namespace coffer {

// A flag that one thread holds at a time. Not a lock in the sense of base/mutex.h: it is held over calls of the replica
// (whose callbacks take it never), and by a publisher that found no quiet moment over its uploads.
class Turn {
 public:
  class Hold {
   public:
    explicit Hold(Turn& turn) : turn_(&turn) {}
    Hold(Hold&& o) noexcept : turn_(std::exchange(o.turn_, nullptr)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (turn_) turn_->give_back();
    }

   private:
    Turn* turn_;
  };

  [[nodiscard]] Hold take() {
    MutexLock lock(mutex_);
    while (taken_) free_.wait(mutex_);
    taken_ = true;
    return Hold(*this);
  }

 private:
  void give_back() {
    MutexLock lock(mutex_);
    taken_ = false;
    free_.notify_one();
  }
  Mutex mutex_{Rank::kLeaf};
  CondVar free_;
  bool taken_ GUARDED_BY(mutex_) = false;
};

}  // namespace coffer
