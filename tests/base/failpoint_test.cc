#include "base/failpoint.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace coffer {
namespace {

class Failpoint : public ::testing::Test {
 protected:
  ~Failpoint() override { arm_failpoints(""); }
};

Code code_at(std::string_view name) {
  auto r = failpoint(name);
  return r ? Code::kInternal : r.error().code();
}

TEST_F(Failpoint, UnarmedPasses) {
  arm_failpoints("");
  EXPECT_TRUE(failpoint("a"));
  arm_failpoints("b=error");
  EXPECT_TRUE(failpoint("a"));
}

TEST_F(Failpoint, EveryPassingOrTheNth) {
  arm_failpoints("always=error,third=enospc@3,first=error@1");
  for (int i = 1; i <= 5; ++i) {
    EXPECT_EQ(code_at("always"), Code::kIo);
    EXPECT_EQ(code_at("third"), i == 3 ? Code::kNoSpace : Code::kInternal);
    EXPECT_EQ(code_at("first"), i == 1 ? Code::kIo : Code::kInternal);
  }
  arm_failpoints("other=error");  // replaces
  EXPECT_TRUE(failpoint("always"));
}

TEST_F(Failpoint, OddSpecsDoNoHarm) {
  for (std::string_view spec : {",,,", "name", "=", "=error", "a=", "a=@", "a=error@x,", "@3", "a=error@-1"}) {
    arm_failpoints(spec);
    (void)failpoint("nobody");
  }
}

using FailpointDeathTest = Failpoint;

TEST_F(FailpointDeathTest, CrashIsSigkill) {
  auto cross = [] {
    arm_failpoints("step=crash@2");
    if (!failpoint("step")) std::_Exit(3);
    (void)failpoint("step");
    std::_Exit(4);
  };
  EXPECT_EXIT(cross(), ::testing::KilledBySignal(SIGKILL), "");
}

}  // namespace
}  // namespace coffer
