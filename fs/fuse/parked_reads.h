// Reads of bytes that this machine does not have: no FUSE worker waits for the network.
#pragma once

#include <deque>
#include <memory>
#include <thread>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "fs/fuse/deferred.h"
#include "fs/fuse/nodes.h"
#include "fs/fuse/read_buffers.h"
#include "fs/fuse/upcall_meter.h"
#include "fs/replica/fetcher.h"
#include "fs/replica/replica.h"

namespace coffer::fuse {

// A parked read holds no buffer and no thread, only its place here; how many there are is bounded by what the kernel
// sends (max_background, and one for each thread that reads without readahead). Its answer is: the bytes when the fetcher
// has brought them; EINTR as soon as the reader is interrupted; ETIMEDOUT after the fetcher's bounded time without a
// store; EIO for damage. Thread-safe.
class ParkedReads {
 public:
  // What is passed outlives this object.
  ParkedReads(Replica& replica, const Nodes& nodes, Fetcher& fetcher, ReadBuffers& buffers, UpcallMeter& meter);
  // Cancels what is parked, and waits for the fetcher to let go of it.
  ~ParkedReads();

  void park(fuse_req_t req, NodeId node, uint64_t offset, size_t size, std::vector<Missing> missing);
  size_t parked() const;

 private:
  struct Read {
    std::shared_ptr<Deferred> request;
    NodeId node = 0;
    uint64_t offset = 0;
    size_t size = 0;
    int rounds = 0;  // of fetching
    Result<void> fetched;
  };
  using ReadPtr = std::shared_ptr<Read>;

  void fetch(ReadPtr read, std::vector<Missing> missing);
  void work();
  void finish(const ReadPtr& read);
  void drop(const ReadPtr& read);

  Replica& replica_;
  const Nodes& nodes_;
  Fetcher& fetcher_;
  ReadBuffers& buffers_;
  UpcallMeter& meter_;

  mutable Mutex mutex_{Rank::kLeaf};
  CondVar changed_;
  std::unordered_set<ReadPtr> reads_ GUARDED_BY(mutex_);
  std::deque<ReadPtr> fetched_ GUARDED_BY(mutex_);  // a subset of reads_
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::jthread worker_;
};

}  // namespace coffer::fuse
