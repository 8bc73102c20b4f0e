// Writes checkpoints, in the background, when they save others enough; and now and then lets dead objects be collected.
//
// One is written when replaying has become expensive (checkpoint_policy.h), by a device that has published in this run, at
// a moment when nothing is pending here, every record with changes is below the stable line, and all of this device's
// records are in the store. Whether another device has written one meanwhile is looked up first; if two do it at once, there
// are two. When it does not come to its end, what is in the store already serves the next attempt.
//
// When everything is sealed anew (rewriter.h), one is written at the next such moment, whatever it saves others.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "fs/replica/snapshot.h"
#include "fs/sync/checkpoint_row.h"
#include "fs/sync/collector.h"
#include "fs/sync/context.h"
#include "fs/sync/news.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/pace.h"
#include "fs/sync/rounds.h"

namespace coffer {

// The public part is thread-safe; everything else belongs to the one thread between start() and stop().
class CheckpointWriter {
 public:
  CheckpointWriter(SyncContext& context, const News& news, Collector& collector);
  ~CheckpointWriter();

  void start();
  void stop();

  // Asks for one that shares no segment with those before, and takes their place, so that all of it is under the newest epoch.
  void write_anew();
  bool written_anew() const { return !anew_; }

 private:
  struct Moment {
    std::unique_ptr<StateSnapshot> state;
    std::vector<LogTail> tails;
    Bytes revocations;          // row "Sv"; empty: none
    uint64_t record_bytes = 0;  // c_.record_bytes then
  };

  void run(std::stop_token stop);
  // How long to wait before the next.
  Result<Nanos> step(const std::stop_token& stop);
  bool due();
  Result<std::optional<Moment>> take_moment();
  Result<std::vector<CheckpointName>> look_for_newer(const std::stop_token& stop);
  Result<void> keep_what_is_there(const std::stop_token& stop);
  Result<void> write(Moment moment, const std::vector<CheckpointName>& hints, bool anew, const std::stop_token& stop);
  Result<void> add(SegmentContent content, std::vector<SegmentInfo>& list, const std::stop_token& stop);
  Result<void> know(KnownCheckpoint known, BytesView object);

  SyncContext& c_;
  const News& news_;
  Collector& collector_;
  Rounds rounds_;  // only woken
  std::atomic<bool> anew_{false}, hurry_{false};
  bool row_read_ = false;
  std::optional<KnownCheckpoint> known_;
  uint64_t record_bytes_ = 0;             // c_.record_bytes when it was made
  std::map<Hash, SegmentInfo> in_store_;  // by plain content
  Backoff backoff_;

  std::jthread thread_;
};

}  // namespace coffer
