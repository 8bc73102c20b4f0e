#include "remote/wait.h"

#include <condition_variable>
#include <mutex>

namespace coffer {

bool wait_for(Nanos duration, std::stop_token stop) {
  // condition_variable_any is the one wait of the standard library that a stop_token ends; the mutex is local.
  std::mutex mutex;
  std::condition_variable_any cv;
  std::unique_lock lock(mutex);
  cv.wait_for(lock, stop, duration, [] { return false; });
  return !stop.stop_requested();
}

}  // namespace coffer
