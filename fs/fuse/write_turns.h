// The writes of one file, one after the other, so that no worker waits for another that is at the same file.
//
// The kernel's requests come in one line. Whoever streams a large file fills it with tens of mebibytes, and the workers with what
// waits for that file's lock: a small write or an fsync of another file would be taken up behind all of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "fs/fuse/active_writes.h"

namespace coffer::fuse {

// Thread-safe. Owns the buffers that it is given, until it hands them to `process` or back.
class WriteTurns {
 public:
  static constexpr size_t kMostWaiting = 64 << 20;  // bytes that are kept for others; beyond that, everybody waits

  // A request in memory of malloc(), as libfuse allocates it.
  struct Request {
    void* memory = nullptr;
    size_t size = 0;
  };

  // `process` works on one request, which stays ours. `active` counts who is at it, from the first request to the last.
  WriteTurns(ActiveWrites& active, std::function<void(const Request&)> process)
      : active_(active), process_(std::move(process)) {}
  ~WriteTurns();
  WriteTurns(const WriteTurns&) = delete;
  WriteTurns& operator=(const WriteTurns&) = delete;

  // A write to `file`: has it processed, and after it, in their order, all that come for that file meanwhile; or, when
  // somebody is at that file, leaves it to him. Then `request` is left with another buffer, or none.
  void take(uint64_t file, Request& request) EXCLUDES(mutex_);

 private:
  static constexpr size_t kSmall = 128 << 10;  // requests up to this are copied rather than their whole buffer kept
  static constexpr size_t kSpare = 8;

  enum class Turn {
    kOurs,  // nobody was at the file
    kLeft,  // who is at it has got the request
    kNone,  // somebody is at it, and there is no room to leave him more
  };
  Turn begin(uint64_t file, Request& request) EXCLUDES(mutex_);
  // The next of the file; without memory: there is none, and nobody is at the file any more.
  Request next(uint64_t file) EXCLUDES(mutex_);
  void recycle(Request request) EXCLUDES(mutex_);

  ActiveWrites& active_;
  const std::function<void(const Request&)> process_;
  Mutex mutex_{Rank::kLeaf};
  std::unordered_map<uint64_t, std::deque<Request>> waiting_ GUARDED_BY(mutex_);  // of the files that somebody is at
  size_t bytes_ GUARDED_BY(mutex_) = 0;                                           // of `waiting_`
  std::vector<void*> spare_ GUARDED_BY(mutex_);                                   // whole buffers
};

}  // namespace coffer::fuse
