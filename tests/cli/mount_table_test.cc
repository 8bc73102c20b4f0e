#include "fs/cli/mount_table.h"

#include <gtest/gtest.h>

namespace coffer::cli {
namespace {

constexpr std::string_view kTable =
    "22 1 0:20 / / rw - ext4 /dev/vda rw\n"
    "30 22 0:40 / /mnt/a\\040b rw,nosuid shared:5 master:1 - fuse.coffer s3://bucket rw,user_id=1000,group_id=0\n"
    "31 30 0:41 / /mnt/a\\040b/inner rw - tmpfs tmpfs rw\n"
    "broken line\n"
    "32 22 0:42 / /mnt/c rw - fuse.other x rw,user_id=0\n";

TEST(MountTable, ParsesEscapesAndOptionalFields) {
  auto mounts = parse_mountinfo(kTable);
  ASSERT_EQ(mounts.size(), 4u);
  EXPECT_EQ(mounts[1].mount_point, "/mnt/a b");
  EXPECT_EQ(mounts[1].type, "fuse.coffer");
  EXPECT_EQ(mounts[1].source, "s3://bucket");
  EXPECT_EQ(mounts[1].user, 1000u);
}

TEST(MountTable, FindsTheMountAPathIsOn) {
  auto mounts = parse_mountinfo(kTable);
  ASSERT_NE(find_coffer_mount(mounts, "/mnt/a b"), nullptr);
  EXPECT_EQ(find_coffer_mount(mounts, "/mnt/a b/x/y")->mount_point, "/mnt/a b");
  EXPECT_EQ(find_coffer_mount(mounts, "/mnt/a bc"), nullptr);
  EXPECT_EQ(find_coffer_mount(mounts, "/mnt/a b/inner/x"), nullptr);
  EXPECT_EQ(find_coffer_mount(mounts, "/mnt/c"), nullptr);
}

TEST(MountTable, Within) {
  EXPECT_TRUE(is_within("/a/b", "/a"));
  EXPECT_TRUE(is_within("/a", "/a"));
  EXPECT_TRUE(is_within("/a", "/"));
  EXPECT_FALSE(is_within("/ab", "/a"));
  EXPECT_FALSE(is_within("/a", "/a/b"));
}

TEST(MountTable, ResolvesWhatIsThereAndWhatIsNot) {
  EXPECT_EQ(*resolve_path("/tmp/../tmp"), "/tmp");
  EXPECT_EQ(*resolve_path("/tmp/no-such-thing-here"), "/tmp/no-such-thing-here");
  EXPECT_FALSE(resolve_path("/no-such-thing/here").has_value());
}

}  // namespace
}  // namespace coffer::cli
