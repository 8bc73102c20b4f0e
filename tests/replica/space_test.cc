// What a replica takes of the local disk, and what it does when that is full.
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <filesystem>
#include <functional>
#include <thread>

#include "crypto/random.h"
#include "fs/replica/replica.h"
#include "tests/cache/fixture.h"
#include "tests/replica/exchange.h"

namespace coffer {
namespace {

using model::FileType;
using model::kRootIno;
using test::Exchange;
using test::noise;
using test::Packs;
using test::TempDir;
using test::TestVolume;

constexpr uint64_t kMiB = 1 << 20;

Ino make_file(Replica& replica, const std::string& name) {
  auto node = replica.make(kRootIno, name, {FileType::kRegular, 0644, 0, 0, 0, ""});
  EXPECT_TRUE(node.has_value()) << node.error().what();
  return node ? node->ino : 0;
}

Result<void> write(Replica& replica, Ino ino, BytesView content) {
  constexpr size_t kPiece = 128 << 10;
  for (size_t at = 0; at < content.size(); at += kPiece)
    TRYV(replica.write(ino, at, content.subspan(at, std::min(kPiece, content.size() - at)), false));
  return {};
}

// kNotFound when a part is not on this machine.
Result<Bytes> read(Replica& replica, const std::string& name) {
  TRY(model::Node node, replica.lookup(kRootIno, name));
  TRY(model::Inode inode, replica.attributes(node.ino));
  Bytes out(inode.size);
  TRY(auto outcome, replica.read(node.ino, 0, out));
  if (!outcome.missing.empty()) return fail(Code::kNotFound, "not local");
  return out;
}

void expect_sound(Replica& replica) {
  TAKE(auto faults, replica.find_faults());
  EXPECT_EQ(faults, std::vector<std::string>());
}

// A fetched frame of somebody else's makes a replica look at its limits.
void keep_something(Replica& replica) {
  FrameRef ref{test::fixed_id<ObjectId>(9), 0, 5000, {}};
  ASSERT_OK(replica.keep_frame(ref, noise(5000, 1)));
}

bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 1000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return condition();
}

Replica::Options options_with(const SpaceLimits& limits) {
  Replica::Options options;
  options.space = limits;
  return options;
}

TEST(Space, WhatACrashWouldForgetIsInTheStoreIsNotEvicted) {
  TempDir dir, copy;
  TestVolume volume;
  const Bytes content = noise(6 * kMiB, 1);
  auto options = options_with({2 * kMiB, 0, 0});
  options.commit_every = std::chrono::hours(1);
  {
    TAKE(auto replica, volume.open(dir.path(), options));
    ASSERT_OK(replica->make_root());
    ASSERT_OK(write(*replica, make_file(*replica, "f"), content));
    ASSERT_OK(replica->sync_all(true));
    Exchange exchange;
    Packs packs;
    ASSERT_TRUE(exchange.publish(*replica, packs));
    keep_something(*replica);
    EXPECT_GE(replica->packs().disk_bytes(), content.size());
    // As a crash leaves it: the journal names the frames first, and only later where they are in the store.
    std::filesystem::copy(dir.path(), copy.path(),
                          std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  }
  {
    TAKE(auto replica, volume.open(copy.path(), options));
    keep_something(*replica);
    TAKE(Bytes back, read(*replica, "f"));
    EXPECT_EQ(back, content);
    expect_sound(*replica);
  }
  // The close has committed: now it may go, and the file is still known.
  TAKE(auto replica, volume.open(copy.path(), options));
  keep_something(*replica);
  EXPECT_LE(replica->packs().disk_bytes(), 2 * kMiB);
  EXPECT_CODE(Code::kNotFound, read(*replica, "f"));
  expect_sound(*replica);
}

TEST(Space, UnsentWorkStaysWhateverTheLimit) {
  TempDir dir;
  TestVolume volume;
  const Bytes content = noise(6 * kMiB, 1);
  TAKE(auto replica, volume.open(dir.path(), options_with({2 * kMiB, uint64_t{1} << 60, 0})));
  ASSERT_OK(replica->make_root());
  ASSERT_OK(write(*replica, make_file(*replica, "f"), content));
  ASSERT_OK(replica->sync_all(true));
  keep_something(*replica);
  TAKE(Bytes back, read(*replica, "f"));
  EXPECT_EQ(back, content);
}

TEST(Space, WhatARecordCarriesStaysWhileARemovedFileIsOpen) {
  TempDir dir;
  TestVolume volume;
  auto options = options_with({16 << 10, 0, 0});
  options.commit_every = std::chrono::milliseconds(1);
  TAKE(auto replica, volume.open(dir.path(), options));
  ASSERT_OK(replica->make_root());
  const Bytes open_still = noise(50'000, 1);
  Ino gone = make_file(*replica, "gone");
  ASSERT_OK(write(*replica, gone, open_still));
  ASSERT_OK(write(*replica, make_file(*replica, "small"), noise(1000, 2)));
  ASSERT_OK(replica->sync_all(true));
  ASSERT_OK(replica->unlink(kRootIno, "gone"));
  TAKE(auto frozen, replica->freeze());
  ASSERT_TRUE(frozen && frozen->packs.size() == 1);
  const auto& pack = frozen->packs[0];
  ASSERT_OK(replica->finish_pack(pack.id, pack.index));
  OrderedRecord record;
  record.stamp = 1;
  record.log = random_id<LogId>();
  record.number = 1;
  record.changes = frozen->changes;
  ASSERT_OK(replica->publish(*frozen, record, "log/x", Bytes{1}));
  std::pair<ObjectId, PackPlace> place{pack.id,
                                       {"log/x", 100, pack.index[0].frame.offset + pack.index[0].frame.length}};
  ASSERT_OK(replica->packs_uploaded(std::span(&place, 1)));
  ASSERT_OK(replica->uploaded("log/x"));
  for (int i = 0; i < 30; ++i) {
    keep_something(*replica);
    std::this_thread::yield();
  }
  Bytes back(open_still.size());
  TAKE(auto outcome, replica->read(gone, 0, back));
  EXPECT_TRUE(outcome.missing.empty());
  EXPECT_EQ(back, open_still);
  replica->forget(gone);
  EXPECT_TRUE(eventually([&] {
    keep_something(*replica);
    return replica->packs().disk_bytes() <= 16u << 10;
  }));
  EXPECT_CODE(Code::kNotFound, read(*replica, "small"));
}

// Its bytes are in no store, and never will be; when nobody has it open any more, they take no room here either, without
// anybody changing something else.
TEST(Space, WhatARemovedOpenFileHadGoesWhenItIsClosed) {
  TempDir dir;
  TestVolume volume;
  Replica::Options options;
  options.commit_every = std::chrono::milliseconds(1);
  TAKE(auto replica, volume.open(dir.path(), options));
  ASSERT_OK(replica->make_root());
  Exchange exchange;
  Packs packs;
  exchange.publish(*replica, packs);  // the root
  Ino gone = make_file(*replica, "temporary");
  ASSERT_OK(write(*replica, gone, noise(100'000, 1)));
  ASSERT_OK(replica->sync_file(gone));
  ASSERT_OK(replica->unlink(kRootIno, "temporary"));
  exchange.publish(*replica, packs);
  ASSERT_OK(write(*replica, gone, noise(100'000, 2)));
  ASSERT_OK(replica->sync_file(gone));
  exchange.publish(*replica, packs);
  EXPECT_GT(replica->packs().disk_bytes(), 100'000u);
  bool told = false;
  replica->on_pending([&told] { told = true; });
  replica->forget(gone);
  EXPECT_TRUE(told) << "nobody freezes, and finds what is dead";
  exchange.publish(*replica, packs);
  EXPECT_TRUE(eventually([&] { return replica->packs().disk_bytes() == 0; })) << replica->packs().disk_bytes();
  EXPECT_EQ(replica->counters().pending_bytes, 0u);
}

class AllocationTest : public ::testing::TestWithParam<const char*> {
 protected:
  ~AllocationTest() override { arm_failpoints(""); }
};

// Every place at which the replica asks the disk for room gets none, for a while or once.
TEST_P(AllocationTest, FailsAndNothingBreaks) {
  for (int i = 0; i < 8; ++i) {
    const bool fresh = i % 2 == 0;
    const char* when[] = {"=enospc", "=enospc@1", "=enospc@2", "=enospc@4"};
    const std::string failure = std::string(GetParam()) + when[i / 2];
    SCOPED_TRACE(failure + (fresh ? " from the start" : " later"));
    TempDir dir;
    TestVolume volume;
    auto options = options_with({0, 0, 4 * kMiB});
    options.commit_every = std::chrono::milliseconds(1);
    const Bytes before = noise(3 * kMiB, 1), during = noise(2 * kMiB, 2), after = noise(kMiB, 3);
    bool acknowledged = false;
    {
      TAKE(auto replica, volume.open(dir.path(), options));
      Exchange exchange;
      Packs packs;
      if (!fresh) {
        ASSERT_OK(replica->make_root());
        ASSERT_OK(write(*replica, make_file(*replica, "before"), before));
        make_file(*replica, "removed");
        ASSERT_OK(replica->sync_all(true));
        ASSERT_TRUE(exchange.publish(*replica, packs));
        ASSERT_OK(write(*replica, make_file(*replica, "cut"), before));
      }
      arm_failpoints(failure);
      if (fresh) ASSERT_OK(replica->make_root());
      Ino ino = make_file(*replica, "during");
      Result<void> outcome = write(*replica, ino, during);
      if (outcome) outcome = replica->sync_file(ino);
      if (!outcome) {
        EXPECT_EQ(outcome.error().code(), Code::kNoSpace) << outcome.error().what();
      }
      acknowledged = outcome.has_value();
      if (!fresh) {
        ASSERT_OK(replica->unlink(kRootIno, "removed"));
        TAKE(model::Node cut, replica->lookup(kRootIno, "cut"));
        ASSERT_OK(replica->truncate(cut.ino, 10));
      }
      // What cannot be described or kept now can be later.
      if (auto frozen = replica->freeze(); frozen && *frozen) {
        for (const auto& p : (*frozen)->packs) {
          if (auto size = replica->finish_pack(p.id, p.index); !size) {
            EXPECT_EQ(size.error().code(), Code::kNoSpace) << size.error().what();
          }
        }
      }
      FrameRef other{random_id<ObjectId>(), 0, 5000, {}};
      if (auto kept = replica->keep_frame(other, noise(5000, 1)); !kept) {
        EXPECT_EQ(kept.error().code(), Code::kNoSpace) << kept.error().what();
      }
      arm_failpoints("");
      ASSERT_OK(write(*replica, make_file(*replica, "after"), after));
      ASSERT_OK(replica->sync_all(true));
      ASSERT_TRUE(exchange.publish(*replica, packs));
      expect_sound(*replica);
      ASSERT_OK(replica->close());
    }
    TAKE(auto replica, volume.open(dir.path(), options));
    expect_sound(*replica);
    TAKE(Bytes back, read(*replica, "after"));
    EXPECT_EQ(back, after);
    if (acknowledged) {
      TAKE(back, read(*replica, "during"));
      EXPECT_EQ(back, during);
    }
    if (fresh) continue;
    TAKE(back, read(*replica, "before"));
    EXPECT_EQ(back, before);
    TAKE(back, read(*replica, "cut"));
    EXPECT_EQ(back, Bytes(before.begin(), before.begin() + 10));
    EXPECT_CODE(Code::kNotFound, replica->lookup(kRootIno, "removed"));
  }
}

INSTANTIATE_TEST_SUITE_P(Places, AllocationTest,
                         ::testing::Values("journal.create", "journal.write", "table.commit", "pack.create",
                                           "pack.append", "pack.finish", "pack.store", "reserve.take"));

// A disk that is really full: a small tmpfs. Skipped where one may not be mounted.
class FullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    mounted_ = ::mount("tmpfs", dir_.path().c_str(), "tmpfs", 0, "size=160m") == 0;
    if (!mounted_) GTEST_SKIP() << "cannot mount a tmpfs here";
    std::filesystem::create_directory(dir_.path() + "/r");
  }
  ~FullDiskTest() override {
    replica_.reset();
    if (mounted_) ::umount2(dir_.path().c_str(), MNT_DETACH);
  }
  void open() {
    replica_.reset();
    auto options = options_with({0, 4 * kMiB, 12 * kMiB});
    options.commit_every = std::chrono::milliseconds(50);
    TAKE(replica_, volume_.open(dir_.path() + "/r", options));
  }
  uint64_t available() const { return std::filesystem::space(dir_.path()).available; }

  TempDir dir_;
  TestVolume volume_;
  std::unique_ptr<Replica> replica_;
  bool mounted_ = false;
};

TEST_F(FullDiskTest, WritersAreToldAndTheRestGoesOn) {
  open();
  ASSERT_OK(replica_->make_root());
  ASSERT_TRUE(eventually([&] { return !replica_->counters().disk_full; }));
  // Until there is no room. What was taken is kept.
  std::vector<Bytes> contents;
  Result<void> outcome;
  for (uint64_t i = 0; i < 200 && outcome; ++i) {
    Bytes content = noise(kMiB, i);
    auto node = replica_->make(kRootIno, std::to_string(i), {FileType::kRegular, 0644, 0, 0, 0, ""});
    outcome = node ? write(*replica_, node->ino, content) : fail(node.error());
    if (outcome) contents.push_back(std::move(content));
  }
  EXPECT_CODE(Code::kNoSpace, outcome);
  EXPECT_GT(contents.size(), 20u);
  Result<void> named;  // names take little, but not nothing
  for (int i = 0; i < 20'000 && named; ++i) {
    auto node = replica_->make(kRootIno, "more" + std::to_string(i), {FileType::kRegular, 0644, 0, 0, 0, ""});
    if (!node) named = fail(node.error());
  }
  EXPECT_CODE(Code::kNoSpace, named);
  ASSERT_OK(replica_->sync_all(true));
  EXPECT_GT(available(), 0u);

  // Somebody else takes the rest. What must go on does, with the reserve.
  test::spill(dir_.path() + "/filler", Bytes(available() / 4096 * 4096));
  ASSERT_OK(replica_->unlink(kRootIno, "0"));
  ASSERT_OK(replica_->sync_all(true));
  Exchange exchange;
  Packs packs;
  TAKE(auto frozen, replica_->freeze());
  ASSERT_TRUE(frozen);
  for (const auto& p : frozen->packs) ASSERT_OK(replica_->finish_pack(p.id, p.index));
  ASSERT_TRUE(exchange.publish(*replica_, packs));

  // The store has it all: what is cached makes room for what is new, and for the reserve.
  EXPECT_TRUE(eventually([&] {
    return replica_->make(kRootIno, "again", {FileType::kRegular, 0644, 0, 0, 0, ""}).has_value() ||
           replica_->lookup(kRootIno, "again").has_value();
  }));
  std::filesystem::remove(dir_.path() + "/filler");
  EXPECT_TRUE(eventually([&] { return !replica_->counters().disk_full; }));
  TAKE(model::Node again, replica_->lookup(kRootIno, "again"));
  ASSERT_OK(write(*replica_, again.ino, noise(kMiB, 1000)));
  ASSERT_OK(replica_->sync_all(true));
  open();
  expect_sound(*replica_);
  for (size_t i = 1; i < contents.size(); ++i) {
    auto back = read(*replica_, std::to_string(i));
    if (back)
      EXPECT_EQ(*back, contents[i]);
    else
      EXPECT_CODE(Code::kNotFound, back);
  }
  EXPECT_CODE(Code::kNotFound, replica_->lookup(kRootIno, "0"));
  TAKE(Bytes back, read(*replica_, "again"));
  EXPECT_EQ(back, noise(kMiB, 1000));
}

}  // namespace
}  // namespace coffer
