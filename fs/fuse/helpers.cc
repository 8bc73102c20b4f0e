#include "fs/fuse/helpers.h"

#include <cerrno>

#include "base/thread.h"

namespace coffer::fuse {

Helpers::Helpers() {
  for (int i = 0; i < kThreads; ++i) threads_.push_back(start_thread("coffer-helper", [this] { work(); }));
}

Helpers::~Helpers() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  threads_.clear();
}

void Helpers::add(fuse_req_t req, std::function<void(Deferred&)> job) {
  auto request = Deferred::start(req);
  MutexLock lock(mutex_);
  waiting_.emplace_back(std::move(request), std::move(job));
  changed_.notify_one();
}

void Helpers::work() {
  for (;;) {
    Job job;
    bool stopping = false;
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !stopping_) changed_.wait(mutex_);
      if (waiting_.empty()) return;
      job = std::move(waiting_.front());
      waiting_.pop_front();
      stopping = stopping_;
    }
    if (job.first->answered()) continue;
    if (!stopping)
      job.second(*job.first);
    else if (job.first->claim())
      fuse_reply_err(job.first->request(), EINTR);
  }
}

}  // namespace coffer::fuse
