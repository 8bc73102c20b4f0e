#include "fs/cli/format.h"

#include <gtest/gtest.h>

#include <limits>

namespace coffer::cli {
namespace {

TEST(Format, Bytes) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes((1 << 20) - 1), "1.0 MiB");
  EXPECT_EQ(format_bytes(std::numeric_limits<uint64_t>::max()), "16.0 EiB");
}

TEST(Format, Durations) {
  EXPECT_EQ(format_duration(0), "0 s");
  EXPECT_EQ(format_duration(-5), "0 s");
  EXPECT_EQ(format_duration(0.2), "1 s");
  EXPECT_EQ(format_duration(59), "59 s");
  EXPECT_EQ(format_duration(185), "3 min 5 s");
  EXPECT_EQ(format_duration(7800), "2 h 10 min");
  EXPECT_EQ(format_duration(3 * 86400.0), "3 days");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "more than 100 days");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::quiet_NaN()), "0 s");
}

TEST(Format, RatesThatMakeNoSenseAreZero) {
  EXPECT_EQ(format_rate(2048), "2.0 KiB/s");
  EXPECT_EQ(format_rate(-1), "0 B/s");
  EXPECT_EQ(format_rate(std::numeric_limits<double>::infinity()), "0 B/s");
}

TEST(Format, Times) {
  EXPECT_EQ(format_time({1'700'000'000'999'999'999}), "2023-11-14T22:13:20Z");
  EXPECT_EQ(format_time({-1}), "1969-12-31T23:59:59Z");
}

}  // namespace
}  // namespace coffer::cli
