// Mounts whose daemon is gone: every access says "Transport endpoint is not connected".
#pragma once

#include <string>

#include "base/result.h"

namespace coffer {

// True when `directory` is a mount of ours (type fuse.coffer) that nobody serves any more. Any other answer, an error
// included, is false. A daemon that lives but does not answer makes this wait for it.
bool is_dead_mount(const std::string& directory);

// Takes such a mount away, also when programs still have files of it open. kInvalid: it is none; kDenied.
Result<void> clear_dead_mount(const std::string& directory);

}  // namespace coffer
