// Brings bytes that this machine does not have. The kernel side parks a read and asks here; fs/sync answers.
#pragma once

#include <functional>
#include <set>
#include <stop_token>
#include <vector>

#include "base/result.h"
#include "fs/replica/replica.h"

namespace coffer {

// Thread-safe.
class Fetcher {
 public:
  virtual ~Fetcher() = default;
  // Returns at once. `done` is called exactly once, from another thread: ok when every missing range is local now and
  // verified; kUnavailable or kTimedOut after a bounded time without the store; kCorrupt when the store's copy does not
  // verify; kCancelled soon after `stop` was requested.
  virtual void fetch(std::vector<Missing> missing, std::stop_token stop, std::function<void(Result<void>)> done) = 0;
  // The same for parts of the state (row_parts.h); `done` may be called before it returns. kUnavailable, kTimedOut also when
  // a part cannot be had, and the state is not made anew within that time.
  virtual void fetch_parts(std::set<size_t> parts, std::stop_token stop, std::function<void(Result<void>)> done) = 0;
};

}  // namespace coffer
