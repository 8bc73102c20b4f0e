#include "base/clock.h"

#include <ctime>

namespace coffer {
namespace {

int64_t read_clock(clockid_t id) {
  timespec ts;
  clock_gettime(id, &ts);
  return static_cast<int64_t>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec;
}

class SystemClock : public Clock {
 public:
  // The kernel's clock for the times of files, some of which it sets itself: by a finer one a file that the kernel stamps
  // would seem older than what was made before it.
  WallTime wall() const override { return {read_clock(CLOCK_REALTIME_COARSE)}; }
  Nanos monotonic() const override { return Nanos(read_clock(CLOCK_MONOTONIC)); }
};

}  // namespace

const Clock& Clock::system() {
  static const SystemClock clock;
  return clock;
}

}  // namespace coffer
