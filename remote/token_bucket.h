// A rate limit that allows short bursts and never forgets a debt.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace coffer {

// Holds at most a quarter of a second's worth of bytes, at least kLeastBurst. The balance may become negative (bytes
// that had already moved); nothing is given until it is positive again. A value; not thread-safe.
class TokenBucket {
 public:
  static constexpr int64_t kLeastBurst = 16 * 1024;

  void set_rate(uint64_t bytes_per_second, Nanos now);
  bool limited() const { return rate_ != 0; }
  size_t take(size_t want, Nanos now);
  void charge(size_t bytes, Nanos now);
  Nanos delay(Nanos now) const;

 private:
  double balance_at(Nanos now) const;
  double burst() const;

  uint64_t rate_ = 0;  // 0: no limit
  double balance_ = 0;
  Nanos as_of_{0};
};

}  // namespace coffer
