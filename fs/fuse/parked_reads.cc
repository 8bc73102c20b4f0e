#include "fs/fuse/parked_reads.h"

#include "base/log.h"
#include "base/thread.h"
#include "fs/fuse/errno.h"

namespace coffer::fuse {

namespace {

// What was fetched can be evicted before it is read, when many readers share a small cache. In each round somebody gets on;
// a replica that keeps nothing must not hold a reader for ever, though.
constexpr int kRounds = 64;

}  // namespace

ParkedReads::ParkedReads(Replica& replica, const Nodes& nodes, Fetcher& fetcher, ReadBuffers& buffers,
                         UpcallMeter& meter)
    : replica_(replica), nodes_(nodes), fetcher_(fetcher), buffers_(buffers), meter_(meter) {
  worker_ = start_thread("coffer-parked", [this] { work(); });
}

ParkedReads::~ParkedReads() {
  std::vector<ReadPtr> all;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    all.assign(reads_.begin(), reads_.end());
  }
  for (const ReadPtr& r : all) r->request->stop();
  all.clear();
  {
    MutexLock lock(mutex_);
    changed_.notify_all();
    while (!reads_.empty()) changed_.wait(mutex_);
  }
  worker_.join();
}

size_t ParkedReads::parked() const {
  MutexLock lock(mutex_);
  return reads_.size();
}

void ParkedReads::park(fuse_req_t req, NodeId node, uint64_t offset, size_t size, std::vector<Missing> missing) {
  auto read = std::make_shared<Read>();
  read->node = node;
  read->offset = offset;
  read->size = size;
  bool stopping = false;
  {
    MutexLock lock(mutex_);
    stopping = stopping_;
    if (!stopping) reads_.insert(read);
  }
  if (stopping) {
    fuse_reply_err(req, EINTR);
    return;
  }
  read->request = Deferred::start(req);
  fetch(std::move(read), std::move(missing));
}

void ParkedReads::fetch(ReadPtr read, std::vector<Missing> missing) {
  ++read->rounds;
  auto stop = read->request->stop_token();
  fetcher_.fetch(std::move(missing), std::move(stop), [this, read](Result<void> outcome) {
    read->fetched = std::move(outcome);
    MutexLock lock(mutex_);
    fetched_.push_back(read);
    changed_.notify_all();
  });
}

void ParkedReads::work() {
  for (;;) {
    ReadPtr read;
    {
      MutexLock lock(mutex_);
      while (fetched_.empty() && !(stopping_ && reads_.empty())) changed_.wait(mutex_);
      if (fetched_.empty()) return;
      read = std::move(fetched_.front());
      fetched_.pop_front();
    }
    finish(read);
  }
}

void ParkedReads::finish(const ReadPtr& read) {
  if (read->request->answered()) return drop(read);
  auto fail_with = [&](const Error& error) {
    if (error.code() == Code::kCorrupt || error.code() == Code::kIo || error.code() == Code::kInternal)
      log_line(LogLevel::kWarning, "read: " + error.what());
    if (read->request->claim()) fuse_reply_err(read->request->request(), to_errno(Upcall::kRead, error.code()));
    drop(read);
  };
  if (!read->fetched) return fail_with(read->fetched.error());
  auto buffer = buffers_.take();
  auto outcome = [&] {
    auto hold = replica_.hold_news();
    return replica_.read(nodes_.resolve(read->node).ino, read->offset, MutableBytes(buffer.data(), read->size));
  }();
  if (!outcome) return fail_with(outcome.error());
  if (!outcome->missing.empty()) {
    if (read->rounds >= kRounds) return fail_with(Error(Code::kIo, "what was fetched does not stay"));
    return fetch(read, std::move(outcome->missing));
  }
  if (read->request->claim())
    fuse_reply_buf(read->request->request(), reinterpret_cast<const char*>(buffer.data()), outcome->bytes);
  meter_.charge(Upcall::kRead);
  drop(read);
}

void ParkedReads::drop(const ReadPtr& read) {
  MutexLock lock(mutex_);
  reads_.erase(read);
  changed_.notify_all();
}

}  // namespace coffer::fuse
