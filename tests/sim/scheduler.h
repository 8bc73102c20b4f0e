// Threads of a whole cluster of machines, run one at a time in one OS thread, in an order and a time that a seed decides.
//
// Production code is not changed for it: pthreads.cc defines pthread_create, pthread_mutex_lock, clock_gettime and their
// like in the program itself, so that the layers, libstdc++ and LMDB call those, and they come here. What a thread waits
// for is an address (of a mutex, a condition variable, a futex, another fiber's end), a deadline, or both. When no fiber
// can run, time jumps to the next deadline.
//
// Fibers and not threads that pass a baton: a switch costs a fifth of a microsecond, and there are a hundred thousand in a
// run. The price is that thread_local variables have to be swapped by hand (fiber.cc).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "tests/sim/fiber.h"

namespace coffer::sim {

// SplitMix64: the same numbers in every library.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t n) { return n == 0 ? 0 : next() % n; }
  bool chance(unsigned per_mille) { return below(1000) < per_mille; }
  Nanos duration(Nanos least, Nanos most) {
    return least + Nanos(static_cast<int64_t>(below(static_cast<uint64_t>((most - least).count()) + 1)));
  }

 private:
  uint64_t state_;
};

// There is at most one, and what it runs knows it as Scheduler::current().
class Scheduler {
 public:
  explicit Scheduler(uint64_t seed);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  static Scheduler* current() { return current_; }

  // Runs `main` as the first fiber, until it returns. Every other fiber has been joined by then.
  void run(std::function<void()> main);

  // --- for fibers
  Fiber& self() { return *running_; }
  Fiber& start(std::function<void()> body, std::string name);
  void join(uint64_t id);
  void detach(uint64_t id);
  Fiber* find(uint64_t id);
  void yield();    // lets another run
  void preempt();  // perhaps
  // Until wake() of this address or the deadline; false: the deadline. May return without either.
  bool wait(const void* address, Nanos deadline = kNever);
  void wake(const void* address, size_t most = SIZE_MAX);
  void sleep(Nanos duration);
  Random& random() { return random_; }  // the scheduler's own
  void be_calm() { preempt_per_mille_ = 0; }

  Nanos now() const { return now_; }  // since 1970, and never back
  uint64_t switches() const { return switches_; }
  uint64_t fingerprint() const { return fingerprint_; }  // of every decision so far
  void mix(uint64_t value) { fingerprint_ = (fingerprint_ ^ value) * 0x100000001b3; }
  std::string describe() const;  // who waits

  static constexpr Nanos kNever = Nanos::max();

 private:
  Fiber* choose();
  void reschedule();
  void make_runnable(Fiber& fiber);

  static Scheduler* current_;
  Random random_;
  unsigned preempt_per_mille_;
  Nanos now_;
  uint64_t switches_ = 0, switches_since_jump_ = 0, fingerprint_ = 0xcbf29ce484222325, last_id_ = 0;
  std::vector<std::unique_ptr<Fiber>> fibers_;  // in the order of their ids
  std::vector<Fiber*> runnable_;
  std::set<std::pair<Nanos, uint64_t>> deadlines_;
  Fiber* running_ = nullptr;
  FiberContext outside_;
};

// Ends the process, with a reason that the parent prints. For what makes a run a failure at once.
[[noreturn]] void give_up(const std::string& why);

}  // namespace coffer::sim
