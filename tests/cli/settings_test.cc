#include "fs/cli/settings.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace coffer::cli {
namespace {

TEST(Settings, SizesHaveBinarySuffixes) {
  EXPECT_EQ(*parse_size("0"), 0u);
  EXPECT_EQ(*parse_size("4096"), 4096u);
  EXPECT_EQ(*parse_size("10K"), 10240u);
  EXPECT_EQ(*parse_size("1.5M"), 1572864u);
  EXPECT_EQ(*parse_size("2g"), 2ull << 30);
}

TEST(Settings, WhatIsNoSizeIsAUsageError) {
  for (const char* text : {"", "x", "-1", "10Q", "10 M", "1e400", "nan", "inf", "99999999999T", "0x10Z"}) {
    auto size = parse_size(text);
    ASSERT_FALSE(size) << text;
    EXPECT_EQ(size.error().exit, Exit::kUsage) << text;
  }
}

TEST(Settings, Durations) {
  EXPECT_EQ(*parse_duration("0"), Nanos(0));
  EXPECT_EQ(*parse_duration("45s"), std::chrono::seconds(45));
  EXPECT_EQ(*parse_duration("90m"), std::chrono::minutes(90));
  EXPECT_EQ(*parse_duration("12h"), std::chrono::hours(12));
  EXPECT_EQ(*parse_duration("30d"), std::chrono::days(30));
  for (const char* text : {"", "30", "d", "-1d", "1.5h", "1 d", "1w", "99999d", "99999999999999999999s", "0x1h"}) {
    auto duration = parse_duration(text);
    ASSERT_FALSE(duration) << text;
    EXPECT_EQ(duration.error().exit, Exit::kUsage) << text;
  }
}

TEST(Settings, StrongerSaysFirst) {
  VolumeSettings strong, weak;
  strong.endpoint = "https://a";
  weak.endpoint = "https://b";
  weak.region = "r";
  weak.path_style = true;
  strong.path_style = false;
  weak.upload_limit = 5;
  strong.fill_from(weak);
  EXPECT_EQ(strong.endpoint, "https://a");
  EXPECT_EQ(strong.region, "r");
  EXPECT_EQ(strong.path_style, false);
  EXPECT_EQ(strong.upload_limit, 5u);
}

TEST(Settings, APassphraseFileHidesAWeakerCommand) {
  VolumeSettings strong, weak;
  strong.passphrase_command = "echo x";
  weak.passphrase_file = "/f";
  strong.fill_from(weak);
  EXPECT_EQ(strong.passphrase_file, "");
  EXPECT_EQ(strong.passphrase_command, "echo x");
}

TEST(Settings, UnknownFieldsAreNotSet) {
  VolumeSettings s;
  EXPECT_FALSE(*set_field(s, "no_such_thing", "x"));
  EXPECT_TRUE(*set_field(s, "region", "eu"));
  EXPECT_EQ(s.region, "eu");
  EXPECT_FALSE(set_field(s, "path_style", "maybe").has_value());
}

TEST(Settings, EnvironmentVariablesCount) {
  ::setenv("COFFER_STATE_DIR", "/s", 1);
  ::setenv("COFFER_UPLOAD_LIMIT", "1M", 1);
  auto s = settings_from_environment();
  ::unsetenv("COFFER_STATE_DIR");
  ::unsetenv("COFFER_UPLOAD_LIMIT");
  ASSERT_TRUE(s);
  EXPECT_EQ(s->state_dir, "/s");
  EXPECT_EQ(s->upload_limit, 1u << 20);
}

}  // namespace
}  // namespace coffer::cli
