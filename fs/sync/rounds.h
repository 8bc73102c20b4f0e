// For work that a thread does over and over (a poll, a publishing cycle): asking for a round, and waiting for its outcome.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"

namespace coffer {

// Thread-safe. One thread works, any number ask.
class Rounds {
 public:
  // Asks for a round that begins after this call; the number by which to wait for it.
  uint64_t request() {
    MutexLock lock(mutex_);
    wanted_ = begun_ + 1;
    changed_.notify_all();
    return wanted_;
  }
  void wake() {  // makes wait_for_work() return
    MutexLock lock(mutex_);
    woken_ = true;
    changed_.notify_all();
  }
  struct Ended {
    uint64_t round = 0;
    Result<void> outcome;
  };
  // The newest round that has ended, if it is `round` or a later one; waits for at most `at_most`.
  std::optional<Ended> wait(uint64_t round, Nanos at_most) {
    MutexLock lock(mutex_);
    if (ended_ < round) changed_.wait_for(mutex_, at_most);
    if (ended_ < round) return std::nullopt;
    return Ended{ended_, outcome_};
  }

  // --- for the working thread
  bool wanted() const {
    MutexLock lock(mutex_);
    return wanted_ > begun_;
  }
  // Returns when a round is wanted, after wake(), or after `at_most`.
  void wait_for_work(Nanos at_most) {
    MutexLock lock(mutex_);
    if (wanted_ <= begun_ && !woken_ && at_most > Nanos(0)) changed_.wait_for(mutex_, at_most);
    woken_ = false;
  }
  void begin() {
    MutexLock lock(mutex_);
    ++begun_;
  }
  void end(Result<void> outcome) {
    MutexLock lock(mutex_);
    ended_ = begun_;
    outcome_ = std::move(outcome);
    changed_.notify_all();
  }

 private:
  mutable Mutex mutex_{Rank::kLeaf};
  CondVar changed_;
  uint64_t wanted_ GUARDED_BY(mutex_) = 0, begun_ GUARDED_BY(mutex_) = 0, ended_ GUARDED_BY(mutex_) = 0;
  bool woken_ GUARDED_BY(mutex_) = false;
  Result<void> outcome_ GUARDED_BY(mutex_);
};

}  // namespace coffer
