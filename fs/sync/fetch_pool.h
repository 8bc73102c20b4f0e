// Brings frames that this machine does not have from the store, for parked reads.
//
// Requests are widened to whole cells of a 64 KiB grid over the pack, so that the store learns no exact places, and
// adjacent cells are asked for together; a reader that goes through a pack in order gets a growing window ahead of it
// (up to 4 MiB). Two readers of one cell make one GET.
//
// What arrives is kept in memory, bounded. Only a frame that somebody wants goes to disk: its hash stands in a signed
// record, and is checked before. A frame that came along (readahead, neighbours) waits in memory until it is wanted, or is
// dropped; so everything on disk has been verified, once, and local reads need not hash again.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "fs/replica/fetcher.h"
#include "fs/replica/replica.h"
#include "remote/object_store.h"

namespace coffer {

// Thread-safe. Owns its threads between start() and stop(). The store outlives it.
class FetchPool {
 public:
  struct Options {
    const Clock* clock = &Clock::system();
    Nanos timeout = std::chrono::seconds(60);  // without anything from the store
    unsigned threads = 8;
    size_t buffer = 64 << 20;       // bytes in memory that nobody has asked for yet
    size_t most_at_once = 4 << 20;  // one GET, and the window ahead
    Nanos retry_first = std::chrono::milliseconds(200), retry_most = std::chrono::seconds(5);
  };
  // What it works with; called from its threads, without a lock held.
  struct Backend {
    // Where a pack is in the store; nullopt: nobody has said.
    std::function<Result<std::optional<PackPlace>>(const ObjectId&)> place_of;
    // Keeps the verified sealed bytes of a frame on disk.
    std::function<Result<void>(const FrameRef&, BytesView)> keep;
    // The store has answered that the object with a pack is there, or that there is none of this name.
    std::function<void(const ObjectId&, const std::string& key, bool there)> answered = {};
  };

  FetchPool(ObjectStore& store, Backend backend, Options options);
  ~FetchPool();  // stop()

  void start();
  // Every parked request ends with kCancelled. Idempotent.
  void stop();

  // As Fetcher::fetch. The queue is not bounded here: an entry is one call of the kernel's, which bounds them, or one read
  // of a program of ours. A cancelled reader is told within 50 ms.
  void fetch(std::vector<Missing> missing, std::stop_token stop, std::function<void(Result<void>)> done);

  size_t parked() const;

 private:
  struct Request {
    std::stop_token stop;
    std::function<void(Result<void>)> done;
    size_t open = 0;    // frames that are not here yet
    Nanos progress{0};  // when it was made, or the store last gave it something
    bool finished = false;
    std::optional<Error> refused;  // it makes no sense
    std::optional<Error> trouble;  // what the store last answered for one of its frames
  };
  using RequestPtr = std::shared_ptr<Request>;
  struct Wanted {
    FrameRef ref;
    std::vector<RequestPtr> waiting;
    bool tried_again = false;
  };
  // A GET under way, for cells [first, end) of a pack.
  struct Flight {
    uint64_t first = 0, end = 0;
    bool ahead = false;  // nobody waits for it
    Nanos started{0};
    std::stop_source stop;
  };
  struct Pack {
    std::map<uint32_t, Wanted> frames;  // by offset
    std::set<uint64_t> ahead;           // cells to be asked for although nobody waits for them
    std::set<uint64_t> cells;           // all that are to be asked for, as plan() found
    std::list<std::shared_ptr<Flight>> flights;
    bool queued = false;
    unsigned failures = 0;
    Nanos not_before{0};
    std::optional<PackPlace> place;
    // A reader that goes on in order: where the next cell would be, how many cells ahead were asked for last, and the
    // cell at which to ask for more.
    uint64_t next_cell = 0, window = 0, marker = UINT64_MAX;
  };
  struct Arrived {
    FrameRef ref;
    Bytes sealed;
    std::vector<RequestPtr> waiting;
    bool tried_again;
  };
  using Callbacks = std::vector<std::pair<std::function<void(Result<void>)>, Result<void>>>;

  void work(std::stop_token stop);
  void watch(std::stop_token stop);
  void step(const ObjectId& id);
  Result<void> find_place(const ObjectId& id);
  void get(const ObjectId& id, const PackPlace& place, const std::shared_ptr<Flight>& flight);
  void deliver(const ObjectId& id, std::vector<Arrived> arrived);

  // What `pack` still has to ask for, given what is in memory and under way.
  void plan(const ObjectId& id, Pack& pack) REQUIRES(mutex_);
  std::shared_ptr<Flight> take_run(Pack& pack) REQUIRES(mutex_);
  std::vector<Arrived> collect(const ObjectId& id, Pack& pack) REQUIRES(mutex_);
  void queue(const ObjectId& id, Pack& pack) REQUIRES(mutex_);
  void follow(Pack& pack, uint64_t first, uint64_t last) REQUIRES(mutex_);
  void remember(const ObjectId& id, uint64_t cell, BytesView bytes) REQUIRES(mutex_);
  void evict() REQUIRES(mutex_);
  void forget_cells(const ObjectId& id, uint64_t first, uint64_t last) REQUIRES(mutex_);
  bool in_flight(const Pack& pack, uint64_t cell) const REQUIRES(mutex_);
  void fail_frames(Pack& pack, uint64_t first, uint64_t end, const Error& error, Callbacks& out) REQUIRES(mutex_);
  void finish(const RequestPtr& request, Result<void> outcome, Callbacks& out) REQUIRES(mutex_);
  static void call(Callbacks callbacks);

  ObjectStore& store_;
  const Backend backend_;
  const Options options_;

  mutable Mutex mutex_{Rank::kSync};
  CondVar work_ready_, watch_ready_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::unordered_map<ObjectId, Pack> packs_ GUARDED_BY(mutex_);
  std::list<ObjectId> queue_ GUARDED_BY(mutex_);  // packs with something to do, in turn
  std::set<RequestPtr> requests_ GUARDED_BY(mutex_);
  Nanos last_success_ GUARDED_BY(mutex_){0};
  uint64_t handed_on_window_ GUARDED_BY(mutex_) = 0;  // of a reader that came to the end of its pack

  // Cells in memory, least recently used first.
  struct Cell {
    ObjectId pack;
    uint64_t cell = 0;
    Bytes bytes;
  };
  std::list<Cell> cells_ GUARDED_BY(mutex_);
  std::map<std::pair<ObjectId, uint64_t>, std::list<Cell>::iterator> cell_index_ GUARDED_BY(mutex_);
  size_t cell_bytes_ GUARDED_BY(mutex_) = 0;

  std::vector<std::jthread> threads_;
};

}  // namespace coffer
