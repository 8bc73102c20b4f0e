// Counts what a store moves and says how fast it may move it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "base/mutex.h"
#include "remote/object_store.h"
#include "remote/token_bucket.h"

namespace coffer {

enum class StoreOperation { kPut, kGet, kList, kRemove, kOther };
enum class Direction { kUp, kDown };

// Shared by whoever moves bytes (the HTTP engine, MeteredStore) and whoever shows or limits them (status, control
// socket). Thread-safe. Borrows the clock.
class TransferMeter {
 public:
  explicit TransferMeter(const Clock& clock = Clock::system()) : clock_(clock) {}

  // Bytes per second; 0 lifts the limit. Takes effect at once, also on transfers under way.
  void set_limits(uint64_t up, uint64_t down);
  StoreCounters counters() const;

  void count_request(StoreOperation operation);
  void count_retry();
  // Asks to move `want` bytes now. Returns how many may move (all of them without a limit), already counted; 0 means to
  // ask again after `delay`.
  size_t take(Direction direction, size_t want);
  // Counts bytes that have already moved; a limit makes the next ones wait for them.
  void charge(Direction direction, size_t bytes);
  // Until take() can give something; zero when it can now.
  Nanos delay(Direction direction) const;

 private:
  const Clock& clock_;
  mutable Mutex mutex_{Rank::kLeaf};
  StoreCounters counters_ GUARDED_BY(mutex_);
  TokenBucket up_ GUARDED_BY(mutex_);
  TokenBucket down_ GUARDED_BY(mutex_);
};

}  // namespace coffer
