// Looks for records of other devices, fetches, verifies and applies them.
//
// A poll is one LIST of head/ (hints, see object_keys.h). At start and every hour it is one of log/ instead, which needs
// no hints. A log with more than one new record is listed by itself.
//
// What is announced and does not come is AwaitedLogs' to say, and SeenRecords' what has come and is there no more.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <thread>
#include <vector>

#include "fs/sync/awaited_logs.h"
#include "fs/sync/checkpoint_loader.h"
#include "fs/sync/context.h"
#include "fs/sync/key_watch.h"
#include "fs/sync/pace.h"
#include "fs/sync/part_loader.h"
#include "fs/sync/rounds.h"
#include "fs/sync/seen_records.h"

namespace coffer {

// The public part is thread-safe; everything else belongs to the one thread between start() and stop().
class News {
 public:
  News(SyncContext& context, PartLoader& parts);
  ~News();

  void start();
  void stop();

  // A round is one poll with everything applied that could be.
  Rounds& rounds() { return rounds_; }
  // The next poll lists everything.
  void want_all();
  // The next poll asks for all that is missing or refused, however lately that was tried.
  void look_again();
  // Something happens: look often for a while.
  void note_activity();
  // When the last poll that worked began (monotonic); nullopt: none did.
  std::optional<Nanos> checked_at() const;
  std::optional<WallTime> checked_when() const;
  // Records are known to be there that could not be applied, after the last poll.
  bool incomplete() const { return incomplete_; }

 private:
  void run(std::stop_token stop);
  Result<void> poll(std::stop_token stop);
  Result<void> join(const std::stop_token& stop);
  // Takes out of the state what revocations have made void.
  Result<void> take_revocations(const std::stop_token& stop);
  // Makes the state anew when the rest of the checkpoint that it came from cannot be had, or is not sound.
  Result<void> mend_state(const std::stop_token& stop);
  void expect_parts(std::span<const OrderedRecord> records);
  Result<model::Applied> replayed(Result<model::Applied> outcome);
  void look_for_own_hint(const std::vector<ObjectInfo>& hints);
  void note_own(const RecordName& name);
  Result<void> catch_up(std::stop_token stop);
  Result<void> download(const AwaitedLogs::Names& names, std::stop_token stop);
  Result<size_t> apply_ready(const std::stop_token& stop);
  Result<size_t> apply_batch(size_t most, const std::stop_token& stop);
  Result<model::Applied> replay(const TailBatch& batch, std::vector<OrderedRecord> records,
                                std::span<const std::pair<ObjectId, PackPlace>> places, std::span<const RowPut> rows,
                                const std::stop_token& stop);
  void advance_stable_line(uint64_t limit);

  SyncContext& c_;
  PartLoader& parts_;
  Rounds rounds_;
  std::atomic<bool> want_all_{true}, look_again_{false};
  std::atomic<bool> incomplete_{false};
  std::atomic<int64_t> active_until_;

  mutable Mutex mutex_{Rank::kLeaf};
  std::optional<Nanos> checked_at_ GUARDED_BY(mutex_);
  std::optional<WallTime> checked_when_ GUARDED_BY(mutex_);

  CheckpointLoader loader_;
  KeyWatch key_watch_;
  AwaitedLogs awaited_;
  SeenRecords seen_;
  Backoff revoking_{std::chrono::seconds(1), std::chrono::minutes(5)};
  Nanos revoke_at_{0};
  Backoff mending_{std::chrono::seconds(1), std::chrono::minutes(5)};
  Nanos mend_at_{0};
  std::set<size_t> expected_parts_;  // that the records need which are to be applied next
  bool joined_ = false;
  std::optional<RecordName> own_hint_missing_;
  Backoff own_hint_backoff_{std::chrono::seconds(1), std::chrono::minutes(15)};
  Nanos own_hint_at_{0};
  std::optional<Nanos> listed_all_;
  uint64_t stable_ = 0;

  std::jthread thread_;
};

}  // namespace coffer
