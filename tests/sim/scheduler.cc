#include "tests/sim/scheduler.h"

#include <sys/single_threaded.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace coffer::sim {
namespace {

constexpr Nanos kStart{1'700'000'000'000'000'000};
constexpr Nanos kStep{1'000};  // time that passes from one switch to the next
constexpr uint64_t kSpinning = 3'000'000;

}  // namespace

Scheduler* Scheduler::current_ = nullptr;

void give_up(const std::string& why) {
  std::printf("FAILED: %s\n", why.c_str());
  std::fflush(stdout);
  _exit(1);
}

Scheduler::Scheduler(uint64_t seed) : random_(seed), preempt_per_mille_(0), now_(kStart) {
  // Some runs change threads at nearly every lock, others seldom: both find what the other does not.
  static constexpr unsigned kRates[] = {2, 10, 50, 250};
  preempt_per_mille_ = kRates[random_.below(std::size(kRates))];
}

Scheduler::~Scheduler() { current_ = nullptr; }

void Scheduler::run(std::function<void()> main) {
  current_ = this;
  __libc_single_threaded = 0;  // libc has not seen us make any; libstdc++ leaves out what only several threads need
  Fiber& first = start(std::move(main), "main");
  std::erase(runnable_, &first);
  running_ = &first;
  outside_.switch_to(first.context);
  running_ = nullptr;
  current_ = nullptr;
  for (auto& fiber : fibers_)
    if (!fiber->ended) give_up("a thread outlived its machine: " + fiber->name);
}

Fiber& Scheduler::start(std::function<void()> body, std::string name) {
  fibers_.push_back(std::make_unique<Fiber>(++last_id_, std::move(name), std::move(body)));
  runnable_.push_back(fibers_.back().get());
  return *fibers_.back();
}

Fiber* Scheduler::find(uint64_t id) {
  auto it = std::lower_bound(fibers_.begin(), fibers_.end(), id,
                             [](const std::unique_ptr<Fiber>& f, uint64_t wanted) { return f->id < wanted; });
  return it == fibers_.end() || (*it)->id != id ? nullptr : it->get();
}

void Scheduler::join(uint64_t id) {
  Fiber* fiber = find(id);
  if (fiber == nullptr) give_up("a thread is joined that is not there");
  while (!fiber->ended) wait(fiber);
  std::erase_if(fibers_, [&](const auto& f) { return f.get() == fiber; });
}

void Scheduler::detach(uint64_t id) {
  if (Fiber* fiber = find(id)) fiber->detached = true;
}

void Scheduler::make_runnable(Fiber& fiber) {
  if (fiber.runnable) return;
  if (fiber.deadline != kNever) deadlines_.erase({fiber.deadline, fiber.id});
  fiber.waits_for = nullptr;
  fiber.runnable = true;
  runnable_.push_back(&fiber);
}

Fiber* Scheduler::choose() {
  now_ += kStep;
  if (runnable_.empty()) {
    if (deadlines_.empty()) give_up("deadlock:\n" + describe());
    now_ = std::max(now_, deadlines_.begin()->first);
    switches_since_jump_ = 0;
  } else if (++switches_since_jump_ > kSpinning) {
    give_up("threads run without end, and nobody sleeps:\n" + describe());
  }
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_) {
    Fiber& late = *find(deadlines_.begin()->second);
    late.timed_out = true;
    make_runnable(late);
  }
  size_t index = random_.below(runnable_.size());
  Fiber* next = runnable_[index];
  runnable_[index] = runnable_.back();
  runnable_.pop_back();
  return next;
}

void Scheduler::reschedule() {
  Fiber* before = running_;
  Fiber* next = choose();
  ++switches_;
  mix(next->id);
  if (next == before) return;
  running_ = next;
  before->context.switch_to(next->context);
}

void Scheduler::yield() {
  runnable_.push_back(running_);
  reschedule();
}

void Scheduler::preempt() {
  if (preempt_per_mille_ > 0 && !runnable_.empty() && random_.chance(preempt_per_mille_)) yield();
}

bool Scheduler::wait(const void* address, Nanos deadline) {
  Fiber& me = *running_;
  if (me.ended && me.id == 1) {  // the first fiber's end is that of all
    me.context.switch_to(outside_);
  }
  me.waits_for = address;
  me.deadline = deadline;
  me.timed_out = false;
  me.runnable = false;
  if (deadline != kNever) deadlines_.emplace(deadline, me.id);
  reschedule();
  return !me.timed_out;
}

void Scheduler::wake(const void* address, size_t most) {
  std::vector<Fiber*> sleepers;
  for (auto& fiber : fibers_)
    if (!fiber->runnable && fiber->waits_for == address) sleepers.push_back(fiber.get());
  for (; most > 0 && !sleepers.empty(); --most) {
    size_t index = most >= sleepers.size() ? sleepers.size() - 1 : random_.below(sleepers.size());
    make_runnable(*sleepers[index]);
    sleepers.erase(sleepers.begin() + static_cast<ptrdiff_t>(index));
  }
}

void Scheduler::sleep(Nanos duration) {
  const Nanos until = now_ + duration;
  while (now_ < until) wait(nullptr, until);
}

std::string Scheduler::describe() const {
  std::string out;
  for (const auto& fiber : fibers_) {
    if (fiber->ended) continue;
    out += "  " + fiber->name +
           (fiber.get() == running_ ? " runs"
            : fiber->runnable       ? " could run"
            : fiber->deadline == kNever
                ? " waits"
                : " waits for " + std::to_string((fiber->deadline - now_).count() / 1'000'000) + " ms") +
           "\n";
  }
  return out;
}

}  // namespace coffer::sim
