// Time, as an interface so that tests own it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace coffer {

using Nanos = std::chrono::nanoseconds;

// Nanoseconds since 1970 UTC, as it goes into inodes; negative before.
struct WallTime {
  int64_t ns = 0;
  auto operator<=>(const WallTime&) const = default;
};

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime wall() const = 0;    // may jump either way
  virtual Nanos monotonic() const = 0;  // never goes back; origin unspecified

  static const Clock& system();
};

class FakeClock : public Clock {
 public:
  WallTime wall() const override { return {wall_ns_.load()}; }
  Nanos monotonic() const override { return Nanos(mono_ns_.load()); }
  void advance(Nanos d) {
    wall_ns_ += d.count();
    mono_ns_ += d.count();
  }
  void set_wall(WallTime t) { wall_ns_ = t.ns; }

 private:
  std::atomic<int64_t> wall_ns_{1'700'000'000'000'000'000};
  std::atomic<int64_t> mono_ns_{1};
};

}  // namespace coffer
