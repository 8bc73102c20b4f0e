// The functions by which threads meet, wait and read clocks, as the whole program sees them: defined here, they come before
// those of libc, also for libstdc++ and LMDB. Without a scheduler (before a run and after it) there is one thread, and
// nothing ever waits.
//
// A lock's state lies in the pthread object itself, whose initializers are zeros. Durations of disk operations are made up;
// a simulated disk has nothing that is not synced, but each call is a place where a machine can end.
#undef _FILE_OFFSET_BITS  // both names of each function are defined here
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "tests/sim/scheduler.h"

namespace {

using coffer::Nanos;
using coffer::sim::Fiber;
using coffer::sim::Scheduler;

struct MutexState {
  uint32_t owner, depth, waiters;  // the first twelve bytes; the kind follows at 16
};
struct RwlockState {
  uint32_t readers, writer, waiters;
};
static_assert(sizeof(MutexState) <= offsetof(pthread_mutex_t, __data.__kind));

MutexState& state(pthread_mutex_t* m) { return *reinterpret_cast<MutexState*>(m); }
RwlockState& state(pthread_rwlock_t* l) { return *reinterpret_cast<RwlockState*>(l); }

Scheduler* scheduler() { return Scheduler::current(); }
uint32_t self_id() { return scheduler() ? static_cast<uint32_t>(scheduler()->self().id) : UINT32_MAX; }

long raw(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  if (result < 0 && result > -4096) {
    errno = static_cast<int>(-result);
    return -1;
  }
  return result;
}
template <typename T>
long word(T* p) {
  return reinterpret_cast<long>(p);
}

Nanos nanos(const timespec& t) { return Nanos(int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec); }

// Until somebody else no longer holds what `busy` looks at.
template <typename Busy>
void wait_while(const void* address, uint32_t& waiters, const Busy& busy) {
  if (!busy()) return;
  if (!scheduler()) coffer::sim::give_up("a lock is taken twice");
  while (busy()) {
    ++waiters;
    scheduler()->wait(address);
    --waiters;
  }
}
void released(const void* address, uint32_t waiters) {
  if (!scheduler()) return;
  if (waiters > 0) scheduler()->wake(address);
  scheduler()->preempt();
}
void preempt() {
  if (scheduler()) scheduler()->preempt();
}

int wait_condition(pthread_cond_t* condition, pthread_mutex_t* mutex, Nanos deadline) {
  if (!scheduler()) coffer::sim::give_up("a lone thread waits for another");
  const uint32_t depth = state(mutex).depth;
  state(mutex).owner = state(mutex).depth = 0;
  if (state(mutex).waiters > 0) scheduler()->wake(mutex);
  const bool early = scheduler()->random().chance(5);  // as real ones may
  bool woken = true;
  if (early)
    scheduler()->yield();
  else
    woken = scheduler()->wait(condition, deadline);
  wait_while(mutex, state(mutex).waiters, [&] { return state(mutex).owner != 0; });
  state(mutex).owner = self_id();
  state(mutex).depth = depth;
  return woken ? 0 : ETIMEDOUT;
}

}  // namespace

extern "C" {

// --- threads

int pthread_create(pthread_t* thread, const pthread_attr_t*, void* (*body)(void*), void* argument) {
  *thread = scheduler()->start([body, argument] { body(argument); }, scheduler()->self().name + "'s").id;
  scheduler()->preempt();
  return 0;
}
int pthread_join(pthread_t thread, void**) {
  scheduler()->join(thread);
  return 0;
}
int pthread_detach(pthread_t thread) {
  scheduler()->detach(thread);
  return 0;
}
pthread_t pthread_self() { return self_id(); }
int pthread_setname_np(pthread_t thread, const char* name) {
  if (Fiber* fiber = scheduler() ? scheduler()->find(thread) : nullptr) {
    // After the machine that it belongs to: the one whose thread made it.
    fiber->name = scheduler()->self().name.substr(0, scheduler()->self().name.find(' ')) + " " + name;
  }
  return 0;
}
int sched_yield() {
  if (scheduler()) scheduler()->yield();
  return 0;
}

// --- mutexes

int pthread_mutex_init(pthread_mutex_t* m, const pthread_mutexattr_t* attributes) {
  int type = PTHREAD_MUTEX_NORMAL;
  if (attributes != nullptr) pthread_mutexattr_gettype(attributes, &type);
  std::memset(m, 0, sizeof *m);
  m->__data.__kind = type;
  return 0;
}
int pthread_mutex_destroy(pthread_mutex_t*) { return 0; }
int pthread_mutex_consistent(pthread_mutex_t*) { return 0; }
int pthread_mutex_trylock(pthread_mutex_t* m) {
  MutexState& s = state(m);
  const bool recursive = (m->__data.__kind & 3) == PTHREAD_MUTEX_RECURSIVE;
  if (s.owner != 0 && !(recursive && s.owner == self_id())) return EBUSY;
  s.owner = self_id();
  ++s.depth;
  return 0;
}
int pthread_mutex_lock(pthread_mutex_t* m) {
  preempt();
  if (pthread_mutex_trylock(m) == 0) return 0;
  if (state(m).owner == self_id()) coffer::sim::give_up("a thread takes a lock that it has");
  wait_while(m, state(m).waiters, [m] { return state(m).owner != 0; });
  return pthread_mutex_trylock(m);
}
int pthread_mutex_unlock(pthread_mutex_t* m) {
  MutexState& s = state(m);
  if (--s.depth > 0) return 0;
  s.owner = 0;
  released(m, s.waiters);
  return 0;
}

int pthread_rwlock_rdlock(pthread_rwlock_t* l) {
  preempt();
  wait_while(l, state(l).waiters, [l] { return state(l).writer != 0; });
  ++state(l).readers;
  return 0;
}
int pthread_rwlock_wrlock(pthread_rwlock_t* l) {
  preempt();
  wait_while(l, state(l).waiters, [l] { return state(l).writer != 0 || state(l).readers > 0; });
  state(l).writer = self_id();
  return 0;
}
int pthread_rwlock_unlock(pthread_rwlock_t* l) {
  RwlockState& s = state(l);
  if (s.writer != 0)
    s.writer = 0;
  else
    --s.readers;
  released(l, s.waiters);
  return 0;
}

// --- condition variables

int pthread_cond_init(pthread_cond_t* c, const pthread_condattr_t*) {
  std::memset(c, 0, sizeof *c);
  return 0;
}
int pthread_cond_destroy(pthread_cond_t*) { return 0; }
int pthread_cond_wait(pthread_cond_t* c, pthread_mutex_t* m) { return wait_condition(c, m, Scheduler::kNever); }
int pthread_cond_clockwait(pthread_cond_t* c, pthread_mutex_t* m, clockid_t, const timespec* until) {
  return wait_condition(c, m, nanos(*until));
}
int pthread_cond_timedwait(pthread_cond_t* c, pthread_mutex_t* m, const timespec* until) {
  return wait_condition(c, m, nanos(*until));
}
int pthread_cond_signal(pthread_cond_t* c) {
  if (scheduler()) scheduler()->wake(c, 1);
  return 0;
}
int pthread_cond_broadcast(pthread_cond_t* c) {
  if (scheduler()) scheduler()->wake(c);
  return 0;
}

// --- futexes: std::stop_token, std::atomic::wait, guards of static variables

long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long a[6];
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  if (number != SYS_futex || !scheduler()) return raw(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  auto* address = reinterpret_cast<int*>(a[0]);
  switch (a[1] & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
      if (a[3] != 0) coffer::sim::give_up("a futex with a timeout");
      if (*address != static_cast<int>(a[2])) {
        errno = EAGAIN;
        return -1;
      }
      scheduler()->wait(address);
      return 0;
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET:
      scheduler()->wake(address, static_cast<size_t>(a[2]));
      return 0;
    default:
      coffer::sim::give_up("a futex operation that nobody has met yet");
  }
}

// --- time

int clock_gettime(clockid_t clock, timespec* out) {
  if (!scheduler() || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE && clock != CLOCK_MONOTONIC))
    return static_cast<int>(raw(SYS_clock_gettime, clock, word(out)));
  out->tv_sec = scheduler()->now().count() / 1'000'000'000;
  out->tv_nsec = scheduler()->now().count() % 1'000'000'000;
  return 0;
}
time_t time(time_t* out) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}
int clock_nanosleep(clockid_t, int flags, const timespec* time, timespec*) {
  if (!scheduler()) return 0;
  const Nanos now = scheduler()->now();
  scheduler()->sleep((flags & TIMER_ABSTIME) != 0 ? nanos(*time) - now : nanos(*time));
  return 0;
}
int nanosleep(const timespec* time, timespec*) { return clock_nanosleep(CLOCK_MONOTONIC, 0, time, nullptr); }

// --- the disk

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  preempt();
  return raw(SYS_pwrite64, fd, word(data), static_cast<long>(size), offset);
}
ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) { return pwrite(fd, data, size, offset); }
int fsync(int) {
  if (scheduler()) scheduler()->sleep(scheduler()->random().duration(Nanos(20'000), Nanos(2'000'000)));
  return 0;
}
int fdatasync(int fd) { return fsync(fd); }
int rename(const char* from, const char* to) noexcept {
  preempt();
  return static_cast<int>(raw(SYS_rename, word(from), word(to)));
}
int unlink(const char* path) noexcept {
  preempt();
  return static_cast<int>(raw(SYS_unlink, word(path)));
}
// Room is not taken, only promised: zeroing 64 MiB for each journal is most of what a short run would cost.
int posix_fallocate(int fd, off_t offset, off_t length) {
  struct stat st;
  if (fstat(fd, &st) != 0) return errno;
  if (st.st_size >= offset + length) return 0;
  return ftruncate(fd, offset + length) == 0 ? 0 : errno;
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

// --- thread_local variables with destructors

int __cxa_thread_atexit(void (*destroy)(void*), void* object, void*) noexcept {
  if (scheduler()) scheduler()->self().at_end.emplace_back(destroy, object);
  return 0;
}

}  // extern "C"
