// What a program may expect of a file system, on a real mount.
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "tests/fuse/fixture.h"

namespace coffer {
namespace {

class Posix : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return m_.path(name); }
  Fd open(const std::string& name, int flags, mode_t mode = 0644) {
    Fd fd(::open(path(name).c_str(), flags | O_CLOEXEC, mode));
    EXPECT_TRUE(static_cast<bool>(fd)) << name << ": " << strerror(errno);
    return fd;
  }
  struct stat stat(const std::string& name) {
    struct stat st {};
    EXPECT_EQ(::lstat(path(name).c_str(), &st), 0) << name << ": " << strerror(errno);
    return st;
  }
  bool exists(const std::string& name) {
    struct stat st;
    return ::lstat(path(name).c_str(), &st) == 0;
  }
  std::set<std::string> list(const std::string& name) {
    std::set<std::string> out;
    DIR* dir = ::opendir(path(name).c_str());
    EXPECT_NE(dir, nullptr);
    while (dirent* e = ::readdir(dir)) EXPECT_TRUE(out.insert(e->d_name).second) << "twice: " << e->d_name;
    ::closedir(dir);
    return out;
  }

  Mounted m_;
};

#define EXPECT_FAILS(expr, err)               \
  do {                                        \
    errno = 0;                                \
    EXPECT_EQ((expr), -1);                    \
    EXPECT_EQ(errno, err) << strerror(errno); \
  } while (0)

TEST_F(Posix, WriteReadRemount) {
  Bytes data = pattern(1, 3'000'001);
  Fd fd = open("f", O_CREAT | O_RDWR);
  ASSERT_EQ(::write(fd.get(), data.data(), data.size()), static_cast<ssize_t>(data.size()));
  fd.reset();
  EXPECT_TRUE(read_text(path("f")) == as_string(data));
  m_.remount();
  EXPECT_TRUE(read_text(path("f")) == as_string(data));
  EXPECT_EQ(stat("f").st_size, 3'000'001);
}

TEST_F(Posix, OpenFilesOutliveTheirNames) {
  Fd fd = open("f", O_CREAT | O_RDWR);
  ASSERT_EQ(::write(fd.get(), "one", 3), 3);
  ASSERT_EQ(::fsync(fd.get()), 0);
  ASSERT_EQ(::unlink(path("f").c_str()), 0);
  EXPECT_FALSE(exists("f"));
  EXPECT_EQ(::pwrite(fd.get(), "two", 3, 3), 3);
  Mounted::drop_caches();
  char buffer[8] = {};
  EXPECT_EQ(::pread(fd.get(), buffer, sizeof buffer, 0), 6);
  EXPECT_STREQ(buffer, "onetwo");
  struct stat st;
  EXPECT_EQ(::fstat(fd.get(), &st), 0);
  EXPECT_EQ(st.st_nlink, 0u);
  EXPECT_EQ(st.st_size, 6);
  EXPECT_EQ(::ftruncate(fd.get(), 2), 0);
  EXPECT_EQ(::fchmod(fd.get(), 0600), 0);
}

TEST_F(Posix, AnUnlinkedFileGoesForGoodWhenItIsClosed) {
  Fd fd = open("f", O_CREAT | O_RDWR);
  struct stat st;
  ASSERT_EQ(::fstat(fd.get(), &st), 0);
  ASSERT_EQ(::unlink(path("f").c_str()), 0);
  EXPECT_TRUE(m_.replica().attributes(st.st_ino).has_value());
  fd.reset();
  EXPECT_TRUE(eventually([&] { return !m_.replica().attributes(st.st_ino).has_value(); }));
}

TEST_F(Posix, RenameReplacesAndKeepsTheOpenOne) {
  write_text(path("a"), "new");
  write_text(path("b"), "old");
  Fd old = open("b", O_RDONLY);
  ASSERT_EQ(::rename(path("a").c_str(), path("b").c_str()), 0);
  EXPECT_EQ(read_text(path("b")), "new");
  EXPECT_FALSE(exists("a"));
  char buffer[4] = {};
  EXPECT_EQ(::pread(old.get(), buffer, 3, 0), 3);
  EXPECT_STREQ(buffer, "old");
  EXPECT_FAILS(::rename(path("a").c_str(), path("c").c_str()), ENOENT);
}

TEST_F(Posix, RenameFlags) {
  write_text(path("a"), "a");
  write_text(path("b"), "b");
  auto rename2 = [&](const char* from, const char* to, unsigned flags) {
    return ::renameat2(AT_FDCWD, path(from).c_str(), AT_FDCWD, path(to).c_str(), flags);
  };
  EXPECT_FAILS(rename2("a", "b", RENAME_NOREPLACE), EEXIST);
  EXPECT_EQ(rename2("a", "b", RENAME_EXCHANGE), 0);
  EXPECT_EQ(read_text(path("a")), "b");
  EXPECT_EQ(read_text(path("b")), "a");
  EXPECT_EQ(rename2("a", "c", RENAME_NOREPLACE), 0);
  EXPECT_FAILS(rename2("c", "d", RENAME_WHITEOUT), EINVAL);
  ASSERT_EQ(::mkdir(path("dir").c_str(), 0755), 0);
  EXPECT_EQ(rename2("dir", "b", RENAME_EXCHANGE), 0);
  EXPECT_TRUE(S_ISDIR(stat("b").st_mode));
  EXPECT_TRUE(S_ISREG(stat("dir").st_mode));
}

TEST_F(Posix, RenameOfDirectories) {
  for (const char* d : {"a", "a/b", "a/b/c", "empty", "full"}) ASSERT_EQ(::mkdir(path(d).c_str(), 0755), 0);
  write_text(path("full/f"), "");
  EXPECT_FAILS(::rename(path("a").c_str(), path("a/b/x").c_str()), EINVAL);
  EXPECT_FAILS(::rename(path("a").c_str(), path("full").c_str()), ENOTEMPTY);
  EXPECT_FAILS(::rename(path("a").c_str(), path("full/f").c_str()), ENOTDIR);
  EXPECT_FAILS(::rename(path("full/f").c_str(), path("a").c_str()), EISDIR);
  EXPECT_EQ(stat("a").st_nlink, 3u);
  EXPECT_EQ(::rename(path("a").c_str(), path("empty").c_str()), 0);
  EXPECT_TRUE(exists("empty/b/c"));
  EXPECT_EQ(stat(".").st_nlink, 4u);
}

TEST_F(Posix, HardLinks) {
  write_text(path("a"), "one");
  ASSERT_EQ(::mkdir(path("d").c_str(), 0755), 0);
  ASSERT_EQ(::link(path("a").c_str(), path("d/b").c_str()), 0);
  EXPECT_EQ(stat("a").st_ino, stat("d/b").st_ino);
  EXPECT_EQ(stat("a").st_nlink, 2u);
  write_text(path("d/b"), "other");
  EXPECT_EQ(read_text(path("a")), "other");
  ASSERT_EQ(::unlink(path("a").c_str()), 0);
  EXPECT_EQ(stat("d/b").st_nlink, 1u);
  EXPECT_EQ(read_text(path("d/b")), "other");
  EXPECT_FAILS(::link(path("d").c_str(), path("e").c_str()), EPERM);
  EXPECT_FAILS(::link(path("d/b").c_str(), path("d").c_str()), EEXIST);
  m_.remount();
  EXPECT_EQ(read_text(path("d/b")), "other");
}

TEST_F(Posix, SymbolicLinks) {
  ASSERT_EQ(::symlink("some/where", path("s").c_str()), 0);
  char target[64] = {};
  EXPECT_EQ(::readlink(path("s").c_str(), target, sizeof target), 10);
  EXPECT_STREQ(target, "some/where");
  EXPECT_EQ(stat("s").st_size, 10);
  EXPECT_TRUE(S_ISLNK(stat("s").st_mode));
  std::string longest(4095, 'x');
  EXPECT_EQ(::symlink(longest.c_str(), path("long").c_str()), 0);
  EXPECT_EQ(std::filesystem::read_symlink(path("long")).string(), longest);
  EXPECT_FAILS(::open(path("s").c_str(), O_RDONLY), ENOENT);
}

TEST_F(Posix, SparseFiles) {
  constexpr off_t kFar = 100ll << 30;
  Fd fd = open("sparse", O_CREAT | O_RDWR);
  ASSERT_EQ(::pwrite(fd.get(), "end", 3, kFar), 3);
  EXPECT_EQ(stat("sparse").st_size, kFar + 3);
  ASSERT_EQ(::fsync(fd.get()), 0);
  char buffer[4096];
  EXPECT_EQ(::pread(fd.get(), buffer, sizeof buffer, kFar / 2), static_cast<ssize_t>(sizeof buffer));
  EXPECT_TRUE(std::all_of(buffer, buffer + sizeof buffer, [](char c) { return c == 0; }));
  EXPECT_LT(stat("sparse").st_blocks, 10'000);
  fd.reset();
  m_.remount();
  fd = open("sparse", O_RDONLY);
  EXPECT_EQ(::pread(fd.get(), buffer, 10, kFar), 3);
  EXPECT_EQ(std::string_view(buffer, 3), "end");
}

TEST_F(Posix, SeekDataAndHole) {
  constexpr off_t kMega = 1 << 20;
  Fd fd = open("f", O_CREAT | O_RDWR);
  Bytes data = pattern(3, 65'536);
  ASSERT_EQ(::pwrite(fd.get(), data.data(), data.size(), kMega), static_cast<ssize_t>(data.size()));
  ASSERT_EQ(::ftruncate(fd.get(), 4 * kMega), 0);
  // Nothing has been synced: what is in the page cache only counts as well.
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_DATA), kMega);
  EXPECT_EQ(::lseek(fd.get(), kMega, SEEK_HOLE), kMega + 65'536);
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_HOLE), 0);
  EXPECT_EQ(::lseek(fd.get(), kMega + 5, SEEK_DATA), kMega + 5);
  EXPECT_FAILS(::lseek(fd.get(), 2 * kMega, SEEK_DATA), ENXIO);
  EXPECT_EQ(::lseek(fd.get(), 2 * kMega, SEEK_HOLE), 2 * kMega);
  EXPECT_FAILS(::lseek(fd.get(), 4 * kMega, SEEK_HOLE), ENXIO);
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_END), 4 * kMega);
  // A file that was never flushed at all.
  Fd fresh = open("g", O_CREAT | O_RDWR);
  ASSERT_EQ(::write(fresh.get(), "data", 4), 4);
  EXPECT_EQ(::lseek(fresh.get(), 0, SEEK_DATA), 0);
  EXPECT_EQ(::lseek(fresh.get(), 0, SEEK_HOLE), 4);
  // What is written through a mapping.
  ASSERT_EQ(::ftruncate(fresh.get(), 2 * kMega), 0);
  EXPECT_EQ(in_child([&] {
              void* map = ::mmap(nullptr, 2 * kMega, PROT_READ | PROT_WRITE, MAP_SHARED, fresh.get(), 0);
              if (map == MAP_FAILED) return 1;
              static_cast<char*>(map)[kMega] = 'x';
              if (::lseek(fresh.get(), 8192, SEEK_DATA) != kMega) return 2;
              return static_cast<char*>(map)[kMega] == 'x' ? 0 : 3;
            }),
            0);
}

TEST_F(Posix, Fallocate) {
  Fd fd = open("f", O_CREAT | O_RDWR);
  Bytes data = pattern(4, 100'000);
  ASSERT_EQ(::write(fd.get(), data.data(), data.size()), 100'000);
  ASSERT_EQ(::fallocate(fd.get(), 0, 50'000, 100'000), 0);
  EXPECT_EQ(stat("f").st_size, 150'000);
  ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 0, 1'000'000), 0);
  EXPECT_EQ(stat("f").st_size, 150'000);
  ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10'000, 20'000), 0);
  ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_ZERO_RANGE, 90'000, 100'000), 0);
  EXPECT_EQ(stat("f").st_size, 190'000);
  ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 189'000, 100'000), 0);
  EXPECT_EQ(stat("f").st_size, 190'000);
  EXPECT_FAILS(::fallocate(fd.get(), FALLOC_FL_COLLAPSE_RANGE, 0, 4096), EOPNOTSUPP);
  Bytes expected = data;
  expected.resize(190'000);
  std::fill(expected.begin() + 10'000, expected.begin() + 30'000, 0);
  std::fill(expected.begin() + 90'000, expected.end(), 0);
  EXPECT_TRUE(read_text(path("f")) == as_string(expected));
  fd.reset();
  m_.remount();
  EXPECT_TRUE(read_text(path("f")) == as_string(expected));
}

TEST_F(Posix, TruncateUpAndDownUnderAMapping) {
  constexpr size_t kSize = 64 << 10;
  Fd fd = open("f", O_CREAT | O_RDWR);
  Bytes data = pattern(5, kSize);
  ASSERT_EQ(::write(fd.get(), data.data(), kSize), static_cast<ssize_t>(kSize));
  data[100] = 1;
  std::fill(data.begin() + 5000, data.end(), 0);
  data[6000] = 7;
  EXPECT_EQ(in_child([&] {
              auto* map =
                  static_cast<uint8_t*>(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
              if (map == MAP_FAILED) return 1;
              map[100] = 1;
              if (::ftruncate(fd.get(), 5000) != 0 || ::ftruncate(fd.get(), kSize) != 0) return 2;
              if (map[6000] != 0) return 3;
              map[6000] = 7;
              if (std::memcmp(map, data.data(), kSize) != 0) return 4;
              return ::msync(map, kSize, MS_SYNC) == 0 ? 0 : 5;
            }),
            0);
  fd.reset();
  EXPECT_TRUE(read_text(path("f")) == as_string(data));
  m_.remount();
  EXPECT_TRUE(read_text(path("f")) == as_string(data));
}

TEST_F(Posix, AppendAndTruncatingOpen) {
  write_text(path("f"), "first");
  {
    Fd a = open("f", O_WRONLY | O_APPEND), b = open("f", O_WRONLY | O_APPEND);
    ASSERT_EQ(::write(a.get(), "-a", 2), 2);
    ASSERT_EQ(::write(b.get(), "-b", 2), 2);
    ASSERT_EQ(::write(a.get(), "-c", 2), 2);
  }
  EXPECT_EQ(read_text(path("f")), "first-a-b-c");
  struct stat before = stat("f");
  {
    Fd t = open("f", O_RDWR | O_TRUNC);
    EXPECT_EQ(stat("f").st_size, 0);
    EXPECT_EQ(m_.replica().attributes(before.st_ino)->size, 0u) << "the replica has heard of it as well";
  }
  m_.remount();
  EXPECT_EQ(read_text(path("f")), "");
}

TEST_F(Posix, NamesOfEveryByte) {
  std::set<std::string> names;
  for (int c = 1; c < 256; ++c) {
    if (c == '/') continue;
    std::string name = std::string(1, static_cast<char>(c)) + "x";
    names.insert(name);
    write_text(path(name), name);
  }
  std::string longest(255, 'n');
  names.insert(longest);
  write_text(path(longest), longest);
  EXPECT_FAILS(::open(path(std::string(256, 'n')).c_str(), O_CREAT | O_WRONLY, 0644), ENAMETOOLONG);
  EXPECT_FAILS(::mkdir(path(std::string(256, 'n')).c_str(), 0755), ENAMETOOLONG);
  m_.remount();
  for (const std::string& name : names) EXPECT_EQ(read_text(path(name)), name);
  names.insert({".", ".."});
  EXPECT_EQ(list("."), names);
}

// Found by pjdfstest: not ENOENT, whatever is asked.
TEST_F(Posix, ATooLongNameIsSaidToBeTooLong) {
  std::string long_name = path(std::string(256, 'n')), f = path("f");
  write_text(f, "x");
  EXPECT_FAILS(::open(long_name.c_str(), O_RDONLY), ENAMETOOLONG);
  EXPECT_FAILS(::chmod(long_name.c_str(), 0600), ENAMETOOLONG);
  EXPECT_FAILS(::chown(long_name.c_str(), 1, 1), ENAMETOOLONG);
  EXPECT_FAILS(::truncate(long_name.c_str(), 1), ENAMETOOLONG);
  EXPECT_FAILS(::unlink(long_name.c_str()), ENAMETOOLONG);
  EXPECT_FAILS(::rmdir(long_name.c_str()), ENAMETOOLONG);
  EXPECT_FAILS(::link(f.c_str(), long_name.c_str()), ENAMETOOLONG);
  EXPECT_FAILS(::rename(f.c_str(), long_name.c_str()), ENAMETOOLONG);
  EXPECT_FAILS(::rename(long_name.c_str(), f.c_str()), ENAMETOOLONG);
  EXPECT_FAILS(::access((long_name + "/below").c_str(), F_OK), ENAMETOOLONG);
}

TEST_F(Posix, AHundredLevels) {
  std::string deep;
  for (int i = 0; i < 100; ++i) {
    deep += (i == 0 ? "" : "/") + std::string("level") + std::to_string(i);
    ASSERT_EQ(::mkdir(path(deep).c_str(), 0755), 0);
  }
  write_text(path(deep + "/f"), "deep");
  m_.remount();
  EXPECT_EQ(read_text(path(deep + "/f")), "deep");
}

TEST_F(Posix, SpecialFiles) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0640), 0);
  ASSERT_EQ(::mknod(path("char").c_str(), S_IFCHR | 0600, makedev(1, 3)), 0);
  ASSERT_EQ(::mknod(path("block").c_str(), S_IFBLK | 0600, makedev(259, 70000)), 0);
  ASSERT_EQ(::mknod(path("socket").c_str(), S_IFSOCK | 0600, 0), 0);
  ASSERT_EQ(::mknod(path("regular").c_str(), S_IFREG | 0600, 0), 0);
  m_.remount();
  EXPECT_TRUE(S_ISFIFO(stat("fifo").st_mode));
  EXPECT_TRUE(S_ISCHR(stat("char").st_mode));
  EXPECT_EQ(stat("char").st_rdev, makedev(1, 3));
  EXPECT_EQ(stat("block").st_rdev, makedev(259, 70000));
  EXPECT_TRUE(S_ISSOCK(stat("socket").st_mode));
  EXPECT_TRUE(S_ISREG(stat("regular").st_mode));
}

TEST_F(Posix, TimesToTheNanosecond) {
  write_text(path("f"), "x");
  ASSERT_EQ(::mkdir(path("d").c_str(), 0755), 0);
  ASSERT_EQ(::symlink("x", path("s").c_str()), 0);
  timespec times[2] = {{1'000'000'000, 123'456'789}, {-5, 999'999'999}};
  for (const char* name : {"f", "d", "s"})
    ASSERT_EQ(::utimensat(AT_FDCWD, path(name).c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
  auto check = [&] {
    for (const char* name : {"f", "d", "s"}) {
      struct stat st = stat(name);
      EXPECT_EQ(st.st_atim.tv_sec, 1'000'000'000) << name;
      EXPECT_EQ(st.st_atim.tv_nsec, 123'456'789) << name;
      EXPECT_EQ(st.st_mtim.tv_sec, -5) << name;
      EXPECT_EQ(st.st_mtim.tv_nsec, 999'999'999) << name;
    }
  };
  check();
  m_.remount();
  check();
  struct stat before = stat("f");
  timespec now[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path("f").c_str(), now, 0), 0);
  EXPECT_EQ(stat("f").st_atim.tv_sec, before.st_atim.tv_sec);
  EXPECT_GT(stat("f").st_mtim.tv_sec, 1'600'000'000);
}

TEST_F(Posix, ReadingLeavesTheAccessTime) {
  write_text(path("f"), "x");
  timespec old[2] = {{1000, 0}, {2000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path("f").c_str(), old, 0), 0);
  EXPECT_EQ(read_text(path("f")), "x");
  m_.remount();
  EXPECT_EQ(read_text(path("f")), "x");
  EXPECT_EQ(stat("f").st_atim.tv_sec, 1000);
}

TEST_F(Posix, WritingMovesTimesAndTheyLast) {
  write_text(path("f"), "x");
  timespec old[2] = {{1000, 0}, {1000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path("f").c_str(), old, 0), 0);
  {
    Fd fd = open("f", O_WRONLY);
    ASSERT_EQ(::write(fd.get(), "y", 1), 1);
  }
  struct stat st = stat("f");
  EXPECT_GT(st.st_mtim.tv_sec, 1'600'000'000);
  // As rsync and tar do it: write, set the time, close.
  {
    Fd fd = open("f", O_WRONLY);
    ASSERT_EQ(::write(fd.get(), "z", 1), 1);
    ASSERT_EQ(::futimens(fd.get(), old), 0);
  }
  m_.remount();
  EXPECT_EQ(stat("f").st_mtim.tv_sec, 1000);
  EXPECT_EQ(read_text(path("f")), "z");
}

// Some times are the kernel's, some are ours; make(1) compares them.
TEST_F(Posix, WhatIsWrittenLaterIsNotOlder) {
  Fd later = open("later", O_CREAT | O_RDWR);
  for (int i = 0; i < 50; ++i) {
    const std::string earlier = "earlier" + std::to_string(i);
    ASSERT_EQ(::mkdir(path(earlier).c_str(), 0755), 0);
    ASSERT_EQ(::pwrite(later.get(), "x", 1, i), 1);
    timespec made = stat(earlier).st_mtim, written = stat("later").st_mtim;
    EXPECT_GE(std::pair(written.tv_sec, written.tv_nsec), std::pair(made.tv_sec, made.tv_nsec));
    timespec touched[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path(earlier).c_str(), touched, 0), 0);
    ASSERT_EQ(::pwrite(later.get(), "x", 1, i), 1);
    made = stat(earlier).st_mtim, written = stat("later").st_mtim;
    EXPECT_GE(std::pair(written.tv_sec, written.tv_nsec), std::pair(made.tv_sec, made.tv_nsec));
  }
}

TEST_F(Posix, DirectoriesFollowTheirNames) {
  ASSERT_EQ(::mkdir(path("d").c_str(), 0755), 0);
  timespec old[2] = {{1000, 0}, {1000, 0}};
  auto age = [&] { ASSERT_EQ(::utimensat(AT_FDCWD, path("d").c_str(), old, 0), 0); };
  age();
  write_text(path("d/f"), "");
  EXPECT_NE(stat("d").st_mtim.tv_sec, 1000);
  age();
  ASSERT_EQ(::unlink(path("d/f").c_str()), 0);
  EXPECT_NE(stat("d").st_mtim.tv_sec, 1000);
  EXPECT_EQ(stat("d").st_nlink, 2u);
  ASSERT_EQ(::mkdir(path("d/e").c_str(), 0755), 0);
  EXPECT_EQ(stat("d").st_nlink, 3u);
  EXPECT_FAILS(::rmdir(path("d").c_str()), ENOTEMPTY);
  ASSERT_EQ(::rmdir(path("d/e").c_str()), 0);
  EXPECT_EQ(stat("d").st_nlink, 2u);
  EXPECT_FAILS(::unlink(path("d").c_str()), EISDIR);
  EXPECT_FAILS(::rmdir(path("nothing").c_str()), ENOENT);
}

TEST_F(Posix, ModeAndOwner) {
  write_text(path("f"), "x");
  ASSERT_EQ(::chmod(path("f").c_str(), 06755), 0);
  EXPECT_EQ(stat("f").st_mode & 07777, 06755u);
  ASSERT_EQ(::chown(path("f").c_str(), 1000, 1001), 0);
  EXPECT_EQ(stat("f").st_uid, 1000u);
  EXPECT_EQ(stat("f").st_gid, 1001u);
  EXPECT_EQ(stat("f").st_mode & 07777, 0755u) << "a change of owner takes set-user-id and set-group-id away";
  m_.remount();
  EXPECT_EQ(stat("f").st_uid, 1000u);
  EXPECT_EQ(stat("f").st_mode & 07777, 0755u);
  ASSERT_EQ(::mkdir(path("d").c_str(), 0755), 0);
  ASSERT_EQ(::chown(path("d").c_str(), 0, 1001), 0);
  ASSERT_EQ(::chmod(path("d").c_str(), 02775), 0);
  write_text(path("d/f"), "");
  ASSERT_EQ(::mkdir(path("d/e").c_str(), 0755), 0);
  EXPECT_EQ(stat("d/f").st_gid, 1001u);
  EXPECT_EQ(stat("d/e").st_gid, 1001u);
  EXPECT_EQ(stat("d/e").st_mode & 07777, 02755u);
}

// Runs as somebody else; what it returns must be 0.
int as_user(uid_t uid, const std::function<int()>& body) {
  return in_child([&] {
    if (::setgroups(0, nullptr) != 0 || ::setresgid(uid, uid, uid) != 0 || ::setresuid(uid, uid, uid) != 0) return 99;
    return body();
  });
}

TEST_F(Posix, OthersMayDoWhatTheModeSays) {
  write_text(path("secret"), "x");
  ASSERT_EQ(::chmod(path("secret").c_str(), 0600), 0);
  ASSERT_EQ(::mkdir(path("open").c_str(), 0777), 0);
  ASSERT_EQ(::chmod(path("open").c_str(), 01777), 0);
  write_text(path("open/roots"), "x");
  std::string secret = path("secret"), roots = path("open/roots"), own = path("open/own"), other = path("new");
  EXPECT_EQ(as_user(1000,
                    [&] {
                      if (::open(secret.c_str(), O_RDONLY) != -1 || errno != EACCES) return 1;
                      if (::open(other.c_str(), O_CREAT | O_WRONLY, 0644) != -1 || errno != EACCES) return 2;
                      if (::unlink(roots.c_str()) != -1) return 3;  // sticky
                      if (::open(own.c_str(), O_CREAT | O_WRONLY, 0644) == -1) return 4;
                      if (::chown(own.c_str(), 0, static_cast<gid_t>(-1)) != -1 || errno != EPERM) return 5;
                      return 0;
                    }),
            0);
  EXPECT_EQ(stat("open/own").st_uid, 1000u);
}

TEST_F(Posix, AWriteByOthersTakesSetUserIdAway) {
  const std::string program = path("program");
  // As stat(1) asks that only wants the mode: the kernel answers from its cache what it believes to know.
  auto mode = [&] {
    struct statx st {};
    EXPECT_EQ(::statx(AT_FDCWD, program.c_str(), 0, STATX_MODE, &st), 0) << strerror(errno);
    return st.stx_mode & 07777u;
  };
  const std::map<std::string, std::function<bool(int)>> ways = {
      {"write", [](int fd) { return ::write(fd, "#", 1) == 1; }},
      {"direct write",
       [](int fd) {
         alignas(4096) static char block[4096];
         return ::fcntl(fd, F_SETFL, O_DIRECT) == 0 && ::write(fd, block, sizeof block) == sizeof block;
       }},
      {"truncate", [](int fd) { return ::ftruncate(fd, 1) == 0; }},
      {"allocate", [](int fd) { return ::fallocate(fd, 0, 0, 4096) == 0; }},
      {"punch", [](int fd) { return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0; }},
      {"copy",
       [](int fd) {
         off_t from = 0, to = 4096;
         return ::copy_file_range(fd, &from, fd, &to, 4, 0) == 4;
       }},
  };
  for (const auto& [how, change] : ways) {
    write_text(program, "#!/bin/sh\n");
    ASSERT_EQ(::chown(program.c_str(), 1000, 1000), 0);
    ASSERT_EQ(::chmod(program.c_str(), 06777), 0);
    {  // root's own write keeps it
      Fd fd = open("program", O_RDWR);
      ASSERT_TRUE(change(fd.get())) << how << ": " << strerror(errno);
    }
    EXPECT_EQ(mode(), 06777u) << how;
    EXPECT_EQ(as_user(2000,
                      [&] {
                        int fd = ::open(program.c_str(), O_RDWR);
                        if (fd < 0) return 1;
                        return change(fd) ? 0 : 2;
                      }),
              0)
        << how;
    EXPECT_EQ(mode(), 0777u) << how;
  }
}

TEST_F(Posix, Umask) {
  mode_t before = ::umask(027);
  Fd fd = open("f", O_CREAT | O_RDWR, 0666);
  ASSERT_EQ(::mkdir(path("d").c_str(), 0777), 0);
  ::umask(before);
  EXPECT_EQ(stat("f").st_mode & 07777, 0640u);
  EXPECT_EQ(stat("d").st_mode & 07777, 0750u);
}

Bytes acl(std::initializer_list<std::array<uint32_t, 3>> entries) {
  Bytes out;
  Writer w(out);
  w.u32(2);
  for (const auto& [tag, permissions, id] : entries) {
    w.u16(static_cast<uint16_t>(tag));
    w.u16(static_cast<uint16_t>(permissions));
    w.u32(id);
  }
  return out;
}

TEST_F(Posix, AccessControlLists) {
  constexpr uint32_t kNone = 0xffffffff;
  write_text(path("f"), "x");
  ASSERT_EQ(::chmod(path("f").c_str(), 0600), 0);
  std::string f = path("f");
  auto may_read = [&](const std::string& name, uid_t uid) {
    return as_user(uid, [&] { return ::open(name.c_str(), O_RDONLY) >= 0 ? 0 : 1; }) == 0;
  };
  EXPECT_FALSE(may_read(f, 1000));
  Bytes list = acl({{1, 6, kNone}, {2, 4, 1000}, {4, 0, kNone}, {16, 4, kNone}, {32, 0, kNone}});
  ASSERT_EQ(::setxattr(f.c_str(), "system.posix_acl_access", list.data(), list.size(), 0), 0) << strerror(errno);
  EXPECT_TRUE(may_read(f, 1000));
  EXPECT_FALSE(may_read(f, 1001));
  EXPECT_EQ(stat("f").st_mode & 07777, 0640u);
  ASSERT_EQ(::chmod(f.c_str(), 0600), 0);  // the mask
  EXPECT_FALSE(may_read(f, 1000));
  ASSERT_EQ(::mkdir(path("d").c_str(), 0755), 0);
  ASSERT_EQ(::setxattr(path("d").c_str(), "system.posix_acl_default", list.data(), list.size(), 0), 0);
  mode_t before = ::umask(077);
  write_text(path("d/f"), "x");
  ASSERT_EQ(::mkdir(path("d/e").c_str(), 0777), 0);
  ::umask(before);
  EXPECT_TRUE(may_read(path("d/f"), 1000));
  EXPECT_FALSE(may_read(path("d/f"), 1001));
  EXPECT_EQ(stat("d/f").st_mode & 07777, 0640u);
  EXPECT_GT(::getxattr(path("d/e").c_str(), "system.posix_acl_default", nullptr, 0), 0);
  m_.remount();
  EXPECT_TRUE(may_read(path("d/f"), 1000));
}

TEST_F(Posix, AnAclByOthersThanTheGroupTakesSetGroupIdAway) {
  constexpr uint32_t kNone = 0xffffffff;
  Bytes list = acl({{1, 7, kNone}, {2, 7, 1002}, {4, 7, kNone}, {16, 7, kNone}, {32, 7, kNone}});
  ASSERT_EQ(::mkdir(path("d").c_str(), 0777), 0);
  write_text(path("f"), "x");
  for (const char* name : {"d", "f"}) {
    const std::string where = path(name);
    for (const char* kind : {"system.posix_acl_access", "system.posix_acl_default"}) {
      if (std::string_view(name) == "f" && std::string_view(kind) == "system.posix_acl_default") continue;
      auto set = [&] { return ::setxattr(where.c_str(), kind, list.data(), list.size(), 0); };
      ASSERT_EQ(::chown(where.c_str(), 1000, 1001), 0);
      ASSERT_EQ(::chmod(where.c_str(), 02777), 0);
      EXPECT_EQ(set(), 0) << strerror(errno);
      EXPECT_EQ(stat(name).st_mode & 07777, 02777u) << "by root";
      EXPECT_EQ(as_user(1000, [&] { return set() == 0 ? 0 : errno; }), 0);
      bool access = std::string_view(kind) == "system.posix_acl_access";
      EXPECT_EQ(stat(name).st_mode & 07777, access ? 0777u : 02777u) << name << " " << kind;
    }
  }
}

TEST_F(Posix, ExtendedAttributes) {
  write_text(path("f"), "x");
  std::string f = path("f");
  Bytes value = pattern(6, 60'000);
  char buffer[65'536];
  ASSERT_EQ(::setxattr(f.c_str(), "user.a", "1", 1, 0), 0);
  ASSERT_EQ(::setxattr(f.c_str(), "user.empty", "", 0, 0), 0);
  ASSERT_EQ(::setxattr(f.c_str(), "trusted.big", value.data(), value.size(), 0), 0);
  EXPECT_FAILS(::setxattr(f.c_str(), "user.a", "2", 1, XATTR_CREATE), EEXIST);
  EXPECT_FAILS(::setxattr(f.c_str(), "user.b", "2", 1, XATTR_REPLACE), ENODATA);
  EXPECT_FAILS(::getxattr(f.c_str(), "user.b", buffer, sizeof buffer), ENODATA);
  EXPECT_FAILS(::getxattr(f.c_str(), "trusted.big", buffer, 10), ERANGE);
  EXPECT_EQ(::getxattr(f.c_str(), "trusted.big", nullptr, 0), 60'000);
  m_.remount();
  ASSERT_EQ(::getxattr(f.c_str(), "trusted.big", buffer, sizeof buffer), 60'000);
  EXPECT_EQ(std::memcmp(buffer, value.data(), value.size()), 0);
  EXPECT_EQ(::getxattr(f.c_str(), "user.empty", buffer, sizeof buffer), 0);
  ssize_t n = ::listxattr(f.c_str(), buffer, sizeof buffer);
  ASSERT_GT(n, 0);
  std::set<std::string> names;
  for (const char* p = buffer; p < buffer + n; p += std::strlen(p) + 1) names.insert(p);
  EXPECT_EQ(names, (std::set<std::string>{"user.a", "user.empty", "trusted.big"}));
  ASSERT_EQ(::removexattr(f.c_str(), "user.a"), 0);
  EXPECT_FAILS(::removexattr(f.c_str(), "user.a"), ENODATA);
}

TEST_F(Posix, ListingWhileNamesComeAndGo) {
  ASSERT_EQ(::mkdir(path("d").c_str(), 0755), 0);
  std::set<std::string> stay;
  for (int i = 0; i < 3000; ++i) {
    std::string name = "stay" + std::to_string(i);
    stay.insert(name);
    write_text(path("d/" + name), "");
  }
  m_.remount();
  DIR* dir = ::opendir(path("d").c_str());
  ASSERT_NE(dir, nullptr);
  std::set<std::string> seen;
  int n = 0;
  while (dirent* e = ::readdir(dir)) {
    EXPECT_TRUE(seen.insert(e->d_name).second) << "twice: " << e->d_name;
    if (++n % 7 == 0) write_text(path("d/new" + std::to_string(n)), "");
    if (n % 14 == 0) ::unlink(path("d/new" + std::to_string(n)).c_str());
  }
  ::closedir(dir);
  for (const std::string& name : stay) EXPECT_TRUE(seen.contains(name)) << name;
  // rm -r: removing what was just listed.
  dir = ::opendir(path("d").c_str());
  while (dirent* e = ::readdir(dir)) ::unlink(path(std::string("d/") + e->d_name).c_str());
  ::closedir(dir);
  EXPECT_EQ(list("d"), (std::set<std::string>{".", ".."}));
  EXPECT_EQ(::rmdir(path("d").c_str()), 0);
}

TEST_F(Posix, SeekInADirectory) {
  for (int i = 0; i < 200; ++i) write_text(path("f" + std::to_string(i)), "");
  DIR* dir = ::opendir(m_.root().c_str());
  std::vector<std::pair<long, std::string>> entries;
  for (;;) {
    long at = ::telldir(dir);
    dirent* e = ::readdir(dir);
    if (!e) break;
    entries.emplace_back(at, e->d_name);
  }
  EXPECT_EQ(entries.size(), 202u);
  for (size_t i = 0; i < entries.size(); i += 17) {
    ::seekdir(dir, entries[i].first);
    dirent* e = ::readdir(dir);
    ASSERT_NE(e, nullptr);
    EXPECT_EQ(e->d_name, entries[i].second);
  }
  ::closedir(dir);
}

TEST_F(Posix, InodeNumbersOfListingAndStatAgree) {
  ASSERT_EQ(::mkdir(path("d").c_str(), 0755), 0);
  write_text(path("d/f"), "");
  ino_t root = stat(".").st_ino, d = stat("d").st_ino, f = stat("d/f").st_ino;
  DIR* dir = ::opendir(path("d").c_str());
  while (dirent* e = ::readdir(dir)) {
    std::string name = e->d_name;
    EXPECT_EQ(e->d_ino, name == "." ? d : name == ".." ? root : f) << name;
  }
  ::closedir(dir);
}

TEST_F(Posix, FreeSpace) {
  struct statvfs space;
  ASSERT_EQ(::statvfs(m_.root().c_str(), &space), 0);
  EXPECT_GT(space.f_blocks, 0u);
  EXPECT_GT(space.f_bavail, 0u);
  EXPECT_EQ(space.f_namemax, 255u);
}

TEST_F(Posix, SyncfsHandsOverWhatIsWritten) {
  Fd fd = open("f", O_CREAT | O_RDWR);
  ASSERT_EQ(::write(fd.get(), "x", 1), 1);
  EXPECT_EQ(m_.calls("write"), 0u);  // it stays in the kernel
  ASSERT_EQ(::syncfs(fd.get()), 0);
  EXPECT_TRUE(eventually([&] { return m_.calls("write") == 1; }));
}

TEST_F(Posix, Locks) {
  write_text(path("f"), "x");
  Fd a = open("f", O_RDWR), b = open("f", O_RDWR);
  EXPECT_EQ(::flock(a.get(), LOCK_EX), 0);
  EXPECT_FAILS(::flock(b.get(), LOCK_EX | LOCK_NB), EWOULDBLOCK);
  EXPECT_EQ(::flock(a.get(), LOCK_UN), 0);
  EXPECT_EQ(::flock(b.get(), LOCK_EX | LOCK_NB), 0);
}

TEST_F(Posix, WhatIsNotThereSaysSo) {
  EXPECT_FAILS(::open(m_.root().c_str(), O_TMPFILE | O_RDWR, 0600), EOPNOTSUPP);
  Fd a = open("a", O_CREAT | O_RDWR), b = open("b", O_CREAT | O_RDWR);
  EXPECT_FAILS(::ioctl(b.get(), FICLONE, a.get()), EOPNOTSUPP);
}

TEST_F(Posix, CopyFileRangeSharesWhatIsThere) {
  Bytes data = pattern(8, 5'000'000);
  Fd a = open("a", O_CREAT | O_RDWR), b = open("b", O_CREAT | O_RDWR);
  ASSERT_EQ(::write(a.get(), data.data(), data.size()), 5'000'000);  // not synced: the page cache only has it
  ASSERT_EQ(::write(b.get(), "what was there", 14), 14);
  loff_t from = 0, to = 4;
  ASSERT_EQ(::copy_file_range(a.get(), &from, b.get(), &to, 6'000'000, 0), 5'000'000);
  EXPECT_EQ(m_.calls("copy_file_range"), 1u);
  EXPECT_EQ(stat("b").st_size, 5'000'004);
  EXPECT_EQ(read_text(path("b")), "what" + std::string(as_string(data)));
  // Cached pages of the target are gone, and the source changes for itself.
  from = 1'000'001;
  to = 3;
  ASSERT_EQ(::copy_file_range(a.get(), &from, b.get(), &to, 100'000, 0), 100'000);
  ASSERT_EQ(::pwrite(a.get(), "x", 1, 0), 1);
  Bytes expected(data.begin(), data.end());
  expected.insert(expected.begin(), {'w', 'h', 'a', 't'});
  std::copy_n(data.begin() + 1'000'001, 100'000, expected.begin() + 3);
  EXPECT_TRUE(read_text(path("b")) == as_string(expected));
  // Within one file, but not onto itself; at the end there is nothing to copy.
  from = 0;
  to = 2'000'000;
  ASSERT_EQ(::copy_file_range(b.get(), &from, b.get(), &to, 70'000, 0), 70'000);
  std::copy_n(Bytes(expected).begin(), 70'000, expected.begin() + 2'000'000);
  from = 0;
  to = 100;
  EXPECT_FAILS(::copy_file_range(b.get(), &from, b.get(), &to, 1000, 0), EINVAL);
  from = 5'000'000;
  EXPECT_EQ(::copy_file_range(a.get(), &from, b.get(), &to, 1000, 0), 0);
  a.reset();
  b.reset();
  ASSERT_EQ(::unlink(path("a").c_str()), 0);
  m_.remount();
  EXPECT_TRUE(read_text(path("b")) == as_string(expected));
}

TEST_F(Posix, FileHandles) {
  write_text(path("f"), "x");
  struct {
    file_handle handle;
    unsigned char room[MAX_HANDLE_SZ];
  } h{};
  h.handle.handle_bytes = MAX_HANDLE_SZ;
  int mount_id = 0;
  ASSERT_EQ(::name_to_handle_at(AT_FDCWD, path("f").c_str(), &h.handle, &mount_id, 0), 0) << strerror(errno);
  Mounted::drop_caches();
  Fd root(::open(m_.root().c_str(), O_RDONLY | O_DIRECTORY));
  Fd fd(::open_by_handle_at(root.get(), &h.handle, O_RDONLY));
  ASSERT_TRUE(static_cast<bool>(fd)) << strerror(errno);
  char c = 0;
  EXPECT_EQ(::read(fd.get(), &c, 1), 1);
  EXPECT_EQ(c, 'x');
}

TEST_F(Posix, DirectReadsAndWrites) {
  constexpr size_t kSize = 1 << 20;
  void* memory = std::aligned_alloc(4096, kSize);
  Bytes data = pattern(9, kSize);
  std::memcpy(memory, data.data(), kSize);
  Fd fd = open("f", O_CREAT | O_RDWR | O_DIRECT);
  ASSERT_EQ(::pwrite(fd.get(), memory, kSize, 4096), static_cast<ssize_t>(kSize));
  EXPECT_EQ(stat("f").st_size, static_cast<off_t>(kSize + 4096));
  std::memset(memory, 0, kSize);
  ASSERT_EQ(::pread(fd.get(), memory, kSize, 4096), static_cast<ssize_t>(kSize));
  EXPECT_EQ(std::memcmp(memory, data.data(), kSize), 0);
  std::free(memory);
  fd.reset();
  m_.remount();
  EXPECT_TRUE(read_text(path("f")).substr(4096) == as_string(data));
}

TEST_F(Posix, UnmountIsRefusedWhileInUse) {
  Fd fd = open("f", O_CREAT | O_RDWR);
  auto unmounted = m_.mount().unmount(false);
  ASSERT_FALSE(unmounted.has_value());
  EXPECT_EQ(unmounted.error().code(), Code::kBusy);
}

TEST_F(Posix, LazyUnmountKeepsWhatWasWritten) {
  write_text(path("f"), "old");
  Fd fd = open("f", O_RDWR);
  ASSERT_EQ(::write(fd.get(), "new", 3), 3);
  ASSERT_TRUE(m_.mount().unmount(true).has_value());
  struct stat st = stat(".");
  EXPECT_TRUE(S_ISDIR(st.st_mode));
  fd.reset();
  m_.remount();
  EXPECT_EQ(read_text(path("f")), "new");
}

TEST(MountTest, OwnFiles) {
  Mounted m([](MountOptions& o) {
    o.own_files = true;
    o.uid = 1234;
    o.gid = 1235;
  });
  write_text(m.path("f"), "x");
  struct stat st;
  ASSERT_EQ(::stat(m.path("f").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, 1234u);
  EXPECT_EQ(st.st_gid, 1235u);
  EXPECT_EQ(m.replica().attributes(st.st_ino)->uid, 1234u);
  EXPECT_EQ(::chown(m.path("f").c_str(), 1234, 1235), 0);
  EXPECT_FAILS(::chown(m.path("f").c_str(), 1, 1), EPERM);
}

TEST(MountTest, ReadOnly) {
  Mounted m([](MountOptions& o) { o.place.read_only = true; });
  EXPECT_FAILS(::mkdir(m.path("d").c_str(), 0755), EROFS);
}

TEST(MountTest, MountingTwiceOrNowhereFails) {
  Mounted m;
  MountOptions options;
  options.place.directory = m.root();
  auto again = Mount::mount(m.replica(), m.fetcher(), options);
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code(), Code::kBusy);
}

TEST(MountTest, RemoteSync) {
  std::atomic<int> syncs{0};
  std::atomic<bool> fails{false};
  Mounted m([&](MountOptions& o) {
    o.remote_sync = [&]() -> Result<void> {
      ++syncs;
      if (fails) return fail(Code::kUnavailable, "no store");
      return {};
    };
  });
  Fd fd(::open(m.path("f").c_str(), O_CREAT | O_RDWR, 0644));
  ASSERT_EQ(::write(fd.get(), "x", 1), 1);
  EXPECT_EQ(::fsync(fd.get()), 0);
  EXPECT_EQ(syncs, 1);
  fails = true;
  ASSERT_EQ(::write(fd.get(), "x", 1), 1);
  EXPECT_FAILS(::fsync(fd.get()), ETIMEDOUT);
}

}  // namespace
}  // namespace coffer
