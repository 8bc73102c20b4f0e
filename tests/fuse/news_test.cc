// What another machine changed, seen through a mount that has it all in its caches; and reading what is not here.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "tests/fuse/fixture.h"

namespace coffer {
namespace {

using model::FileType;
using model::kRootIno;

class News : public testing::Test {
 protected:
  // Everything so far is known to the other machine from here on.
  void meet() { other_ = m_.another_machine(other_state_.path()); }
  Ino find(const std::string& name, Ino dir = kRootIno) {
    auto node = other_->lookup(dir, name);
    EXPECT_TRUE(node.has_value()) << name;
    return node ? node->ino : 0;
  }
  void overwrite(Ino ino, std::string_view text) {
    ASSERT_TRUE(other_->truncate(ino, 0).has_value());
    ASSERT_TRUE(other_->write(ino, 0, as_bytes(text), false).has_value());
  }
  Ino make(const std::string& name, std::string_view text, Ino dir = kRootIno) {
    auto node = other_->make(dir, name, {FileType::kRegular, 0644, 0, 0, 0, ""});
    EXPECT_TRUE(node.has_value());
    EXPECT_TRUE(other_->write(node->ino, 0, as_bytes(text), false).has_value());
    return node->ino;
  }
  bool exists(const std::string& name) {
    struct stat st;
    return ::lstat(m_.path(name).c_str(), &st) == 0;
  }
  std::set<std::string> list(const std::string& name) {
    std::set<std::string> out;
    for (const auto& e : std::filesystem::directory_iterator(m_.path(name))) out.insert(e.path().filename());
    return out;
  }
  std::string conflict_copy() {  // "": none
    for (const std::string& name : list("."))
      if (name.find("(conflict, ") != std::string::npos) return name;
    return "";
  }
  void expect_sound() {
    for (Replica* r : {&m_.replica(), other_.get()}) {
      auto faults = r->find_faults();
      ASSERT_TRUE(faults.has_value());
      for (const std::string& f : *faults) ADD_FAILURE() << f;
    }
  }

  TempDir other_state_;
  Mounted m_;
  std::unique_ptr<Replica> other_;
};

TEST_F(News, NewContentsOfACachedFile) {
  write_text(m_.path("f"), "first");
  struct stat before;
  ASSERT_EQ(::stat(m_.path("f").c_str(), &before), 0);
  meet();
  Fd open_before(::open(m_.path("f").c_str(), O_RDONLY));
  char buffer[32] = {};
  ASSERT_EQ(::pread(open_before.get(), buffer, sizeof buffer, 0), 5);
  overwrite(find("f"), "the second version");
  m_.news_from(*other_);
  EXPECT_TRUE(eventually([&] { return read_text(m_.path("f")) == "the second version"; })) << read_text(m_.path("f"));
  struct stat after;
  ASSERT_EQ(::stat(m_.path("f").c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino);
  EXPECT_EQ(after.st_size, 18);
  // Whoever had it open keeps what he had.
  ASSERT_EQ(::fstat(open_before.get(), &after), 0);
  EXPECT_EQ(after.st_size, 5);
  std::memset(buffer, 0, sizeof buffer);
  EXPECT_EQ(::pread(open_before.get(), buffer, sizeof buffer, 0), 5);
  EXPECT_STREQ(buffer, "first");
}

// All of it, not only what the kernel had cached.
TEST_F(News, AnOpenFileStaysWhatItWas) {
  Bytes old = pattern(4, 3'000'000);
  write_text(m_.path("f"), as_string(old));
  meet();
  Mounted::drop_caches();
  Fd fd(::open(m_.path("f").c_str(), O_RDONLY));
  Bytes read(old.size());
  ASSERT_EQ(::pread(fd.get(), read.data(), 4096, 0), 4096);
  overwrite(find("f"), "short");
  m_.news_from(*other_);
  ASSERT_TRUE(eventually([&] { return read_text(m_.path("f")) == "short"; }));
  ASSERT_EQ(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  ASSERT_EQ(::pread(fd.get(), read.data(), read.size(), 0), static_cast<ssize_t>(read.size()));
  EXPECT_TRUE(read == old);
  // More news, of this file and of others, change nothing for him.
  overwrite(find("f"), "shorter");
  make("g", "x");
  m_.news_from(*other_);
  ASSERT_TRUE(eventually([&] { return read_text(m_.path("f")) == "shorter"; }));
  ASSERT_EQ(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  ASSERT_EQ(::pread(fd.get(), read.data(), read.size(), 0), static_cast<ssize_t>(read.size()));
  EXPECT_TRUE(read == old);
  fd.reset();
  EXPECT_EQ(list("."), (std::set<std::string>{"f", "g"})) << "who only read leaves no copy";
  expect_sound();
}

TEST_F(News, WhatIsWrittenToAnOldVersionBecomesAConflictCopy) {
  write_text(m_.path("f.txt"), "first version");
  ASSERT_EQ(::chmod(m_.path("f.txt").c_str(), 0640), 0);
  meet();
  Fd fd(::open(m_.path("f.txt").c_str(), O_RDWR));
  overwrite(find("f.txt"), "theirs");
  m_.news_from(*other_);
  ASSERT_TRUE(eventually([&] { return read_text(m_.path("f.txt")) == "theirs"; }));
  ASSERT_EQ(::pwrite(fd.get(), "mine!", 5, 0), 5);
  ASSERT_EQ(::fsync(fd.get()), 0);
  std::string copy = conflict_copy();
  ASSERT_NE(copy, "");
  EXPECT_TRUE(copy.starts_with("f (conflict, ") && copy.ends_with(".txt")) << copy;
  EXPECT_EQ(read_text(m_.path(copy)), "mine! version");
  EXPECT_EQ(read_text(m_.path("f.txt")), "theirs");
  struct stat st;
  ASSERT_EQ(::stat(m_.path(copy).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640u);
  // He goes on with it, whatever comes.
  overwrite(find("f.txt"), "theirs again");
  m_.news_from(*other_);
  ASSERT_TRUE(eventually([&] { return read_text(m_.path("f.txt")) == "theirs again"; }));
  ASSERT_EQ(::pwrite(fd.get(), "VERSION", 7, 6), 7);
  fd.reset();
  EXPECT_EQ(read_text(m_.path(copy)), "mine! VERSION");
  EXPECT_EQ(list("."), (std::set<std::string>{"f.txt", copy}));
  // And it reaches the others.
  Packs packs;
  auto record = exchange().publish(m_.replica(), packs);
  ASSERT_TRUE(record);
  test::Exchange::receive(*other_, *record, packs);
  Bytes there(13);
  auto outcome = other_->read(find(copy), 0, there);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(as_string(there), "mine! VERSION");
  expect_sound();
}

// What the kernel holds and has not written yet when the news comes.
TEST_F(News, DirtyPagesOfAnOldVersionBecomeAConflictCopy) {
  write_text(m_.path("f"), "0123456789");
  meet();
  Fd fd(::open(m_.path("f").c_str(), O_RDWR));
  ASSERT_EQ(::pwrite(fd.get(), "abc", 3, 7), 3);
  overwrite(find("f"), "theirs");
  m_.news_from(*other_);
  ASSERT_EQ(::fsync(fd.get()), 0);
  std::string copy = conflict_copy();
  ASSERT_NE(copy, "");
  EXPECT_EQ(read_text(m_.path(copy)), "0123456abc");
  EXPECT_EQ(read_text(m_.path("f")), "theirs");
  expect_sound();
}

TEST_F(News, MappedPagesOfAnOldVersionBecomeAConflictCopy) {
  write_text(m_.path("f"), "0123456789");
  meet();
  int mapped[2], told[2];
  ASSERT_EQ(::pipe(mapped), 0);
  ASSERT_EQ(::pipe(told), 0);
  pid_t child = ::fork();
  if (child == 0) {
    int fd = ::open(m_.path("f").c_str(), O_RDWR);
    auto* at = static_cast<char*>(::mmap(nullptr, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    if (at == MAP_FAILED) _exit(1);
    at[0] = 'X';
    char c = 0;
    if (::write(mapped[1], "", 1) != 1 || ::read(told[0], &c, 1) != 1) _exit(2);
    bool same = at[0] == 'X' && at[1] == '1';
    at[9] = 'Y';
    _exit(!same ? 3 : ::msync(at, 10, MS_SYNC) == 0 ? 0 : 4);
  }
  char c = 0;
  ASSERT_EQ(::read(mapped[0], &c, 1), 1);
  overwrite(find("f"), "theirs");
  m_.news_from(*other_);
  EXPECT_TRUE(eventually([&] { return read_text(m_.path("f")) == "theirs"; }));
  ASSERT_EQ(::write(told[1], "", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  for (int fd : {mapped[0], mapped[1], told[0], told[1]}) ::close(fd);
  std::string copy = conflict_copy();
  ASSERT_NE(copy, "");
  EXPECT_EQ(read_text(m_.path(copy)), "X12345678Y");
  EXPECT_EQ(read_text(m_.path("f")), "theirs");
  expect_sound();
}

// Pending here, and still open: the copy that the pending change becomes is what he has open.
TEST_F(News, WhoWroteBeforeTheNewsGoesOnInTheConflictCopy) {
  write_text(m_.path("f"), "first version");
  meet();
  Fd fd(::open(m_.path("f").c_str(), O_RDWR));
  ASSERT_EQ(::pwrite(fd.get(), "mine!", 5, 0), 5);
  ASSERT_EQ(::fsync(fd.get()), 0);
  overwrite(find("f"), "theirs");
  m_.news_from(*other_);
  ASSERT_TRUE(eventually([&] { return read_text(m_.path("f")) == "theirs"; }));
  ASSERT_EQ(::pwrite(fd.get(), "VERSION", 7, 6), 7);
  ASSERT_EQ(::fsync(fd.get()), 0);
  std::string copy = conflict_copy();
  EXPECT_EQ(list("."), (std::set<std::string>{"f", copy}));
  EXPECT_EQ(read_text(m_.path(copy)), "mine! VERSION");
  expect_sound();
}

TEST_F(News, WritersWhileNewsComesLoseNothing) {
  constexpr int kRounds = 30;
  write_text(m_.path("f"), "start");
  meet();
  std::atomic<bool> stop{false};
  std::set<std::string> written;  // each is the whole contents of the file at the time
  std::jthread writer([&] {
    for (int i = 0; !stop; ++i) {
      Fd fd(::open(m_.path("f").c_str(), O_RDWR));
      if (!fd) continue;
      std::string text = "mine " + std::to_string(1000 + i);
      if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), text.data(), text.size(), 0) < 0) continue;
      if (::fsync(fd.get()) == 0) written.insert(text);
    }
  });
  std::set<std::string> theirs;
  for (int i = 0; i < kRounds; ++i) {
    std::string text = "theirs " + std::to_string(1000 + i);
    overwrite(find("f"), text);
    theirs.insert(text);
    m_.news_from(*other_);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  stop = true;
  writer.join();
  ASSERT_FALSE(written.empty());
  overwrite(find("f"), "theirs, the last");  // nobody has seen it and overwritten it
  theirs.insert("theirs, the last");
  m_.news_from(*other_);
  ASSERT_TRUE(eventually([&] { return read_text(m_.path("f")) == "theirs, the last"; }));
  // No file mixes the two, and the last of each side is there.
  std::set<std::string> there;
  for (const std::string& name : list(".")) {
    std::string text = read_text(m_.path(name));
    there.insert(text);
    EXPECT_TRUE(written.contains(text) || theirs.contains(text)) << name << ": " << text;
  }
  EXPECT_TRUE(there.contains(*written.rbegin())) << *written.rbegin();
  expect_sound();
}

TEST_F(News, UnlinkedAndOpenHereSurvivesNews) {
  write_text(m_.path("known"), "known to others");
  meet();
  Fd known(::open(m_.path("known").c_str(), O_RDWR)), fresh(::open(m_.path("t").c_str(), O_RDWR | O_CREAT, 0600));
  Bytes data = pattern(5, 1'500'000);
  ASSERT_EQ(::pwrite(fresh.get(), data.data(), data.size(), 0), static_cast<ssize_t>(data.size()));
  ASSERT_EQ(::fsync(fresh.get()), 0);
  ASSERT_EQ(::unlink(m_.path("known").c_str()), 0);
  ASSERT_EQ(::unlink(m_.path("t").c_str()), 0);
  for (int i = 0; i < 3; ++i) {
    make("news" + std::to_string(i), "x");
    m_.news_from(*other_);
  }
  Bytes read(data.size());
  ASSERT_EQ(::posix_fadvise(fresh.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  ASSERT_EQ(::pread(fresh.get(), read.data(), read.size(), 0), static_cast<ssize_t>(read.size())) << strerror(errno);
  EXPECT_TRUE(read == data);
  ASSERT_EQ(::pwrite(fresh.get(), "more", 4, 0), 4);
  ASSERT_EQ(::fsync(fresh.get()), 0) << strerror(errno);
  ASSERT_EQ(::pwrite(known.get(), "KNOWN", 5, 0), 5);
  ASSERT_EQ(::fsync(known.get()), 0) << strerror(errno);
  fresh.reset();
  known.reset();
  EXPECT_EQ(list("."), (std::set<std::string>{"news0", "news1", "news2"}));
  expect_sound();
}

TEST_F(News, RemovedElsewhereAndOpenHere) {
  Bytes old = pattern(6, 2'000'000);
  write_text(m_.path("f"), as_string(old));
  write_text(m_.path("g"), "text");
  meet();
  Mounted::drop_caches();
  Fd f(::open(m_.path("f").c_str(), O_RDONLY)), g(::open(m_.path("g").c_str(), O_RDWR));
  ASSERT_TRUE(other_->unlink(kRootIno, "f").has_value());
  ASSERT_TRUE(other_->unlink(kRootIno, "g").has_value());
  m_.news_from(*other_);
  ASSERT_TRUE(eventually([&] { return !exists("f") && !exists("g"); }));
  Bytes read(old.size());
  ASSERT_EQ(::pread(f.get(), read.data(), read.size(), 0), static_cast<ssize_t>(read.size())) << strerror(errno);
  EXPECT_TRUE(read == old);
  // Its remover did not see what is written now.
  ASSERT_EQ(::pwrite(g.get(), "TE", 2, 0), 2);
  ASSERT_EQ(::fsync(g.get()), 0) << strerror(errno);
  std::string copy = conflict_copy();
  EXPECT_EQ(list("."), std::set<std::string>{copy});
  EXPECT_EQ(read_text(m_.path(copy)), "TExt");
  expect_sound();
}

TEST_F(News, AgainAndAgain) {
  write_text(m_.path("f"), "0");
  meet();
  std::vector<Fd> kept;
  for (int i = 1; i <= 10; ++i) {
    std::string text = "version " + std::to_string(i);
    kept.emplace_back(::open(m_.path("f").c_str(), O_RDONLY));
    overwrite(find("f"), text);
    m_.news_from(*other_);
    ASSERT_TRUE(eventually([&] { return read_text(m_.path("f")) == text; })) << i << ": " << read_text(m_.path("f"));
  }
  kept.clear();
  write_text(m_.path("f"), "mine");
  EXPECT_EQ(read_text(m_.path("f")), "mine");
  m_.remount();
  EXPECT_EQ(read_text(m_.path("f")), "mine");
}

TEST_F(News, NamesThatAppearVanishAndMove) {
  write_text(m_.path("gone"), "x");
  write_text(m_.path("moved"), "y");
  ASSERT_EQ(::mkdir(m_.path("d").c_str(), 0755), 0);
  meet();
  EXPECT_FALSE(exists("new"));  // the kernel remembers that as well
  EXPECT_FALSE(exists("d/here"));
  EXPECT_EQ(list("."), (std::set<std::string>{"gone", "moved", "d"}));
  EXPECT_EQ(list("d"), std::set<std::string>{});
  make("new", "fresh");
  ASSERT_TRUE(other_->unlink(kRootIno, "gone").has_value());
  ASSERT_TRUE(other_->rename(kRootIno, "moved", find("d"), "here", model::RenameMode::kReplace).has_value());
  m_.news_from(*other_);
  EXPECT_TRUE(eventually([&] { return list("d") == std::set<std::string>{"here"}; }));
  EXPECT_TRUE(eventually([&] { return list(".") == std::set<std::string>{"new", "d"}; }));
  EXPECT_EQ(read_text(m_.path("new")), "fresh");
  EXPECT_EQ(read_text(m_.path("d/here")), "y");
  EXPECT_FALSE(exists("gone"));
  EXPECT_FALSE(exists("moved"));
}

TEST_F(News, Attributes) {
  write_text(m_.path("f"), "x");
  meet();
  struct stat st;
  ASSERT_EQ(::stat(m_.path("f").c_str(), &st), 0);
  model::SetAttributes change;
  change.mode = 0400;
  ASSERT_TRUE(other_->set_attributes(find("f"), change).has_value());
  m_.news_from(*other_);
  EXPECT_TRUE(eventually([&] { return ::stat(m_.path("f").c_str(), &st) == 0 && (st.st_mode & 07777) == 0400; }));
}

TEST_F(News, AWorkingDirectorySurvivesNewsOfItself) {
  ASSERT_EQ(::mkdir(m_.path("d").c_str(), 0755), 0);
  write_text(m_.path("d/f"), "x");
  meet();
  Fd dir(::open(m_.path("d").c_str(), O_RDONLY | O_DIRECTORY));
  make("g", "y", find("d"));
  m_.news_from(*other_);
  EXPECT_TRUE(eventually([&] { return list("d") == std::set<std::string>{"f", "g"}; }));
  EXPECT_EQ(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(dir.get())), m_.path("d"));
  // A directory that moves takes its open descriptors with it.
  ASSERT_TRUE(other_->rename(kRootIno, "d", kRootIno, "e", model::RenameMode::kReplace).has_value());
  m_.news_from(*other_);
  EXPECT_TRUE(eventually([&] { return exists("e/g") && !exists("d"); }));
  EXPECT_EQ(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(dir.get())), m_.path("e"));
}

TEST_F(News, WhatIsRemovedElsewhereStaysWithWhoHasItCached) {
  write_text(m_.path("f"), "text");
  meet();
  Fd fd(::open(m_.path("f").c_str(), O_RDONLY));
  char buffer[8] = {};
  ASSERT_EQ(::pread(fd.get(), buffer, sizeof buffer, 0), 4);
  ASSERT_TRUE(other_->unlink(kRootIno, "f").has_value());
  m_.news_from(*other_);
  EXPECT_TRUE(eventually([&] { return !exists("f"); }));
  EXPECT_EQ(::pread(fd.get(), buffer, sizeof buffer, 0), 4);
}

// A thousand changes in directories that are in use, while they are used: nothing hangs, and all is seen.
TEST_F(News, WhileTheMountIsBusy) {
  for (int d = 0; d < 4; ++d) ASSERT_EQ(::mkdir(m_.path("d" + std::to_string(d)).c_str(), 0755), 0);
  meet();
  std::atomic<bool> stop{false};
  std::vector<std::jthread> users;
  for (int t = 0; t < 4; ++t) {
    users.emplace_back([&, t] {
      for (int i = 0; !stop; ++i) {
        std::string mine = m_.path("d" + std::to_string(t) + "/mine" + std::to_string(i % 20));
        Fd fd(::open(mine.c_str(), O_CREAT | O_WRONLY, 0644));
        (void)!::write(fd.get(), "x", 1);
        fd.reset();
        ::unlink(mine.c_str());
        struct stat st;
        ::stat(m_.path("d" + std::to_string((t + 1) % 4) + "/theirs" + std::to_string(i % 250)).c_str(), &st);
      }
    });
  }
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 25; ++i) {
      for (int d = 0; d < 4; ++d) {
        std::string name = "theirs" + std::to_string(round * 25 + i);
        make(name, name, find("d" + std::to_string(d)));
      }
    }
    m_.news_from(*other_);
  }
  stop = true;
  users.clear();
  for (int d = 0; d < 4; ++d) {
    for (int i = 0; i < 250; ++i) {
      std::string name = "theirs" + std::to_string(i);
      std::string file = "d" + std::to_string(d) + "/" + name;
      EXPECT_TRUE(eventually([&] { return read_text(m_.path(file)) == name; })) << file;
    }
    EXPECT_EQ(list("d" + std::to_string(d)).size(), 250u);
  }
}

TEST_F(News, AbsentBytesAreFetched) {
  meet();
  Bytes data = pattern(1, 700'000);
  make("f", as_string(data));
  m_.news_from(*other_, false);
  EXPECT_TRUE(eventually([&] { return exists("f"); }));
  EXPECT_TRUE(read_text(m_.path("f")) == as_string(data));
}

TEST_F(News, AbsentBytesWithoutAStore) {
  meet();
  make("f", "text");
  make("g", "text");
  Packs packs;
  auto record = exchange().publish(*other_, packs);
  test::Exchange::receive(m_.replica(), *record, packs, false);
  ASSERT_TRUE(eventually([&] { return exists("f") && exists("g"); }));
  m_.fetcher().fail(Code::kUnavailable);
  char c;
  Fd f(::open(m_.path("f").c_str(), O_RDONLY));
  errno = 0;
  EXPECT_EQ(::read(f.get(), &c, 1), -1);
  EXPECT_TRUE(errno == ETIMEDOUT || errno == EIO) << strerror(errno);  // through readahead, the kernel says EIO
  m_.fetcher().fail(Code::kCorrupt);
  Fd g(::open(m_.path("g").c_str(), O_RDONLY));
  errno = 0;
  EXPECT_EQ(::read(g.get(), &c, 1), -1);
  EXPECT_EQ(errno, EIO);
  m_.fetcher().serve(m_.replica(), packs);
  EXPECT_EQ(read_text(m_.path("f")), "text");
}

// 200 readers on a store that never answers; everybody else works; Ctrl-C frees each reader.
TEST_F(News, StalledReadersStallNobodyElse) {
  meet();
  constexpr int kReaders = 200;
  Bytes data = pattern(2, 300'000);
  for (int i = 0; i < kReaders; ++i) make("absent" + std::to_string(i), as_string(data));
  Packs packs;
  auto record = exchange().publish(*other_, packs);
  test::Exchange::receive(m_.replica(), *record, packs, false);
  ASSERT_TRUE(eventually([&] { return exists("absent0"); }));
  std::vector<pid_t> readers;
  for (int i = 0; i < kReaders; ++i) {
    std::string file = m_.path("absent" + std::to_string(i));
    bool direct = i % 2 == 1;  // with and without readahead
    pid_t pid = ::fork();
    if (pid == 0) {
      ::signal(SIGINT, SIG_DFL);
      int fd = ::open(file.c_str(), O_RDONLY | (direct ? O_DIRECT : 0));
      void* buffer = std::aligned_alloc(4096, 262'144);
      _exit(::read(fd, buffer, 262'144) > 0 ? 0 : 1);
    }
    readers.push_back(pid);
  }
  EXPECT_TRUE(eventually([&] { return m_.fetcher().waiting() >= kReaders; })) << m_.fetcher().waiting();
  auto start = std::chrono::steady_clock::now();
  Bytes big = pattern(3, 8 << 20);
  for (int i = 0; i < 20; ++i) {
    Fd fd(::open(m_.path("local" + std::to_string(i)).c_str(), O_CREAT | O_WRONLY, 0644));
    ASSERT_EQ(::write(fd.get(), big.data(), 400'000), 400'000);
    ASSERT_EQ(::fsync(fd.get()), 0);
    fd.reset();
    EXPECT_EQ(list(".").size(), kReaders + 1u + static_cast<size_t>(i));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  for (pid_t pid : readers) ::kill(pid, SIGINT);
  for (pid_t pid : readers) {
    int status = 0;
    EXPECT_TRUE(eventually([&] { return ::waitpid(pid, &status, WNOHANG) == pid; }));
    EXPECT_TRUE(WIFSIGNALED(status));
  }
  m_.fetcher().serve(m_.replica(), packs);
  EXPECT_TRUE(read_text(m_.path("absent7")) == as_string(data));
}

}  // namespace
}  // namespace coffer
