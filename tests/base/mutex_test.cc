#include "base/mutex.h"

#include <gtest/gtest.h>

#include <thread>

namespace coffer {
namespace {

TEST(Mutex, IncreasingRanksAreFine) {
  Mutex outer(Rank::kSync), inner(Rank::kLeaf);
  SharedMutex middle(Rank::kState);
  for (int i = 0; i < 3; ++i) {
    MutexLock a(outer);
    SharedLock b(middle);
    MutexLock c(inner);
  }
  // Released in another order than taken.
  outer.lock();
  inner.lock();
  outer.unlock();
  inner.unlock();
  MutexLock again(outer);
}

TEST(Mutex, RanksAreEachThreadsOwn) {
  Mutex inner(Rank::kLeaf), outer(Rank::kSync);
  MutexLock held(inner);
  std::thread([&] { MutexLock other(outer); }).join();
}

TEST(Mutex, SharedIsShared) {
  SharedMutex m(Rank::kState);
  SharedLock mine(m);
  std::thread([&] { SharedLock theirs(m); }).join();
}

TEST(CondVar, WaitsAndTimesOut) {
  Mutex m(Rank::kLeaf);
  CondVar changed;
  bool ready = false;
  std::thread other([&] {
    MutexLock lock(m);
    ready = true;
    changed.notify_all();
  });
  {
    MutexLock lock(m);
    while (!ready) changed.wait(m);
    while (changed.wait_for(m, std::chrono::microseconds(1))) {
    }
  }
  other.join();
  MutexLock still_works(m);
}

#ifndef NDEBUG
// The compiler's analysis would refuse it.
void share_twice(SharedMutex& mutex) NO_THREAD_SAFETY_ANALYSIS {
  SharedLock a(mutex);
  SharedLock b(mutex);
}

TEST(MutexDeathTest, LowerOrEqualRankAborts) {
  Mutex leaf(Rank::kLeaf), sync(Rank::kSync), other_sync(Rank::kSync);
  SharedMutex state(Rank::kState);
  EXPECT_DEATH(
      {
        MutexLock a(leaf);
        MutexLock b(sync);
      },
      "lock order: rank 20 taken while holding rank 100");
  EXPECT_DEATH(
      {
        MutexLock a(sync);
        MutexLock b(other_sync);
      },
      "lock order");
  EXPECT_DEATH(share_twice(state), "lock order");
  EXPECT_DEATH(
      {
        ExclusiveLock a(state);
        MutexLock b(sync);
      },
      "lock order");
}
#endif

}  // namespace
}  // namespace coffer
