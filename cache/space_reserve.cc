#include "cache/space_reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/failpoint.h"

namespace coffer {

Result<SpaceReserve> SpaceReserve::open(const std::string& path, uint64_t size) {
  SpaceReserve reserve;
  if (size == 0) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail(errno_error(path, errno));
    return reserve;
  }
  TRY(reserve.fd_, open_file(path, O_RDWR | O_CREAT));
  reserve.size_ = size;
  struct stat st;
  if (::fstat(reserve.fd_.get(), &st) != 0) return fail(errno_error(path, errno));
  if (static_cast<uint64_t>(st.st_size) > size && ::ftruncate(reserve.fd_.get(), static_cast<off_t>(size)) != 0)
    return fail(errno_error(path, errno));
  // By its blocks: a copy of the state directory may have made it sparse.
  bool whole = static_cast<uint64_t>(st.st_size) >= size && static_cast<uint64_t>(st.st_blocks) * 512 >= size;
  reserve.held_ = whole ? size : 0;
  return reserve;
}

Result<void> SpaceReserve::take() {
  if (missing() == 0) return {};
  TRYV(failpoint("reserve.take"));
  if (int err = ::posix_fallocate(fd_.get(), 0, static_cast<off_t>(size_)); err != 0) {
    (void)::ftruncate(fd_.get(), 0);  // a part of it would only be missing elsewhere
    return fail(errno_error("the disk space reserve", err));
  }
  held_ = size_;
  return {};
}

bool SpaceReserve::give_up() {
  if (held_ == 0 || ::ftruncate(fd_.get(), 0) != 0) return false;
  held_ = 0;
  return true;
}

}  // namespace coffer
