// When to publish, when to look for news, when to try again: pure arithmetic on times that the caller gives.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/clock.h"

namespace coffer {

// Publishing follows soon after a change, but a long piece of work becomes few objects: while changes keep coming, or
// records follow each other within twice the interval, the interval doubles from two seconds up to `within`. A record is
// due after a quiet moment, but not before the interval has passed since the one before; and at the latest after the
// interval. It starts anew after a rest of twice the interval. Somebody who saves a file every few seconds makes records that
// follow each other, too, and is waited for elsewhere: as long as there is little work, a short distance from the record before
// is enough. Not thread-safe.
class PublishPace {
 public:
  static constexpr Nanos kFirst = std::chrono::seconds(2);
  static constexpr double kLittle = 1000;  // operations, of which half are forgotten after
  static constexpr Nanos kHalfForgotten = std::chrono::seconds(30);
  static constexpr Nanos kLittleApart = std::chrono::milliseconds(1500);

  PublishPace(Nanos after, Nanos within) : after_(after), within_(std::max(after, within)) { reset(); }

  // Something changed since the last call; `operations` since the last record.
  void changed(Nanos now, uint64_t operations) {
    if (!first_) {
      first_ = now;
      if (published_ && now - *published_ > 2 * interval_) reset();
    }
    recent_ *= std::exp2(-std::chrono::duration<double>(now - last_) / kHalfForgotten);
    recent_ += static_cast<double>(operations - std::min(operations, counted_));
    counted_ = operations;
    last_ = now;
    apart_ = recent_ < kLittle ? std::min(interval_ / 4, kLittleApart) : interval_;
  }
  // When the pending changes are due if nothing more happens; nullopt: none are pending.
  std::optional<Nanos> due() const {
    if (!first_) return std::nullopt;
    Nanos quiet = last_ + after_;
    if (published_ && interval_ > start_) quiet = std::max(quiet, *published_ + apart_);
    return std::min(quiet, *first_ + interval_);
  }
  // A record with all changes so far is being made.
  void published(Nanos now) {
    bool busy = (first_ && now - last_ < after_) || (first_ && published_ && now - *published_ < 2 * interval_);
    if (busy) interval_ = std::min(interval_ * 2, within_);
    first_.reset();
    published_ = now;
    counted_ = 0;
  }
  Nanos interval() const { return interval_; }

 private:
  void reset() { interval_ = start_ = std::min(kFirst, within_); }

  Nanos after_, within_;
  Nanos interval_{}, start_{};
  std::optional<Nanos> first_, published_;
  Nanos last_{}, apart_{};
  double recent_ = 0;     // operations, the older the less
  uint64_t counted_ = 0;  // of those since the last record
};

// Waiting times that double from `first` to `most`.
class Backoff {
 public:
  explicit Backoff(Nanos first = std::chrono::milliseconds(500), Nanos most = std::chrono::seconds(60))
      : first_(first), most_(most) {}
  Nanos next() {
    Nanos now = current_ ? *current_ : first_;
    current_ = std::min(now * 2, most_);
    return now;
  }
  void reset() { current_.reset(); }

 private:
  Nanos first_, most_;
  std::optional<Nanos> current_;
};

}  // namespace coffer
