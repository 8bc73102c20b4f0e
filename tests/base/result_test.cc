#include "base/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace coffer {
namespace {

Result<std::unique_ptr<int>> make(int v) {
  if (v < 0) return fail(Code::kInvalid, "negative");
  return std::make_unique<int>(v);
}

Result<int> sum(int a, int b) {
  TRY(auto x, make(a));
  TRY(std::unique_ptr<int> y, make(b));
  return *x + *y;
}

Result<void> check(int a) {
  TRYV(make(a));
  return {};
}

TEST(Result, TryPassesValuesAndErrors) {
  EXPECT_EQ(sum(1, 2).value(), 3);
  EXPECT_EQ(sum(1, -2).error().code(), Code::kInvalid);
  EXPECT_TRUE(check(1));
  EXPECT_EQ(check(-1).error().what(), "negative");
}

TEST(Result, ErrorsGainContext) {
  Error e = Error(Code::kTimedOut, "no answer").in("reading").in("mounting");
  EXPECT_EQ(e.what(), "mounting: reading: no answer");
  EXPECT_TRUE(e.retryable());
  EXPECT_FALSE(Error(Code::kCorrupt, "x").retryable());
}

TEST(Result, EveryCodeHasAName) {
  for (int c = 0; c <= static_cast<int>(Code::kLoop); ++c) EXPECT_NE(to_string(static_cast<Code>(c)), "unknown") << c;
  EXPECT_EQ(errno_error("x", ENOSPC).code(), Code::kNoSpace);
  EXPECT_EQ(errno_error("x", EIO).code(), Code::kIo);
  EXPECT_EQ(errno_error("x", 12345).code(), Code::kIo);
}

}  // namespace
}  // namespace coffer
