#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace coffer {

std::string_view to_string(Code code) {
  switch (code) {
    case Code::kUnavailable:
      return "unavailable";
    case Code::kTimedOut:
      return "timed out";
    case Code::kCancelled:
      return "cancelled";
    case Code::kIo:
      return "i/o error";
    case Code::kNoSpace:
      return "no space";
    case Code::kDenied:
      return "denied";
    case Code::kUntrusted:
      return "untrusted";
    case Code::kCorrupt:
      return "corrupt";
    case Code::kUnsupported:
      return "unsupported";
    case Code::kTooNew:
      return "too new";
    case Code::kBusy:
      return "busy";
    case Code::kInvalid:
      return "invalid";
    case Code::kTooLarge:
      return "too large";
    case Code::kInternal:
      return "internal error";
    case Code::kNotFound:
      return "not found";
    case Code::kExists:
      return "exists";
    case Code::kNotDirectory:
      return "not a directory";
    case Code::kIsDirectory:
      return "is a directory";
    case Code::kNotEmpty:
      return "not empty";
    case Code::kNameTooLong:
      return "name too long";
    case Code::kTooManyLinks:
      return "too many links";
    case Code::kNoData:
      return "no data";
    case Code::kRange:
      return "out of range";
    case Code::kNotPermitted:
      return "not permitted";
    case Code::kStale:
      return "stale";
    case Code::kCrossDevice:
      return "cross-device";
    case Code::kLoop:
      return "loop";
  }
  return "unknown";
}

Error errno_error(std::string_view what, int err) {
  Code code = Code::kIo;
  switch (err) {
    case ENOSPC:
    case EDQUOT:
      code = Code::kNoSpace;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      code = Code::kDenied;
      break;
    case ENOENT:
      code = Code::kNotFound;
      break;
    case EEXIST:
      code = Code::kExists;
      break;
    case ENOTDIR:
      code = Code::kNotDirectory;
      break;
    case EISDIR:
      code = Code::kIsDirectory;
      break;
    case ENOTEMPTY:
      code = Code::kNotEmpty;
      break;
    case ENAMETOOLONG:
      code = Code::kNameTooLong;
      break;
    case EINVAL:
      code = Code::kInvalid;
      break;
    case EINTR:
      code = Code::kCancelled;
      break;
    case EOPNOTSUPP:
      code = Code::kUnsupported;
      break;
    case EBUSY:
    case EAGAIN:
      code = Code::kBusy;
      break;
    default:
      break;
  }
  return Error(code, std::string(what) + ": " + std::strerror(err));
}

}  // namespace coffer
