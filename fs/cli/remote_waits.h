// What waits for the store under a mount: fsync under fsync=remote, and `coffer sync`. An unmount ends these waits.
#pragma once

#include <stop_token>

#include "base/mutex.h"

namespace coffer::cli {

// Thread-safe.
class RemoteWaits {
 public:
  // Stopped when the waits of now are to end.
  std::stop_token token() {
    MutexLock lock(mutex_);
    return source_.get_token();
  }
  void end() {
    std::stop_source source;
    {
      MutexLock lock(mutex_);
      source = source_;
    }
    source.request_stop();  // runs callbacks: not under the lock
  }
  // After an end() that came to nothing: new waits may begin.
  void renew() {
    MutexLock lock(mutex_);
    if (source_.stop_requested()) source_ = std::stop_source();
  }

 private:
  Mutex mutex_{Rank::kLeaf};
  std::stop_source source_ GUARDED_BY(mutex_);
};

}  // namespace coffer::cli
