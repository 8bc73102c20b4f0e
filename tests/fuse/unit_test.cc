// What needs no mount: node ids, counters, errno, ACLs, the kernel's list of mounts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "fs/fuse/attributes.h"
#include "fs/fuse/count_table.h"
#include "fs/fuse/errno.h"
#include "fs/fuse/mount_points.h"
#include "fs/fuse/nodes.h"
#include "fs/fuse/posix_acl.h"
#include "fs/fuse/upcall_meter.h"
#include "fs/fuse/write_turns.h"

namespace coffer::fuse {
namespace {

TEST(UpcallMeter, CountsEachCallAndMeasuresSome) {
  UpcallMeter meter;
  for (uint64_t i = 0; i < 2 * UpcallMeter::kEvery; ++i) {
    meter.count(Upcall::kLookup);
    meter.charge(Upcall::kLookup);
  }
  EXPECT_EQ(meter.calls(Upcall::kLookup), 2 * UpcallMeter::kEvery);
  EXPECT_GT(meter.cpu_ns(Upcall::kLookup), 0u);
}

// A request of `size` bytes that all say `mark`.
WriteTurns::Request write_request(uint8_t mark, size_t size) {
  void* memory = std::malloc(size);
  std::memset(memory, mark, size);
  return {memory, size};
}

TEST(WriteTurns, WhoComesToABusyFileLeavesHisWriteThere) {
  constexpr size_t kSmall = 4096, kLarge = 1 << 20;
  ActiveWrites active;
  std::vector<int> order;
  std::function<void()> meanwhile;
  WriteTurns turns(active, [&](const WriteTurns::Request& r) {
    const auto* bytes = static_cast<const uint8_t*>(r.memory);
    EXPECT_TRUE(std::all_of(bytes, bytes + r.size, [&](uint8_t b) { return b == bytes[0]; }));
    order.push_back(bytes[0]);
    EXPECT_FALSE(active.wait_until_idle(std::chrono::nanoseconds(0)));
    if (meanwhile) std::exchange(meanwhile, nullptr)();
  });
  auto take = [&](uint64_t file, uint8_t mark, size_t size) {
    auto request = write_request(mark, size);
    turns.take(file, request);
    std::free(request.memory);
  };
  // All in one thread: whoever had to wait here would wait for ever.
  meanwhile = [&] {
    take(1, 2, kLarge);
    take(1, 3, kSmall);
    take(2, 4, kSmall);  // of another file: at once
    take(1, 5, kLarge);
    EXPECT_EQ(order, (std::vector<int>{1, 4}));
  };
  take(1, 1, kLarge);
  EXPECT_EQ(order, (std::vector<int>{1, 4, 2, 3, 5}));
  EXPECT_TRUE(active.wait_until_idle(std::chrono::nanoseconds(0)));

  // Of what is too much to keep each is on his own, and that ends nobody's turn.
  order.clear();
  meanwhile = [&] {
    const int fit = static_cast<int>(WriteTurns::kMostWaiting / kLarge);
    for (int i = 0; i < fit; ++i) take(1, 2, kLarge);
    EXPECT_EQ(order.size(), 1u);
    take(1, 3, kLarge);
    EXPECT_EQ(order, (std::vector<int>{1, 3}));
  };
  take(1, 1, kLarge);
  EXPECT_EQ(order.size(), 2 + WriteTurns::kMostWaiting / kLarge);
  take(1, 6, kSmall);
  EXPECT_EQ(order.back(), 6);
}

TEST(CountTable, AgreesWithAMap) {
  std::mt19937_64 rng(7);
  CountTable table;
  std::map<uint64_t, uint64_t> expected;
  for (int i = 0; i < 200'000; ++i) {
    // Few keys, in runs as inode numbers are, so that slots collide and wrap.
    uint64_t key = (rng() % 3 + 1) << 24 | (rng() % (i < 100'000 ? 4000 : 40));
    uint64_t count = rng() % 3 + 1;
    if (rng() % 2 == 0) {
      EXPECT_EQ(table.add(key, count), expected[key] += count);
    } else {
      auto it = expected.find(key);
      uint64_t left = it == expected.end() || it->second <= count ? 0 : it->second - count;
      if (it != expected.end() && left == 0) expected.erase(it);
      if (left > 0) it->second = left;
      EXPECT_EQ(table.subtract(key, count), left);
    }
    ASSERT_EQ(table.size(), expected.size());
  }
  for (const auto& [key, count] : expected) EXPECT_TRUE(table.contains(key)) << key;
  EXPECT_FALSE(table.contains(0));
}

NodeId acquire(Nodes& nodes, Ino ino) {
  auto id = nodes.acquire(ino, nodes.ticket());
  EXPECT_TRUE(id.has_value());
  return id.value_or(0);
}

TEST(Nodes, TheIdIsTheInodeNumber) {
  Nodes nodes;
  EXPECT_EQ(acquire(nodes, 100), 100u);
  EXPECT_EQ(acquire(nodes, 100), 100u);
  EXPECT_EQ(nodes.resolve(100).ino, 100u);
  EXPECT_FALSE(nodes.resolve(100).superseded);
  EXPECT_EQ(nodes.size(), 2u);  // with the root
  EXPECT_EQ(nodes.release(100, 2), std::nullopt);
  EXPECT_EQ(nodes.size(), 1u);
  EXPECT_EQ(nodes.known(100), std::nullopt);
  EXPECT_EQ(nodes.known(model::kRootIno), model::kRootIno);
}

TEST(Nodes, ReleaseTellsOfAnUnlinkedInodeOnce) {
  Nodes nodes;
  acquire(nodes, 100);
  EXPECT_TRUE(nodes.mark_unlinked(100));
  EXPECT_TRUE(nodes.mark_unlinked(100));
  EXPECT_EQ(nodes.release(100, 1), std::optional<Ino>(100));
  EXPECT_FALSE(nodes.mark_unlinked(100)) << "nobody knows it: nobody will release it";
  EXPECT_FALSE(nodes.mark_unlinked(7));
  acquire(nodes, 100);
  nodes.mark_unlinked(100);
  nodes.mark_linked(100);
  EXPECT_EQ(nodes.release(100, 1), std::nullopt);
}

TEST(Nodes, ASupersededInodeGetsAnotherId) {
  Nodes nodes;
  acquire(nodes, 100);
  uint64_t before = nodes.ticket();
  EXPECT_TRUE(nodes.supersede(100, 100));
  EXPECT_EQ(nodes.acquire(100, before), std::nullopt) << "its attributes may be the old ones";
  NodeId second = acquire(nodes, 100);
  EXPECT_NE(second, 100u);
  EXPECT_TRUE(nodes.resolve(100).superseded);
  EXPECT_FALSE(nodes.resolve(second).superseded);
  EXPECT_EQ(nodes.resolve(100).ino, 100u);
  EXPECT_EQ(nodes.resolve(second).ino, 100u);
  EXPECT_TRUE(nodes.supersede(100, 100));
  NodeId third = acquire(nodes, 100);
  EXPECT_EQ((std::set<NodeId>{100, second, third}.size()), 3u);
  EXPECT_TRUE(nodes.resolve(second).superseded);

  // The inode is gone for the kernel only with the last of its ids.
  EXPECT_TRUE(nodes.mark_unlinked(100));
  EXPECT_EQ(nodes.release(third, 1), std::nullopt);
  EXPECT_EQ(nodes.release(100, 1), std::nullopt);
  EXPECT_EQ(nodes.release(second, 1), std::optional<Ino>(100));
  EXPECT_EQ(nodes.size(), 1u);
  EXPECT_EQ(acquire(nodes, 100), 100u);
  EXPECT_FALSE(nodes.resolve(100).superseded);
}

TEST(Nodes, NothingIsSupersededThatTheKernelDoesNotKnow) {
  Nodes nodes;
  uint64_t before = nodes.ticket();
  EXPECT_FALSE(nodes.supersede(100, 200));
  EXPECT_EQ(nodes.acquire(100, before), std::nullopt);
  EXPECT_EQ(acquire(nodes, 100), 100u);
}

TEST(Nodes, WhoHasItOpenGoesOnWithTheKeeper) {
  Nodes nodes;
  acquire(nodes, 100);
  EXPECT_TRUE(nodes.supersede(100, 200));
  EXPECT_TRUE(nodes.mark_unlinked(200));
  EXPECT_EQ(nodes.resolve(100).ino, 200u);
  EXPECT_EQ(nodes.resolve(100).number, 100u);
  EXPECT_FALSE(nodes.resolve(100).superseded);
  NodeId second = acquire(nodes, 100);
  EXPECT_NE(second, 100u);
  EXPECT_EQ(nodes.resolve(second).ino, 100u);

  // Forgotten and looked up again while the number is still lent.
  EXPECT_EQ(nodes.release(second, 1), std::nullopt);
  second = acquire(nodes, 100);
  EXPECT_NE(second, 100u);
  EXPECT_TRUE(nodes.supersede(100, 100));
  NodeId third = acquire(nodes, 100);
  EXPECT_TRUE(nodes.resolve(second).superseded);
  EXPECT_TRUE(nodes.supersede(100, 300));
  EXPECT_EQ(nodes.resolve(second).ino, 300u);
  EXPECT_EQ(nodes.resolve(third).ino, 300u);
  EXPECT_EQ(nodes.resolve(100).ino, 200u);
  EXPECT_TRUE(nodes.mark_unlinked(300));

  // The keeper becomes a file with a name.
  nodes.rebind(200, 400);
  EXPECT_EQ(nodes.resolve(100).ino, 400u);
  EXPECT_EQ(nodes.known(400), std::optional<NodeId>(100));
  EXPECT_EQ(acquire(nodes, 400), 100u);
  nodes.rebind(200, 400);  // a second writer was on his way
  EXPECT_EQ(nodes.resolve(100).ino, 400u);

  EXPECT_EQ(nodes.release(third, 1), std::nullopt);
  EXPECT_EQ(nodes.release(second, 1), std::optional<Ino>(300));
  EXPECT_EQ(nodes.release(100, 2), std::nullopt);
  EXPECT_EQ(nodes.size(), 1u);
  EXPECT_EQ(acquire(nodes, 100), 100u);
}

TEST(Nodes, AForeignNumberThatLooksLikeAnAliasIsNoAlias) {
  Nodes nodes;
  acquire(nodes, 100);
  nodes.supersede(100, 100);
  NodeId alias = acquire(nodes, 100);
  Ino foreign = alias;  // the very same number
  EXPECT_EQ(nodes.known(foreign), std::nullopt);
  EXPECT_FALSE(nodes.mark_unlinked(foreign));
  NodeId id = acquire(nodes, foreign);
  EXPECT_NE(id, alias);
  EXPECT_EQ(nodes.resolve(id).ino, foreign);
  EXPECT_EQ(nodes.resolve(alias).ino, 100u);
  nodes.mark_unlinked(foreign);
  EXPECT_EQ(nodes.release(id, 1), std::optional<Ino>(foreign));
}

// Counts come out even while threads look up, forget, unlink and supersede the same few inodes.
TEST(Nodes, ThreadsAgree) {
  Nodes nodes;
  std::vector<std::jthread> threads;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([&nodes, seed] {
      std::mt19937_64 rng(seed);
      for (int i = 0; i < 20'000; ++i) {
        Ino ino = 100 + rng() % 4;
        auto id = nodes.acquire(ino, nodes.ticket());
        if (rng() % 50 == 0) nodes.supersede(ino, ino);
        if (rng() % 50 == 0) nodes.mark_unlinked(ino);
        if (!id) continue;
        EXPECT_EQ(nodes.resolve(*id).ino, ino);
        nodes.release(*id, 1);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(nodes.size(), 1u);
  EXPECT_TRUE(nodes.take_unlinked().empty());
}

TEST(Errno, EveryCodeHasOne) {
  for (int c = 0; c <= static_cast<int>(Code::kLoop); ++c) EXPECT_GT(to_errno(Upcall::kRead, static_cast<Code>(c)), 0);
  EXPECT_EQ(to_errno(Upcall::kRead, static_cast<Code>(1000)), EIO);
  EXPECT_EQ(to_errno(Upcall::kRead, Code::kUnavailable), ETIMEDOUT);
  EXPECT_EQ(to_errno(Upcall::kRead, Code::kCancelled), EINTR);
  EXPECT_EQ(to_errno(Upcall::kRead, Code::kCorrupt), EIO);
  EXPECT_EQ(to_errno(Upcall::kGetxattr, Code::kNoData), ENODATA);
  EXPECT_EQ(to_errno(Upcall::kLseek, Code::kNoData), ENXIO);
  EXPECT_EQ(to_errno(Upcall::kSetxattr, Code::kTooLarge), ENOSPC);
  EXPECT_EQ(to_errno(Upcall::kWrite, Code::kTooLarge), EFBIG);
}

TEST(Attributes, TimesBefore1970) {
  timespec t = to_timespec({-1});
  EXPECT_EQ(t.tv_sec, -1);
  EXPECT_EQ(t.tv_nsec, 999'999'999);
  EXPECT_EQ(to_wall_time(t).ns, -1);
  EXPECT_EQ(to_wall_time({INT64_MAX, 0}).ns, INT64_MAX);
}

TEST(Attributes, AFileWithASizeHasABlock) {
  model::Inode inode;
  inode.size = 1ull << 40;  // one hole, as far as the inode tells
  EXPECT_GT(to_stat(5, inode, {}).st_blocks, 0);
  EXPECT_LT(to_stat(5, inode, {}).st_blocks, 1000);
  inode.chunks = {{0, 2}, {1 << 20, 5}};
  EXPECT_EQ(to_stat(5, inode, {}).st_blocks, 2 * 2048);
}

Bytes acl(std::initializer_list<PosixAcl::Entry> entries) {
  Bytes out;
  Writer w(out);
  w.u32(2);
  for (const auto& e : entries) {
    w.u16(static_cast<uint16_t>(e.tag));
    w.u16(e.permissions);
    w.u32(e.id);
  }
  return out;
}

using Tag = PosixAcl::Tag;

TEST(PosixAcl, ModeAndListSayTheSame) {
  Bytes bytes = acl(
      {{Tag::kOwner, 7, 0}, {Tag::kUser, 7, 5}, {Tag::kOwningGroup, 5, 0}, {Tag::kMask, 6, 0}, {Tag::kOther, 1, 0}});
  auto list = PosixAcl::decode(bytes);
  ASSERT_TRUE(list.has_value());
  EXPECT_EQ(list->encode(), bytes);
  EXPECT_EQ(list->mode(), 0761u);
  EXPECT_FALSE(list->is_mode());
  list->set_mode(0640);
  EXPECT_EQ(list->mode(), 0640u);
  auto plain = PosixAcl::decode(acl({{Tag::kOwner, 6, 0}, {Tag::kOwningGroup, 4, 0}, {Tag::kOther, 4, 0}}));
  ASSERT_TRUE(plain.has_value());
  EXPECT_TRUE(plain->is_mode());
  EXPECT_EQ(plain->mode(), 0644u);
}

TEST(PosixAcl, InheritTakesTheLesserOfBoth) {
  auto list = PosixAcl::decode(acl(
      {{Tag::kOwner, 7, 0}, {Tag::kUser, 6, 5}, {Tag::kOwningGroup, 7, 0}, {Tag::kMask, 5, 0}, {Tag::kOther, 5, 0}}));
  ASSERT_TRUE(list.has_value());
  EXPECT_EQ(list->inherit(02666), 02644u);
  EXPECT_EQ(list->mode(), 0644u);
}

TEST(PosixAcl, WhatIsNoListIsRefused) {
  EXPECT_FALSE(PosixAcl::decode(Bytes{}));
  EXPECT_FALSE(PosixAcl::decode(Bytes{1, 0, 0, 0}));
  EXPECT_FALSE(PosixAcl::decode(Bytes{2, 0, 0, 0, 1}));
  EXPECT_FALSE(PosixAcl::decode(acl({{Tag::kOwner, 6, 0}, {Tag::kOther, 4, 0}})));
  EXPECT_FALSE(PosixAcl::decode(acl({{Tag::kOwner, 8, 0}, {Tag::kOwningGroup, 4, 0}, {Tag::kOther, 4, 0}})));
  EXPECT_FALSE(
      PosixAcl::decode(acl({{Tag::kOwner, 6, 0}, {Tag::kUser, 6, 1}, {Tag::kOwningGroup, 4, 0}, {Tag::kOther, 4, 0}})));
}

TEST(MountPoints, AreUnescaped) {
  auto all = parse_mount_points(
      "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
      "40 22 0:45 / /mnt/a\\040b\\134c rw,nosuid shared:9 master:3 - fuse.coffer coffer:x rw,user_id=0\n"
      "nonsense\n");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].type, "ext4");
  EXPECT_EQ(all[1].directory, "/mnt/a b\\c");
  EXPECT_EQ(all[1].device, "0:45");
  EXPECT_EQ(all[1].type, "fuse.coffer");
}

}  // namespace
}  // namespace coffer::fuse
