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
  WallTime wall() const override { return {read_clock(CLOCK_REALTIME)}; }
  Nanos monotonic() const override { return Nanos(read_clock(CLOCK_MONOTONIC)); }
};

}  // namespace

const Clock& Clock::system() {
  static const SystemClock clock;
  return clock;
}

}  // namespace coffer
