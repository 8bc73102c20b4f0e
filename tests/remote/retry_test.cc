#include "remote/retry.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "remote/wait.h"

namespace coffer {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Retry : public ::testing::Test {
 protected:
  std::vector<Nanos> waits(RetryPolicy policy, double random, Nanos attempt = Nanos(0)) {
    RetryEnvironment environment;
    environment.clock = &clock;
    environment.random = [random] { return random; };
    RetrySchedule schedule(policy, environment);
    std::vector<Nanos> all;
    for (;;) {
      clock.advance(attempt);
      auto wait = schedule.next();
      if (!wait) return all;
      all.push_back(*wait);
      clock.advance(*wait);
    }
  }
  FakeClock clock;
};

TEST_F(Retry, doubles_up_to_the_longest) {
  RetryPolicy policy{7, milliseconds(100), milliseconds(1000), seconds(100)};
  auto most = waits(policy, 0.999999), least = waits(policy, 0);
  ASSERT_EQ(most.size(), 6U);
  std::vector<int> steps = {100, 200, 400, 800, 1000, 1000};
  for (size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(least[i], milliseconds(steps[i]) / 2) << i;
    EXPECT_NEAR(static_cast<double>(most[i].count()), steps[i] * 1e6, 1e3) << i;
  }
}

TEST_F(Retry, is_bounded_by_attempts_and_by_time) {
  EXPECT_TRUE(waits({1, milliseconds(1), milliseconds(1), seconds(100)}, 0).empty());
  EXPECT_EQ(waits({3, milliseconds(1), milliseconds(1), seconds(100)}, 0).size(), 2U);
  // Attempts that take 30 s each, within a minute: one wait, and the one that would end after it is not begun.
  EXPECT_EQ(waits({50, seconds(1), seconds(1), seconds(60)}, 0.5, seconds(30)).size(), 1U);
}

TEST_F(Retry, honours_retry_after_within_its_bounds) {
  RetryEnvironment environment;
  environment.clock = &clock;
  environment.random = [] { return 0.0; };
  RetryPolicy policy{10, milliseconds(100), seconds(8), seconds(60)};
  RetrySchedule schedule(policy, environment);
  EXPECT_EQ(schedule.next(seconds(7)), seconds(7));
  EXPECT_EQ(schedule.next(milliseconds(1)), milliseconds(100));  // never sooner than our own step
  clock.advance(seconds(50));
  EXPECT_EQ(schedule.next(seconds(11)), std::nullopt);  // would end after the total
  EXPECT_EQ(RetrySchedule(policy, environment).next(seconds(1'000'000)), std::nullopt);
}

TEST(RetryEnvironmentTest, random_is_in_range_and_varies) {
  auto environment = RetryEnvironment::system();
  double first = environment.random(), second = environment.random();
  EXPECT_NE(first, second);
  for (int i = 0; i < 1000; ++i) {
    double x = environment.random();
    EXPECT_GE(x, 0);
    EXPECT_LT(x, 1);
  }
}

TEST(WaitFor, ends_at_once_when_stopped) {
  std::stop_source source;
  EXPECT_TRUE(wait_for(milliseconds(1), source.get_token()));
  std::jthread stopper([&] { source.request_stop(); });
  EXPECT_FALSE(wait_for(std::chrono::hours(1), source.get_token()));
  EXPECT_FALSE(wait_for(std::chrono::hours(1), source.get_token()));
}

}  // namespace
}  // namespace coffer
