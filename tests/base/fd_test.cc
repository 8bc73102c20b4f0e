#include "base/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

namespace coffer {
namespace {

class FdTest : public ::testing::Test {
 protected:
  FdTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "coffer-fd-XXXXXX").string();
    if (const char* made = ::mkdtemp(pattern.data())) dir_ = made;
  }
  ~FdTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
  }
  void SetUp() override { ASSERT_FALSE(dir_.empty()); }
  std::string path(const std::string& name) const { return dir_ + "/" + name; }

  std::string dir_;
};

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST_F(FdTest, OwnsItsDescriptor) {
  Fd a = open_file(path("a"), O_RDWR | O_CREAT).value();
  int raw = a.get();
  EXPECT_TRUE(::fcntl(raw, F_GETFD) & FD_CLOEXEC);
  Fd b = std::move(a);
  EXPECT_FALSE(a);
  EXPECT_EQ(b.get(), raw);
  Fd& self = b;
  b = std::move(self);
  EXPECT_TRUE(is_open(raw));
  b = Fd();
  EXPECT_FALSE(is_open(raw));
  Fd c = open_file(path("a"), O_RDONLY).value();
  raw = c.release();
  EXPECT_FALSE(c);
  EXPECT_TRUE(is_open(raw));
  Fd(raw).reset();
  EXPECT_FALSE(is_open(raw));
}

TEST_F(FdTest, ReadsAndWritesWhole) {
  Fd f = open_file(path("a"), O_RDWR | O_CREAT).value();
  Bytes data(100'000, 0x5a);
  ASSERT_TRUE(write_at(f, data, 10));
  ASSERT_TRUE(sync_data(f));
  EXPECT_EQ(file_size(f).value(), 100'010u);
  Bytes out(100'010);
  ASSERT_TRUE(read_at(f, out, 0));
  EXPECT_EQ(out[9], 0);
  EXPECT_EQ(out[10], 0x5a);
  EXPECT_EQ(read_at(f, out, 1).error().code(), Code::kRange);
  EXPECT_EQ(read_at(f, out, 1 << 30).error().code(), Code::kRange);
  EXPECT_TRUE(read_at(f, {}, 1 << 30));
}

TEST_F(FdTest, ErrorsHaveTheirKinds) {
  EXPECT_EQ(open_file(path("none"), O_RDONLY).error().code(), Code::kNotFound);
  EXPECT_EQ(read_file(path("none"), 10).error().code(), Code::kNotFound);
  ASSERT_TRUE(write_file_durably(path("file"), {}));
  EXPECT_EQ(open_file(path("file/x"), O_RDONLY).error().code(), Code::kNotDirectory);
  EXPECT_EQ(open_file(dir_, O_WRONLY).error().code(), Code::kIsDirectory);
  EXPECT_EQ(open_file(path("file"), O_WRONLY | O_CREAT | O_EXCL).error().code(), Code::kExists);
  EXPECT_EQ(open_file(path(std::string(300, 'x')), O_RDONLY).error().code(), Code::kNameTooLong);
  Fd f = open_file(path("file"), O_RDONLY).value();
  EXPECT_FALSE(write_at(f, Bytes(1), 0));
  EXPECT_FALSE(file_size(Fd()));
  EXPECT_FALSE(sync_data(Fd()));
  EXPECT_FALSE(sync_directory(path("none")));
}

TEST_F(FdTest, ReadFileIsBounded) {
  ASSERT_TRUE(write_file_durably(path("file"), Bytes(20'000, 1)));
  EXPECT_EQ(read_file(path("file"), 20'000).value().size(), 20'000u);
  EXPECT_EQ(read_file(path("file"), 19'999).error().code(), Code::kTooLarge);
  EXPECT_EQ(read_file("/dev/zero", 50'000).error().code(), Code::kTooLarge);  // reports no size
  EXPECT_FALSE(read_file("/proc/self/stat", 4096).value().empty());
}

TEST_F(FdTest, DurableWriteReplaces) {
  ASSERT_TRUE(write_file_durably(path("file"), Bytes(10, 1)));
  ASSERT_TRUE(write_file_durably(path("file.new"), Bytes(1000, 9)));  // as a crash may have left it
  ASSERT_TRUE(write_file_durably(path("file"), Bytes(3, 2)));
  EXPECT_EQ(read_file(path("file"), 100).value(), Bytes(3, 2));
  EXPECT_FALSE(std::filesystem::exists(path("file.new")));
  struct stat st;
  ASSERT_EQ(::stat(path("file").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_FALSE(write_file_durably(path("none/file"), Bytes(3, 2)));
}

TEST_F(FdTest, MakesDirectories) {
  ASSERT_TRUE(make_directories(path("a/b//c/")));
  ASSERT_TRUE(make_directories(path("a/b/c")));
  struct stat st;
  ASSERT_EQ(::stat(path("a/b/c").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);
  ASSERT_TRUE(write_file_durably(path("file"), {}));
  EXPECT_EQ(make_directories(path("file/x")).error().code(), Code::kNotDirectory);
}

}  // namespace
}  // namespace coffer
