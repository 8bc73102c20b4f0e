#include "fs/fuse/errno.h"

#include <cerrno>

namespace coffer::fuse {

int to_errno(Upcall upcall, Code code) {
  switch (code) {
    case Code::kUnavailable:
    case Code::kTimedOut:
      return ETIMEDOUT;
    case Code::kCancelled:
      return EINTR;
    case Code::kNoSpace:
      return ENOSPC;
    case Code::kDenied:
    case Code::kUntrusted:
      return EACCES;
    case Code::kUnsupported:
      return EOPNOTSUPP;
    case Code::kBusy:
      return EBUSY;
    case Code::kInvalid:
      return EINVAL;
    case Code::kTooLarge:
      return upcall == Upcall::kSetxattr ? ENOSPC : EFBIG;
    case Code::kNotFound:
      return ENOENT;
    case Code::kExists:
      return EEXIST;
    case Code::kNotDirectory:
      return ENOTDIR;
    case Code::kIsDirectory:
      return EISDIR;
    case Code::kNotEmpty:
      return ENOTEMPTY;
    case Code::kNameTooLong:
      return ENAMETOOLONG;
    case Code::kTooManyLinks:
      return EMLINK;
    case Code::kNoData:
      return upcall == Upcall::kLseek ? ENXIO : ENODATA;
    case Code::kRange:
      return ERANGE;
    case Code::kNotPermitted:
      return EPERM;
    case Code::kStale:
      return ESTALE;
    case Code::kCrossDevice:
      return EXDEV;
    case Code::kLoop:
      return ELOOP;
    case Code::kIo:
    case Code::kCorrupt:
    case Code::kTooNew:
    case Code::kInternal:
      return EIO;
  }
  return EIO;
}

}  // namespace coffer::fuse
