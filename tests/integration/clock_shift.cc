// Preloaded into a program, shifts its wall clock by as many seconds as the file $COFFER_TEST_CLOCK says (8 bytes), which
// may change at any time. The monotonic clock goes on as ever.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>

namespace {

int64_t shift() {
  static const volatile int64_t* const shared = [] {
    const char* path = getenv("COFFER_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void* map = fd < 0 ? MAP_FAILED : mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    return map == MAP_FAILED ? nullptr : static_cast<const int64_t*>(map);
  }();
  return shared ? *shared : 0;
}

// A daemon that has confined itself could not open it any more.
[[gnu::constructor]] void map_early() { (void)shift(); }

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  int result = static_cast<int>(syscall(SYS_clock_gettime, clock, now));
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
  return result;
}

extern "C" time_t time(time_t* out) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
