// Secrets, random bytes, and the hardening of the process.
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <thread>

#include "base/ids.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "vectors.h"

namespace coffer {
namespace {

TEST(Secret, OwnsAndMoves) {
  ASSERT_TRUE(crypto_init());  // again: idempotent
  Secret a(BytesView(testing::counting(1, 32)));
  Secret b = a.clone();
  EXPECT_TRUE(a.equal(b));
  Secret c = std::move(a);
  EXPECT_TRUE(a.empty());
  EXPECT_TRUE(c.equal(b));
  a = std::move(c);
  EXPECT_TRUE(c.empty());
  Secret& self = a;
  a = std::move(self);
  EXPECT_EQ(a.size(), 32u);
  a.data()[31] ^= 1;
  EXPECT_FALSE(a.equal(b));
  EXPECT_FALSE(a.equal(Secret(31)));
}

TEST(Secret, ZeroedRandomAndEmpty) {
  EXPECT_TRUE(std::ranges::all_of(Secret(100).view(), [](uint8_t b) { return b == 0; }));
  EXPECT_FALSE(Secret::random(32).equal(Secret::random(32)));
  EXPECT_TRUE(Secret().equal(Secret(0)));
  EXPECT_TRUE(Secret(BytesView{}).empty());
  EXPECT_TRUE(Secret::random(0).empty());
  EXPECT_TRUE(Secret().clone().empty());
}

TEST(Secret, ManyAtOnceEvenBeyondTheLockLimit) {
  std::vector<Secret> many;
  for (int i = 0; i < 3000; ++i) many.push_back(Secret::random(32));
  EXPECT_EQ(many.back().size(), 32u);
}

TEST(Secret, Wipe) {
  Bytes b(10, 1);
  wipe(b);
  EXPECT_EQ(b, Bytes(10, 0));
  wipe({});
}

TEST(Random, NoRepeatsAtAnySize) {
  std::set<Bytes> seen;
  for (size_t size = 8; size < 200; ++size) {
    for (int i = 0; i < 20; ++i) {
      Bytes b(size);
      random_bytes(b);
      b.resize(8);
      EXPECT_TRUE(seen.insert(b).second);
    }
  }
  random_bytes({});
  std::set<uint64_t> numbers;
  for (int i = 0; i < 5000; ++i) numbers.insert(random_u64());
  EXPECT_EQ(numbers.size(), 5000u);
  EXPECT_NE(random_id<ObjectId>(), random_id<ObjectId>());
}

TEST(Random, ThreadsDiffer) {
  Bytes a(64), b(64);
  std::thread t1([&] { random_bytes(a); });
  t1.join();
  std::thread t2([&] { random_bytes(b); });
  t2.join();
  EXPECT_FALSE(std::equal(a.begin() + 8, a.end(), b.begin() + 8));
}

// The first 8 bytes differ by the time that is mixed in; the rest shows whether the child has the parent's store.
TEST(Random, ChildDoesNotRepeatTheParent) {
  Bytes warm(16), mine(48), childs(48);
  random_bytes(warm);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  pid_t child = ::fork();
  if (child == 0) {
    random_bytes(mine);
    bool sent = ::write(ends[1], mine.data(), mine.size()) == static_cast<ssize_t>(mine.size());
    ::_exit(sent ? 0 : 1);
  }
  ASSERT_GT(child, 0);
  random_bytes(mine);
  ASSERT_EQ(::read(ends[0], childs.data(), childs.size()), static_cast<ssize_t>(childs.size()));
  int status;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_FALSE(std::equal(mine.begin() + 8, mine.end(), childs.begin() + 8));
}

TEST(HardenDeathTest, NoDumps) {
  auto hardened = [] {
    rlimit core;
    bool ok = harden_process() && ::prctl(PR_GET_DUMPABLE) == 0 && ::getrlimit(RLIMIT_CORE, &core) == 0 &&
              core.rlim_cur == 0 && core.rlim_max == 0;
    std::_Exit(ok ? 0 : 1);
  };
  EXPECT_EXIT(hardened(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace coffer
