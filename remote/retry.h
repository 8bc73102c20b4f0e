// When to try again, and when to stop trying.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>

#include "base/clock.h"

namespace coffer {

// Bounds of one operation. Whoever calls has its own, longer patience (pending work is tried again for weeks); this is
// for what passes within seconds.
struct RetryPolicy {
  unsigned attempts = 5;
  Nanos first = std::chrono::milliseconds(250);  // doubled after each attempt
  Nanos longest = std::chrono::seconds(8);
  Nanos total = std::chrono::seconds(60);  // no wait that would end later than this after the first attempt began
};

// What tests replace. `random` gives [0, 1); `sleep` is false when `stop` was requested.
struct RetryEnvironment {
  const Clock* clock = &Clock::system();
  std::function<double()> random;
  std::function<bool(Nanos, std::stop_token)> sleep;

  static RetryEnvironment system();
};

// The waits of one operation. A value, made when the first attempt begins; not thread-safe.
class RetrySchedule {
 public:
  RetrySchedule(const RetryPolicy& policy, const RetryEnvironment& environment);

  // After a failed attempt: how long to wait, or nothing when it is time to give up. The wait is between half and all
  // of a doubling step, so that many clients do not come back together. `retry_after` is what the server asked for:
  // never less than that is waited, and if that does not fit into the total, we give up now rather than come too early.
  std::optional<Nanos> next(std::optional<Nanos> retry_after = std::nullopt);
  unsigned attempts() const { return attempts_; }  // that failed so far

 private:
  const RetryPolicy policy_;
  const RetryEnvironment& environment_;
  const Nanos begin_;
  unsigned attempts_ = 0;
};

}  // namespace coffer
