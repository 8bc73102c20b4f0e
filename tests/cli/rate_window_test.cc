#include "fs/cli/rate_window.h"

#include <gtest/gtest.h>

namespace coffer::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(RateWindow, SaysNothingBeforeThereAreTwo) {
  RateWindow window;
  EXPECT_EQ(window.rate(), 0);
  window.record(seconds(1), 100);
  EXPECT_EQ(window.rate(), 0);
  window.record(seconds(1) + milliseconds(1), 200);  // too soon to tell
  EXPECT_EQ(window.rate(), 0);
}

TEST(RateWindow, IsOverTheLastTenSeconds) {
  RateWindow window;
  for (int s = 0; s <= 30; ++s) window.record(seconds(s), s < 20 ? 0 : static_cast<uint64_t>(s - 20) * 1000);
  EXPECT_NEAR(window.rate(), 1000, 1);
  for (int s = 31; s <= 60; ++s) window.record(seconds(s), 10'000);
  EXPECT_EQ(window.rate(), 0);
}

}  // namespace
}  // namespace coffer::cli
