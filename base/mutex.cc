#include "base/mutex.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace coffer::internal {
namespace {
thread_local std::vector<Rank> held;
}

void rank_acquire(Rank rank) {
  for (Rank h : held) {
    if (h >= rank) {
      std::fprintf(stderr, "lock order: rank %d taken while holding rank %d\n", static_cast<int>(rank),
                   static_cast<int>(h));
      std::abort();
    }
  }
  held.push_back(rank);
}

void rank_release(Rank rank) {
  for (size_t i = held.size(); i-- > 0;) {
    if (held[i] == rank) {
      held.erase(held.begin() + static_cast<long>(i));
      return;
    }
  }
}

}  // namespace coffer::internal
