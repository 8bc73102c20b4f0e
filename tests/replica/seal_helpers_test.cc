// Threads that help to seal.
#include "fs/replica/seal_helpers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace coffer {
namespace {

TEST(SealHelpers, DoEachJobOnce) {
  SealHelpers helpers;
  for (size_t count :
       {size_t{0}, size_t{1}, SealHelpers::kWorthIt - 1, SealHelpers::kWorthIt, size_t{16}, size_t{1000}}) {
    std::vector<int> done(count);
    helpers.run(count, [&](size_t i) { ++done[i]; });
    EXPECT_EQ(done, std::vector<int>(count, 1));
  }
}

TEST(SealHelpers, ServeSeveralAtOnce) {
  SealHelpers helpers;
  constexpr size_t kCallers = 8, kJobs = 200;
  std::vector<std::vector<int>> done(kCallers, std::vector<int>(kJobs));
  {
    std::vector<std::jthread> callers;
    for (size_t c = 0; c < kCallers; ++c)
      callers.emplace_back([&, c] { helpers.run(kJobs, [&, c](size_t i) { ++done[c][i]; }); });
  }
  for (const auto& of_one : done) EXPECT_EQ(of_one, std::vector<int>(kJobs, 1));
}

TEST(SealHelpers, AnotherThreadHelps) {
  SealHelpers helpers;
  std::atomic<size_t> inside{0};
  // Each job waits for another one to be under way: one thread alone would never get on.
  helpers.run(SealHelpers::kWorthIt, [&](size_t i) {
    ++inside;
    while (i == 0 && inside < 2) std::this_thread::yield();
  });
  EXPECT_EQ(inside, SealHelpers::kWorthIt);
}

}  // namespace
}  // namespace coffer
