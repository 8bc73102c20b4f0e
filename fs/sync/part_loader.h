// Brings the parts of a state that a new device began with (fs/replica/row_parts.h) from the store: first what somebody needs,
// and when it has been quiet for a while, the rest, in order.
//
// A part is a segment of a checkpoint, and is verified by what the checkpoint's signed root says of it before its rows reach
// the replica. When all are there, the whole is checked, and the loading ends. When one cannot be had, or the whole is not
// sound, failure() says so: the state is to be made anew from all records then (News does that), which ends the loading as
// well. Until then what is here serves, and it is looked for what is not, again and again.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "fs/sync/context.h"
#include "fs/sync/segment.h"

namespace coffer {

// What the replica keeps for a part.
Bytes encode_part(const SegmentInfo& info);
Result<SegmentInfo> decode_part(BytesView bytes);

// Thread-safe. Owns its threads, which live while there is something to load.
class PartLoader {
 public:
  explicit PartLoader(SyncContext& context) : c_(context) {}
  ~PartLoader();

  // Called when it is to be looked at failure(). Set before begin().
  void on_failure(std::function<void()> callback) { failed_callback_ = std::move(callback); }
  // Goes on with what the replica says is missing; at start, and when a state was loaded in part.
  Result<void> begin();
  void stop();

  // As Fetcher::fetch_parts.
  void bring(const std::set<size_t>& parts, std::stop_token stop, std::function<void(Result<void>)> done);
  // The same, waiting; kUnavailable at once when a part cannot be had.
  Result<void> bring_and_wait(const std::set<size_t>& parts, const std::stop_token& stop);
  // Until the state is whole and checked, or made anew: everything is loaded without a pause. kCorrupt, kNotFound and the like:
  // a part cannot be had, and neither could it be made anew within fetch_timeout.
  Result<void> wait_for_whole(const std::stop_token& stop);
  // Why the state can never be whole this way.
  std::optional<Error> failure() const;

 private:
  struct Waiter {
    std::set<size_t> open;
    std::stop_token stop;
    std::function<void(Result<void>)> done;
    Nanos progress{0};
    std::optional<Error> trouble;
  };
  struct Part {
    SegmentInfo info;
    std::string end;  // the first key of the next; empty: there is none
    bool flying = false;
    unsigned failures = 0;
    Nanos not_before{0};
  };
  using Callbacks = std::vector<std::pair<std::function<void(Result<void>)>, Result<void>>>;

  void add_waiter(const std::set<size_t>& parts, std::stop_token stop, std::function<void(Result<void>)> done)
      REQUIRES(mutex_);
  void work(std::stop_token stop);
  void watch(std::stop_token stop);
  Result<void> get(const Part& part, size_t index, const std::stop_token& stop);
  std::optional<size_t> choose(bool& demanded) REQUIRES(mutex_);
  void note(size_t index, const Result<void>& outcome, Callbacks& out) REQUIRES(mutex_);
  void fail_whole(const Error& error) REQUIRES(mutex_);
  void end_waiters(Callbacks& out) REQUIRES(mutex_);
  void check(const std::stop_token& stop);
  static void call(Callbacks callbacks);

  SyncContext& c_;
  std::function<void()> failed_callback_;

  mutable Mutex mutex_{Rank::kSync};
  CondVar changed_;
  std::vector<Part> parts_ GUARDED_BY(mutex_);
  std::set<size_t> wanted_ GUARDED_BY(mutex_);
  std::list<Waiter> waiters_ GUARDED_BY(mutex_);
  std::optional<Error> failure_ GUARDED_BY(mutex_);
  Nanos began_ GUARDED_BY(mutex_){0}, demanded_ GUARDED_BY(mutex_){0}, check_at_ GUARDED_BY(mutex_){0},
      failed_at_ GUARDED_BY(mutex_){0};
  unsigned resting_ GUARDED_BY(mutex_) = 0;  // fetches that nobody asked for
  unsigned hurry_ GUARDED_BY(mutex_) = 0;    // who wait for the whole
  bool checking_ GUARDED_BY(mutex_) = false, stopping_ GUARDED_BY(mutex_) = false;

  std::vector<std::jthread> threads_;
};

}  // namespace coffer
