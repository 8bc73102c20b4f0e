// One thread of the simulated machines: a stack, a context, and its thread_local variables.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace coffer::sim {

// What is exchanged at a switch. The program's thread_local variables lie in one block (all layers are linked into it),
// which is copied out and in; those of libraries are not (errno is). Two of theirs would matter, and do not occur: fibers
// are not switched inside of a catch block, and LMDB has MDB_NOTLS.
class FiberContext {
 public:
  FiberContext();  // fresh thread_local variables
  void switch_to(FiberContext& next);

 private:
  friend class Fiber;
  void* stack_pointer_ = nullptr;  // of a fiber that does not run: where it goes on
  std::vector<char> locals_;
};

struct Fiber {
  Fiber(uint64_t the_id, std::string the_name, std::function<void()> the_body);
  ~Fiber();

  const uint64_t id;
  std::string name;
  std::function<void()> body;
  FiberContext context;

  const void* waits_for = nullptr;
  Nanos deadline{0};
  bool runnable = true, timed_out = false, ended = false, detached = false;
  std::vector<std::pair<void (*)(void*), void*>> at_end;  // destructors of thread_local variables

 private:
  void* stack_;
};

}  // namespace coffer::sim
