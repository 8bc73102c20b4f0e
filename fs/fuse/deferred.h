// A request that is answered later, from another thread.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <atomic>
#include <memory>
#include <stop_token>

namespace coffer::fuse {

// Answered exactly once, by whoever claims it first: the one who works on it, or the kernel when the caller is
// interrupted (Ctrl-C): then with EINTR at once, and whoever works on it is asked to stop. Thread-safe.
class Deferred : public std::enable_shared_from_this<Deferred> {
 public:
  // From here on the request belongs to the result; the interrupt may come before this returns.
  static std::shared_ptr<Deferred> start(fuse_req_t req);

  // True once, for one caller, who must reply to request(). To be called before the last owner lets go.
  bool claim();
  bool answered() const { return answered_.load(); }
  fuse_req_t request() const { return req_; }
  // Asked to stop when the caller was interrupted, or by stop().
  std::stop_token stop_token() const { return stop_.get_token(); }
  void stop() { stop_.request_stop(); }

 private:
  explicit Deferred(fuse_req_t req) : req_(req) {}
  static void interrupted(fuse_req_t req, void* self) noexcept;

  const fuse_req_t req_;
  std::atomic<bool> answered_{false};
  std::stop_source stop_;
};

}  // namespace coffer::fuse
