// How fast a growing number grows, over the last ten seconds.
#pragma once

#include <cstdint>
#include <deque>

#include "base/clock.h"

namespace coffer::cli {

// Not thread-safe.
class RateWindow {
 public:
  static constexpr Nanos kSpan = std::chrono::seconds(10);

  void record(Nanos now, uint64_t total) {
    if (!samples_.empty() && now - samples_.back().when < std::chrono::milliseconds(200)) return;
    samples_.push_back({now, total});
    // Keeps one sample that is as old as the span, so that the rate is over all of it.
    while (samples_.size() > 2 && now - samples_[1].when >= kSpan) samples_.pop_front();
  }
  // Per second; 0 while there is nothing to compare with.
  double rate() const {
    if (samples_.size() < 2) return 0;
    double seconds = std::chrono::duration<double>(samples_.back().when - samples_.front().when).count();
    return static_cast<double>(samples_.back().total - samples_.front().total) / seconds;
  }

 private:
  struct Sample {
    Nanos when;
    uint64_t total;
  };
  std::deque<Sample> samples_;
};

}  // namespace coffer::cli
