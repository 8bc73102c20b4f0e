#include "fs/fuse/batched_syncs.h"

#include <utility>

#include "base/thread.h"
#include "fs/fuse/errno.h"

namespace coffer::fuse {

BatchedSyncs::BatchedSyncs(std::function<Result<void>()> sync) : sync_(std::move(sync)) {
  worker_ = start_thread("coffer-rsync", [this] { work(); });
}

BatchedSyncs::~BatchedSyncs() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  worker_.join();
}

void BatchedSyncs::add(fuse_req_t req) {
  auto request = Deferred::start(req);
  MutexLock lock(mutex_);
  waiting_.push_back(std::move(request));
  changed_.notify_all();
}

void BatchedSyncs::work() {
  for (;;) {
    std::vector<std::shared_ptr<Deferred>> round;
    bool stopping = false;
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !stopping_) changed_.wait(mutex_);
      round = std::exchange(waiting_, {});
      stopping = stopping_;
    }
    int err = stopping ? to_errno(Upcall::kFsync, Code::kCancelled) : 0;
    if (!stopping) {
      auto synced = sync_();
      if (!synced) err = to_errno(Upcall::kFsync, synced.error().code());
    }
    for (const auto& request : round)
      if (request->claim()) fuse_reply_err(request->request(), err);
    if (stopping) return;
  }
}

}  // namespace coffer::fuse
