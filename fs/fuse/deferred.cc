#include "fs/fuse/deferred.h"

#include <cerrno>

namespace coffer::fuse {

std::shared_ptr<Deferred> Deferred::start(fuse_req_t req) {
  std::shared_ptr<Deferred> deferred(new Deferred(req));
  fuse_req_interrupt_func(req, &Deferred::interrupted, deferred.get());
  return deferred;
}

bool Deferred::claim() {
  if (answered_.exchange(true)) return false;
  // Waits for an interrupt that is being delivered right now; afterwards none can come.
  fuse_req_interrupt_func(req_, nullptr, nullptr);
  return true;
}

// libfuse calls this with the request locked, so claim() of another thread waits before it lets the object go: `self` is
// alive until the exchange, and by our own reference after it.
void Deferred::interrupted(fuse_req_t req, void* self) noexcept {
  auto deferred = static_cast<Deferred*>(self)->shared_from_this();
  if (deferred->answered_.exchange(true)) return;
  fuse_reply_err(req, EINTR);
  deferred->stop_.request_stop();
}

}  // namespace coffer::fuse
