#include "fs/cli/state_directory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <future>

#include "crypto/random.h"
#include "tests/cli/temporary.h"

namespace coffer::cli {
namespace {

TEST(StateDirectory, RemembersWhichVolumeAStoreHolds) {
  TemporaryDirectory dir;
  auto id = random_id<VolumeId>();
  EXPECT_EQ(remembered_volume(dir.path(), "file:///a"), std::nullopt);
  ASSERT_TRUE(remember_volume(dir.path(), "file:///a", id));
  EXPECT_EQ(remembered_volume(dir.path(), "file:///a"), id);
  EXPECT_EQ(remembered_volume(dir.path(), "file:///b"), std::nullopt);
}

TEST(StateDirectory, KeepsItsSalt) {
  TemporaryDirectory dir;
  auto id = random_id<VolumeId>();
  EXPECT_FALSE(VolumeDirectory::exists(dir.path(), id));
  Bytes salt;
  {
    auto first = VolumeDirectory::open(dir.path(), id);
    ASSERT_TRUE(first) << first.error().what;
    salt = first->salt();
  }
  EXPECT_EQ(salt.size(), 32u);
  EXPECT_TRUE(VolumeDirectory::exists(dir.path(), id));
  EXPECT_EQ(VolumeDirectory::open(dir.path(), id)->salt(), salt);
}

TEST(StateDirectory, IsForOneProcessAtATimeAndSaysWho) {
  TemporaryDirectory dir;
  auto id = random_id<VolumeId>();
  auto first = VolumeDirectory::open(dir.path(), id);
  ASSERT_TRUE(first);
  first->announce("/proc");
  auto second = VolumeDirectory::open(dir.path(), id);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().exit, Exit::kBusy);
  EXPECT_NE(second.error().what.find("already mounted by pid " + std::to_string(::getpid()) + " on /proc"),
            std::string::npos)
      << second.error().what;
}

// After umount(8) the process that served the mount lives on for a moment.
TEST(StateDirectory, WhoSaysThatHeHasItMountedWhereNothingIsMountedIsWaitedFor) {
  TemporaryDirectory dir;
  auto id = random_id<VolumeId>();
  auto first = VolumeDirectory::open(dir.path(), id);
  ASSERT_TRUE(first);
  first->announce(dir.path());
  auto second = std::async(std::launch::async, [&] { return VolumeDirectory::open(dir.path(), id).has_value(); });
  EXPECT_EQ(second.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);  // or it has given up
  { auto gone = std::move(*first); }
  EXPECT_TRUE(second.get());
}

TEST(StateDirectory, ANewerLayoutIsRefusedAndLeftAlone) {
  TemporaryDirectory dir;
  auto id = random_id<VolumeId>();
  ASSERT_TRUE(VolumeDirectory::open(dir.path(), id));
  std::ofstream(dir.path() + "/" + id.str() + "/version") << "2\n";
  auto newer = VolumeDirectory::open(dir.path(), id);
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error().exit, Exit::kUnsupported);
  EXPECT_NE(newer.error().what.find("newer coffer"), std::string::npos);
  std::ofstream(dir.path() + "/" + id.str() + "/version") << "x\n";
  EXPECT_EQ(VolumeDirectory::open(dir.path(), id).error().exit, Exit::kDamaged);
}

TEST(StateDirectory, ADamagedSaltIsNotReplaced) {
  TemporaryDirectory dir;
  auto id = random_id<VolumeId>();
  ASSERT_TRUE(VolumeDirectory::open(dir.path(), id));
  std::ofstream(dir.path() + "/" + id.str() + "/salt") << "short";
  EXPECT_EQ(VolumeDirectory::open(dir.path(), id).error().exit, Exit::kDamaged);
}

TEST(StateDirectory, KeepsHeadAndSlotsAndDropsOldOnes) {
  TemporaryDirectory dir;
  VolumeHead head{random_id<VolumeId>(), random_id<PublicKey>()};
  auto d = VolumeDirectory::open(dir.path(), head.volume);
  ASSERT_TRUE(d);
  EXPECT_FALSE(d->kept()->has_value());
  Bytes a(500, 1), b(600, 2), c(700, 3);
  ASSERT_TRUE(d->keep(head, {a, b}));
  EXPECT_EQ((*d->kept())->slots.size(), 2u);
  ASSERT_TRUE(d->keep(head, {c}));
  EXPECT_EQ((*d->kept())->slots, std::vector<Bytes>{c});
  EXPECT_EQ((*d->kept())->head.volume, head.volume);
}

TEST(StateDirectory, AnotherVolumesContentIsRefused) {
  TemporaryDirectory dir;
  VolumeHead head{random_id<VolumeId>(), random_id<PublicKey>()};
  auto other = random_id<VolumeId>();
  ASSERT_TRUE(VolumeDirectory::open(dir.path(), head.volume)->keep(head, {Bytes(500, 1)}));
  std::filesystem::rename(dir.path() + "/" + head.volume.str(), dir.path() + "/" + other.str());
  auto kept = VolumeDirectory::open(dir.path(), other)->kept();
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().exit, Exit::kDamaged);
}

}  // namespace
}  // namespace coffer::cli
