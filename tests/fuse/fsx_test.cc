// Random operations on one file of a real mount, after each of which it must equal a reference in memory: as fsx does it.
// COFFER_FSX_OPERATIONS and COFFER_FSX_SEED replay a run.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <random>

#include "tests/fuse/fixture.h"

namespace coffer {
namespace {

constexpr size_t kSizeMax = 3 << 20;    // beyond two chunks of the model
constexpr size_t kLengthMax = 200'000;  // of one operation: beyond three frames
constexpr size_t kPage = 4096;
constexpr uint64_t kBatch = 5000;  // operations between remounts

uint64_t setting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// What the file must be; in memory that the children share, each of which goes on where the one before ended.
struct Expected {
  size_t size;
  uint8_t bytes[kSizeMax];
};

class Fsx {
 public:
  Fsx(std::string path, Expected& expected, uint64_t seed) : path_(std::move(path)), data_(expected), rng_(seed) {}

  // The exit code of a child.
  int run(uint64_t operations) {
    reopen();
    check_all();
    for (uint64_t i = 0; i < operations && !testing::Test::HasFailure(); ++i) step();
    check_all();
    if (!testing::Test::HasFailure()) return 0;
    std::cerr << "after these operations:\n";
    for (const std::string& line : log_) std::cerr << "  " << line << "\n";
    return 1;
  }

 private:
  enum {
    kRead,
    kWrite,
    kTruncate,
    kPunch,
    kZero,
    kAllocate,
    kMapRead,
    kMapWrite,
    kSync,
    kReopen,
    kDirect,
    kCopy,
    kSeek,
    kDrop,
    kRemount
  };

  size_t below(size_t n) { return n == 0 ? 0 : static_cast<size_t>(rng_() % n); }
  size_t length() {
    // Mostly small, at times large, at times aligned.
    size_t n = below(4) == 0 ? below(kLengthMax) + 1 : below(9000) + 1;
    return below(4) == 0 ? (n + kPage - 1) / kPage * kPage : n;
  }
  size_t offset(size_t limit) {
    size_t o = below(limit);
    return below(4) == 0 ? o / kPage * kPage : o;
  }
  void note(const char* what, size_t at, size_t n) {
    log_.push_back(std::string(what) + " " + std::to_string(at) + " +" + std::to_string(n) + " size " +
                   std::to_string(data_.size));
    if (log_.size() > 40) log_.erase(log_.begin());
  }

  void step() {
    static constexpr int kWeights[] = {20, 20, 6, 6, 6, 4, 10, 10, 4, 3, 4, 5, 3, 1};
    std::discrete_distribution<int> pick(std::begin(kWeights), std::end(kWeights));
    int what = pick(rng_);
    switch (what) {
      case kRead:
        return read(offset(data_.size + 1), length());
      case kWrite:
        return write(offset(kSizeMax - kLengthMax), length());
      case kTruncate:
        return truncate(below(kSizeMax));
      case kPunch:
        return fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
      case kZero:
        return fallocate(below(2) == 0 ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
      case kAllocate:
        return fallocate(below(2) == 0 ? 0 : FALLOC_FL_KEEP_SIZE);
      case kMapRead:
      case kMapWrite:
        return map(what == kMapWrite);
      case kSync:
        note("sync", 0, 0);
        ASSERT_EQ(below(2) == 0 ? ::fsync(fd_.get()) : ::fdatasync(fd_.get()), 0);
        return;
      case kReopen:
        note("reopen", 0, 0);
        return reopen();
      case kDirect:
        return direct(below(2) == 0);
      case kCopy:
        return copy();
      case kSeek:
        return seek(offset(data_.size + 1));
      case kDrop:
        note("drop caches", 0, 0);
        ASSERT_EQ(::fsync(fd_.get()), 0);
        ASSERT_EQ(::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
        return check_all();
      default:
        return;
    }
  }

  void reopen() {
    fd_ = Fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    ASSERT_TRUE(static_cast<bool>(fd_)) << std::strerror(errno);
    check_size();
  }

  void check_size() {
    struct stat st;
    ASSERT_EQ(::fstat(fd_.get(), &st), 0);
    ASSERT_EQ(static_cast<size_t>(st.st_size), data_.size);
  }

  void expect_same(const uint8_t* got, size_t at, size_t n) {
    if (std::memcmp(got, data_.bytes + at, n) == 0) return;
    size_t i = 0;
    while (got[i] == data_.bytes[at + i]) ++i;
    ADD_FAILURE() << "byte " << at + i << " is " << int{got[i]} << ", not " << int{data_.bytes[at + i]};
  }

  void check_all() {
    check_size();
    read(0, data_.size + 10);
  }

  void read(size_t at, size_t n) {
    note("read", at, n);
    buffer_.resize(n);
    ssize_t got = ::pread(fd_.get(), buffer_.data(), n, static_cast<off_t>(at));
    size_t expected = at >= data_.size ? 0 : std::min(n, data_.size - at);
    ASSERT_EQ(got, static_cast<ssize_t>(expected)) << std::strerror(errno);
    expect_same(buffer_.data(), at, expected);
  }

  void fill(size_t n) {
    buffer_.resize(n);
    for (size_t i = 0; i < n; i += 8) {
      uint64_t r = rng_();
      std::memcpy(buffer_.data() + i, &r, std::min<size_t>(8, n - i));
    }
  }

  void write(size_t at, size_t n) {
    note("write", at, n);
    fill(n);
    ASSERT_EQ(::pwrite(fd_.get(), buffer_.data(), n, static_cast<off_t>(at)), static_cast<ssize_t>(n));
    grow(at + n);
    std::copy(buffer_.begin(), buffer_.end(), data_.bytes + at);
    check_size();
  }

  void resize(size_t size) {
    if (size > data_.size) std::fill(data_.bytes + data_.size, data_.bytes + size, 0);
    data_.size = size;
  }
  void grow(size_t size) {
    if (size > data_.size) resize(size);
  }

  void truncate(size_t size) {
    note("truncate", size, 0);
    ASSERT_EQ(::ftruncate(fd_.get(), static_cast<off_t>(size)), 0);
    resize(size);
    check_size();
  }

  void fallocate(int mode) {
    size_t at = offset(kSizeMax - kLengthMax), n = length();
    note(mode & FALLOC_FL_PUNCH_HOLE ? "punch" : mode & FALLOC_FL_ZERO_RANGE ? "zero" : "allocate", at, n);
    ASSERT_EQ(::fallocate(fd_.get(), mode, static_cast<off_t>(at), static_cast<off_t>(n)), 0);
    if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && data_.size < at + n) resize(at + n);
    if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0 && at < data_.size) {
      std::fill_n(data_.bytes + at, std::min(n, data_.size - at), 0);
    }
    check_size();
  }

  void map(bool writes) {
    if (data_.size == 0) return;
    size_t at = offset(data_.size), n = std::min(length(), data_.size - at);
    if (n == 0) return;
    note(writes ? "map write" : "map read", at, n);
    size_t start = at / kPage * kPage;
    int protection = writes ? PROT_READ | PROT_WRITE : PROT_READ;
    void* map = ::mmap(nullptr, at - start + n, protection, MAP_SHARED, fd_.get(), static_cast<off_t>(start));
    ASSERT_NE(map, MAP_FAILED) << std::strerror(errno);
    auto* bytes = static_cast<uint8_t*>(map) + (at - start);
    if (writes) {
      fill(n);
      std::memcpy(bytes, buffer_.data(), n);
      std::copy(buffer_.begin(), buffer_.end(), data_.bytes + at);
      if (below(3) == 0) {
        EXPECT_EQ(::msync(map, at - start + n, MS_SYNC), 0);
      }
    } else {
      expect_same(bytes, at, n);
    }
    ::munmap(map, at - start + n);
  }

  void direct(bool writes) {
    size_t at = offset(kSizeMax - kLengthMax) / kPage * kPage, n = (length() + kPage - 1) / kPage * kPage;
    note(writes ? "direct write" : "direct read", at, n);
    Fd fd(::open(path_.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
    ASSERT_TRUE(static_cast<bool>(fd));
    std::unique_ptr<void, decltype(&std::free)> memory(std::aligned_alloc(kPage, n), &std::free);
    if (writes) {
      fill(n);
      std::memcpy(memory.get(), buffer_.data(), n);
      ASSERT_EQ(::pwrite(fd.get(), memory.get(), n, static_cast<off_t>(at)), static_cast<ssize_t>(n));
      grow(at + n);
      std::copy(buffer_.begin(), buffer_.end(), data_.bytes + at);
      check_size();
    } else {
      size_t expected = at >= data_.size ? 0 : std::min(n, data_.size - at);
      ASSERT_EQ(::pread(fd.get(), memory.get(), n, static_cast<off_t>(at)), static_cast<ssize_t>(expected));
      expect_same(static_cast<uint8_t*>(memory.get()), at, expected);
    }
  }

  void copy() {
    size_t from = offset(data_.size + 1), to = offset(kSizeMax - kLengthMax);
    size_t n = std::min(length(), data_.size - from);
    if (from < to + n && to < from + n) return;  // EINVAL
    note("copy", from, n);
    note("  to", to, n);
    auto in = static_cast<off_t>(from), out = static_cast<off_t>(to);
    ASSERT_EQ(::copy_file_range(fd_.get(), &in, fd_.get(), &out, n, 0), static_cast<ssize_t>(n));
    if (n == 0) return;
    grow(to + n);
    std::copy_n(data_.bytes + from, n, data_.bytes + to);
    check_size();
  }

  // What lies in a hole must be zeros; what is called data may be anything.
  void seek(size_t at) {
    note("seek", at, 0);
    off_t data = ::lseek(fd_.get(), static_cast<off_t>(at), SEEK_DATA);
    size_t hole_end = data >= 0 ? static_cast<size_t>(data) : data_.size;
    if (data < 0) {
      ASSERT_EQ(errno, ENXIO);
    }
    for (size_t i = at; i < hole_end && i < data_.size; ++i)
      ASSERT_EQ(data_.bytes[i], 0) << "byte " << i << " is said to be in a hole";
    off_t hole = ::lseek(fd_.get(), static_cast<off_t>(at), SEEK_HOLE);
    if (at >= data_.size) {
      ASSERT_EQ(hole, -1);
    } else {
      ASSERT_GE(hole, static_cast<off_t>(at));
      ASSERT_LE(hole, static_cast<off_t>(data_.size));
    }
  }

  const std::string path_;
  Expected& data_;
  std::mt19937_64 rng_;
  Fd fd_;
  Bytes buffer_;
  std::vector<std::string> log_;
};

TEST(FsxTest, AgreesWithAReference) {
  uint64_t seed = setting("COFFER_FSX_SEED", std::random_device{}());
  uint64_t operations = setting("COFFER_FSX_OPERATIONS", 10'000);
  std::cout << "COFFER_FSX_SEED=" << seed << " COFFER_FSX_OPERATIONS=" << operations << std::endl;
  Mounted m;
  void* shared = ::mmap(nullptr, sizeof(Expected), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto& expected = *static_cast<Expected*>(shared);
  for (uint64_t done = 0; done < operations; done += kBatch) {
    uint64_t batch = std::min(kBatch, operations - done);
    int failed = in_child([&] { return Fsx(m.path("file"), expected, seed + done).run(batch); });
    ASSERT_EQ(failed, 0) << "between operations " << done << " and " << done + batch;
    m.remount();
  }
  ASSERT_EQ(in_child([&] { return Fsx(m.path("file"), expected, seed).run(0); }), 0);
  auto faults = m.replica().find_faults();
  ASSERT_TRUE(faults.has_value()) << faults.error().what();
  for (const std::string& f : *faults) ADD_FAILURE() << f;
}

}  // namespace
}  // namespace coffer
