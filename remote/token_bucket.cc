#include "remote/token_bucket.h"

#include <algorithm>

namespace coffer {

void TokenBucket::set_rate(uint64_t bytes_per_second, Nanos now) {
  bool was_limited = limited();
  balance_ = balance_at(now);
  as_of_ = now;
  rate_ = bytes_per_second;
  // A debt made at another rate is not paid off at the new one: it could be hours.
  balance_ = was_limited ? std::clamp(balance_, -burst(), burst()) : burst();
}

size_t TokenBucket::take(size_t want, Nanos now) {
  if (!limited()) return want;
  balance_ = balance_at(now);
  as_of_ = now;
  if (balance_ < 1) return 0;
  size_t given = std::min(want, static_cast<size_t>(balance_));
  balance_ -= static_cast<double>(given);
  return given;
}

void TokenBucket::charge(size_t bytes, Nanos now) {
  if (!limited()) return;
  balance_ = balance_at(now) - static_cast<double>(bytes);
  as_of_ = now;
}

Nanos TokenBucket::delay(Nanos now) const {
  if (!limited()) return Nanos(0);
  // Waits for a useful amount, not for the first byte, so that a slow limit does not become a busy loop.
  double missing = std::min(burst() / 2, 4096.0) - balance_at(now);
  if (missing <= 0) return Nanos(0);
  return Nanos(static_cast<int64_t>(missing / static_cast<double>(rate_) * 1e9) + 1);
}

double TokenBucket::balance_at(Nanos now) const {
  if (!limited()) return 0;
  double elapsed = static_cast<double>(std::max<int64_t>(0, (now - as_of_).count())) / 1e9;
  return std::min(burst(), balance_ + elapsed * static_cast<double>(rate_));
}

double TokenBucket::burst() const { return std::max(static_cast<double>(kLeastBurst), static_cast<double>(rate_) / 4); }

}  // namespace coffer
