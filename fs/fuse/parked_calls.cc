#include "fs/fuse/parked_calls.h"

#include <cerrno>

#include "base/thread.h"
#include "fs/fuse/errno.h"

namespace coffer::fuse {

ParkedCalls::ParkedCalls(Fetcher& fetcher) : fetcher_(fetcher) {
  for (int i = 0; i < kThreads; ++i) threads_.push_back(start_thread("coffer-calls", [this] { work(); }));
}

ParkedCalls::~ParkedCalls() { end(); }

void ParkedCalls::end() {
  std::vector<CallPtr> all;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    all.assign(calls_.begin(), calls_.end());
  }
  for (const CallPtr& c : all) c->request->stop();
  all.clear();
  {
    MutexLock lock(mutex_);
    changed_.notify_all();
    while (!calls_.empty()) changed_.wait(mutex_);
  }
  threads_.clear();
}

size_t ParkedCalls::parked() const {
  MutexLock lock(mutex_);
  return calls_.size();
}

void ParkedCalls::park(fuse_req_t req, Upcall upcall, std::set<size_t> parts) {
  auto call = std::make_shared<Call>();
  call->upcall = upcall;
  call->raw = current_request();
  call->request = Deferred::start(req);
  bool stopping;
  {
    MutexLock lock(mutex_);
    stopping = stopping_;
    if (!stopping) calls_.insert(call);
  }
  if (stopping) {
    if (call->request->claim()) fuse_reply_err(req, EINTR);
    return;
  }
  auto stop = call->request->stop_token();
  fetcher_.fetch_parts(std::move(parts), std::move(stop), [this, call](Result<void> outcome) {
    call->outcome = std::move(outcome);
    MutexLock lock(mutex_);
    ready_.push_back(call);
    changed_.notify_all();
  });
}

void ParkedCalls::work() {
  for (;;) {
    CallPtr call;
    {
      MutexLock lock(mutex_);
      while (ready_.empty() && !(stopping_ && calls_.empty())) changed_.wait(mutex_);
      if (ready_.empty()) return;
      call = std::move(ready_.front());
      ready_.pop_front();
    }
    finish(call);
    MutexLock lock(mutex_);
    calls_.erase(call);
    changed_.notify_all();
  }
}

void ParkedCalls::finish(const CallPtr& call) {
  if (!call->request->claim()) return;
  if (!call->outcome) {
    fuse_reply_err(call->request->request(), to_errno(call->upcall, call->outcome.error().code()));
    return;
  }
  // The request is given back unanswered, and comes again under its number. An interrupt in between is kept by libfuse for it.
  fuse_reply_none(call->request->request());
  process_again(session_, call->raw);
}

}  // namespace coffer::fuse
