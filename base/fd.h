// File descriptors and the few ways in which coffer touches local files.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace coffer {

// Owns one file descriptor. Moves, does not copy.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd& operator=(Fd&& o) noexcept {
    if (this != &o) {
      reset();
      fd_ = std::exchange(o.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// open(2) with O_CLOEXEC added.
Result<Fd> open_file(const std::string& path, int flags, unsigned mode = 0600);
// Exactly `out.size()` bytes from `offset`, or kIo / kRange when the file is shorter.
Result<void> read_at(const Fd& fd, MutableBytes out, uint64_t offset);
Result<void> write_at(const Fd& fd, BytesView in, uint64_t offset);
Result<void> sync_data(const Fd& fd);                  // fdatasync
Result<void> sync_directory(const std::string& path);  // makes creations and renames in it durable
Result<uint64_t> file_size(const Fd& fd);
// The whole of a file of at most `limit` bytes; kNotFound, kTooLarge.
Result<Bytes> read_file(const std::string& path, size_t limit);
// Replaces or makes `path` with all of `content`, durable when it returns; a crash leaves the old file or the new one.
Result<void> write_file_durably(const std::string& path, BytesView content);
// mkdir -p with mode 0700 for what is made.
Result<void> make_directories(const std::string& path);

}  // namespace coffer
