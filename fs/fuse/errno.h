// What a program sees of a failure: the one place that turns a Code into an errno.
#pragma once

#include "base/result.h"
#include "fs/fuse/upcall_meter.h"

namespace coffer::fuse {

// Positive, never 0. What has no better name is EIO. A read of bytes that were never on this machine ends in ETIMEDOUT
// when the store cannot be reached within the fetcher's bounded time, in EIO when the store's copy is damaged, and in
// EINTR when the reader was interrupted.
// The manual pages name some failures differently for some calls: lseek(2) ENXIO, setxattr(2) ENOSPC.
int to_errno(Upcall upcall, Code code);

}  // namespace coffer::fuse
