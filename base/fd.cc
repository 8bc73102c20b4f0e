#include "base/fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace coffer {

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<Fd> open_file(const std::string& path, int flags, unsigned mode) {
  for (;;) {
    int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0) return Fd(fd);
    if (errno != EINTR) return fail(errno_error(path, errno));
  }
}

Result<void> read_at(const Fd& fd, MutableBytes out, uint64_t offset) {
  while (!out.empty()) {
    ssize_t n = ::pread(fd.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail(errno_error("read", errno));
    }
    if (n == 0) return fail(Code::kRange, "read: file is shorter than expected");
    out = out.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Result<void> write_at(const Fd& fd, BytesView in, uint64_t offset) {
  while (!in.empty()) {
    ssize_t n = ::pwrite(fd.get(), in.data(), in.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail(errno_error("write", errno));
    }
    in = in.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Result<void> sync_data(const Fd& fd) {
  if (::fdatasync(fd.get()) != 0) return fail(errno_error("fdatasync", errno));
  return {};
}

Result<void> sync_directory(const std::string& path) {
  TRY(Fd dir, open_file(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(dir.get()) != 0) return fail(errno_error(path, errno));
  return {};
}

Result<uint64_t> file_size(const Fd& fd) {
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return fail(errno_error("fstat", errno));
  return static_cast<uint64_t>(st.st_size);
}

Result<Bytes> read_file(const std::string& path, size_t limit) {
  TRY(Fd fd, open_file(path, O_RDONLY));
  TRY(uint64_t size, file_size(fd));
  if (size > limit) return fail(Code::kTooLarge, path + ": larger than " + std::to_string(limit) + " bytes");
  Bytes out;
  uint8_t buffer[16384];
  for (;;) {  // read to the end rather than by size: pipes and /proc report none
    ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail(errno_error(path, errno));
    }
    if (n == 0) return out;
    out.insert(out.end(), buffer, buffer + n);
    if (out.size() > limit) return fail(Code::kTooLarge, path + ": larger than " + std::to_string(limit) + " bytes");
  }
}

Result<void> write_file_durably(const std::string& path, BytesView content) {
  size_t slash = path.find_last_of('/');
  std::string dir = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  std::string temporary = path + ".new";
  {
    TRY(Fd fd, open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC));
    auto written = write_at(fd, content, 0);
    if (written) written = sync_data(fd);
    if (!written) return fail(written.error().in(temporary));
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail(errno_error(path, errno));
  return sync_directory(dir);
}

Result<void> make_directories(const std::string& path) {
  for (size_t i = 1; i <= path.size(); ++i) {
    if (i < path.size() && path[i] != '/') continue;
    std::string prefix = path.substr(0, i);
    if (::mkdir(prefix.c_str(), 0700) != 0 && errno != EEXIST) return fail(errno_error(prefix, errno));
  }
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return fail(errno_error(path, errno));
  if (!S_ISDIR(st.st_mode)) return fail(errno_error(path, ENOTDIR));
  return {};
}

}  // namespace coffer
