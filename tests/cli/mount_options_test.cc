#include "fs/cli/mount_options.h"

#include <gtest/gtest.h>

namespace coffer::cli {
namespace {

TEST(MountOptions, SplitKeepsEscapedCommas) {
  EXPECT_EQ(split_mount_options("a,b=c\\,d,,e\\\\"), (std::vector<std::string>{"a", "b=c,d", "e\\"}));
  EXPECT_TRUE(split_mount_options("").empty());
}

TEST(MountOptions, EachGoesWhereItBelongs) {
  MountFlags flags;
  VolumeSettings settings;
  auto parsed = parse_mount_options(
      "rw,_netdev,x-systemd.automount,noauto,allow_other,ro,fsync=remote,uid=1000,gid=50,noatime,max_read=65536,"
      "state_dir=/s,passphrase_file=/p,path_style,upload_limit=1M",
      flags, settings);
  ASSERT_TRUE(parsed) << parsed.error().what;
  EXPECT_TRUE(flags.allow_other);
  EXPECT_TRUE(flags.read_only);
  EXPECT_TRUE(flags.fsync_remote);
  EXPECT_EQ(flags.uid, 1000u);
  EXPECT_EQ(flags.gid, 50u);
  EXPECT_EQ(flags.fuse_options, (std::vector<std::string>{"noatime", "max_read=65536"}));
  EXPECT_EQ(settings.state_dir, "/s");
  EXPECT_EQ(settings.passphrase_file, "/p");
  EXPECT_EQ(settings.path_style, true);
  EXPECT_EQ(settings.upload_limit, 1u << 20);
}

// mount(8) puts what was asked for behind what fstab and the table of mounts say.
TEST(MountOptions, OfTwoThatContradictEachOtherTheLaterCounts) {
  MountFlags flags;
  VolumeSettings settings;
  auto parsed = parse_mount_options("rw,nosuid,user_id=0,group_id=0,default_permissions,remount,ro", flags, settings);
  ASSERT_TRUE(parsed) << parsed.error().what;
  EXPECT_TRUE(flags.remount);
  EXPECT_TRUE(flags.read_only);
  ASSERT_TRUE(parse_mount_options("ro,rw", flags, settings));
  EXPECT_FALSE(flags.read_only);
}

TEST(MountOptions, NonsenseIsAUsageError) {
  for (const char* text : {"no_such", "uid=x", "uid=", "fsync=sometimes", "store=/x", "upload_limit=fast"}) {
    MountFlags flags;
    VolumeSettings settings;
    auto parsed = parse_mount_options(text, flags, settings);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().exit, Exit::kUsage) << text;
  }
}

TEST(MountOptions, TheCacheHasALimitAndALeastOne) {
  MountFlags flags;
  VolumeSettings settings;
  ASSERT_TRUE(parse_mount_options("cache_size=1G,free_space=0", flags, settings));
  EXPECT_EQ(settings.cache_size, 1u << 30);
  EXPECT_EQ(settings.free_space, 0u);
  auto parsed = parse_mount_options("cache_size=1M", flags, settings);
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().exit, Exit::kUsage);
  EXPECT_TRUE(parse_mount_options("cache_size=0", flags, settings));
}

TEST(MountOptions, SilentAfterIsADuration) {
  MountFlags flags;
  VolumeSettings settings, weaker;
  ASSERT_TRUE(parse_mount_options("silent_after=90d", flags, weaker));
  settings.fill_from(weaker);
  EXPECT_EQ(settings.silent_after, std::chrono::days(90));
  EXPECT_FALSE(parse_mount_options("silent_after=soon", flags, settings));
}

}  // namespace
}  // namespace coffer::cli
