// How little the kernel asks. Counted by the daemon itself, on a real mount.
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuse/fixture.h"

namespace coffer {
namespace {

// Names and attributes, as `find -ls` and `git status` want them.
size_t walk(const std::string& root) {
  static size_t seen;
  seen = 0;
  ::nftw(
      root.c_str(),
      [](const char*, const struct stat*, int, FTW*) {
        ++seen;
        return 0;
      },
      16, FTW_PHYS);
  return seen;
}

std::string describe(const std::vector<UpcallCount>& before, const std::vector<UpcallCount>& after) {
  std::string out;
  for (const UpcallCount& a : after) {
    uint64_t was = 0;
    for (const UpcallCount& b : before)
      if (b.operation == a.operation) was = b.calls;
    if (a.calls > was) out += a.operation + " " + std::to_string(a.calls - was) + ", ";
  }
  return out;
}

TEST(Upcalls, ASecondWalkAsksForNoFile) {
  Mounted m;
  for (int d = 0; d < 20; ++d) {
    std::string dir = m.path("dir" + std::to_string(d));
    ASSERT_EQ(::mkdir(dir.c_str(), 0755), 0);
    for (int f = 0; f < 50; ++f) write_text(dir + "/file" + std::to_string(f), "text");
  }
  m.remount();
  EXPECT_EQ(walk(m.root()), 1021u);
  // Having read a directory, the kernel no longer trusts its time of access, and stat(2) wants that as well: one getattr
  // for each directory, once. Nothing that a file system answers can prevent it.
  uint64_t before = m.waiting_calls(), attributes = m.calls("getattr");
  EXPECT_EQ(walk(m.root()), 1021u);
  EXPECT_EQ(m.waiting_calls() - before, m.calls("getattr") - attributes);
  EXPECT_LE(m.calls("getattr") - attributes, 21u);
  auto second = m.mount().upcalls();
  EXPECT_EQ(walk(m.root()), 1021u);
  EXPECT_EQ(describe(second, m.mount().upcalls()), "");
}

TEST(Upcalls, ASmallFileCostsAtMostFive) {
  Mounted m;
  write_text(m.path("warm"), "up");  // the kernel learns what it need not ask
  constexpr int kFiles = 100;
  auto before = m.mount().upcalls();
  uint64_t waiting = m.waiting_calls() - m.calls("getxattr");
  for (int i = 0; i < kFiles; ++i) {
    Fd fd(::open(m.path("f" + std::to_string(i)).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644));
    ASSERT_EQ(::write(fd.get(), "small", 5), 5);
  }
  waiting = m.waiting_calls() - m.calls("getxattr") - waiting;
  EXPECT_LE(waiting, 5u * kFiles) << describe(before, m.mount().upcalls());
  EXPECT_LE(m.calls("getxattr"), kFiles + 2u);
}

TEST(Upcalls, ManySmallWritesAskForNoPrivilegesEachTime) {
  Mounted m;
  Fd fd(::open(m.path("f").c_str(), O_CREAT | O_WRONLY, 0644));
  char block[4096] = {};
  uint64_t before = m.waiting_calls();
  for (int i = 0; i < 2000; ++i) ASSERT_EQ(::write(fd.get(), block, sizeof block), 4096);
  EXPECT_LE(m.waiting_calls() - before, 100u);
}

TEST(Upcalls, OpeningCostsNothing) {
  Mounted m;
  write_text(m.path("f"), "text");
  EXPECT_EQ(read_text(m.path("f")), "text");
  auto before = m.mount().upcalls();
  for (int i = 0; i < 100; ++i) {
    Fd fd(::open(m.path("f").c_str(), O_RDONLY));
    char c;
    ASSERT_EQ(::read(fd.get(), &c, 1), 1);
  }
  EXPECT_EQ(describe(before, m.mount().upcalls()), "");
}

TEST(Upcalls, WhatIsNotThereIsRemembered) {
  Mounted m;
  struct stat st;
  EXPECT_NE(::stat(m.path("nothing").c_str(), &st), 0);
  uint64_t before = m.calls("lookup");
  for (int i = 0; i < 10; ++i) EXPECT_NE(::stat(m.path("nothing").c_str(), &st), 0);
  EXPECT_EQ(m.calls("lookup"), before);
}

}  // namespace
}  // namespace coffer
