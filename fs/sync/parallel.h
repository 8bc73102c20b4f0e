// The same work on many things, by several threads at once.
#pragma once

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/thread.h"

namespace coffer {

// Calls `work(i)` for each i below `count`, in rising order, on at most `threads` threads, the caller's among them; the
// others are called `name`. Once a call returns false no other begins. Returns when all that began have ended.
template <typename Work>
void in_parallel(const char* name, size_t count, unsigned threads, const Work& work) {
  std::atomic<size_t> next{0};
  std::atomic<bool> ended{false};
  auto take_turns = [&] {
    for (size_t i; !ended && (i = next++) < count;)
      if (!work(i)) ended = true;
  };
  std::vector<std::jthread> helpers;
  for (size_t i = 1; i < std::min<size_t>(count, std::max(1u, threads)); ++i)
    helpers.push_back(start_thread(name, take_turns));
  take_turns();
}

}  // namespace coffer
