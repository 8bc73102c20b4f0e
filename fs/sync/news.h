// Looks for records of other devices, fetches, verifies and applies them.
//
// A poll is one LIST of head/ (hints, see object_keys.h). At start and every hour it is one of log/ instead, which needs
// no hints. A log with more than one new record is listed by itself.
//
// What is announced and not there (a hint, a quoted head or a number in between says it exists) is asked for again, ever
// more seldom, and becomes a problem after a while. What is there and does not verify holds back its log, and what
// quotes it, and is a problem at once; it is tried again, too, since it may be repaired. Everything else goes on.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <thread>
#include <vector>

#include "fs/sync/checkpoint_loader.h"
#include "fs/sync/context.h"
#include "fs/sync/key_watch.h"
#include "fs/sync/log_verifier.h"
#include "fs/sync/pace.h"
#include "fs/sync/rounds.h"

namespace coffer {

// The public part is thread-safe; everything else belongs to the one thread between start() and stop().
class News {
 public:
  explicit News(SyncContext& context);
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
  struct Candidate {
    uint64_t size = 0;           // as listed; 0: not known
    std::optional<Error> error;  // it was fetched, and is nothing
    std::optional<Epoch> epoch;  // it was fetched, and waits for the keys of this epoch
  };
  struct Fetched {
    RecordName name;
    OpenedRecord opened;
    Bytes object;
    bool verified = false;
  };
  struct Log {
    std::map<uint64_t, std::map<uint64_t, Candidate>> known;  // by number, by tag; beyond what is applied
    std::map<uint64_t, Fetched> fetched;                      // waiting to be applied
    uint64_t announced = 0;                                   // some record says that this number exists
    std::optional<Error> held;                                // why its next record is refused
    uint64_t missing = 0;                                     // the number that is announced and not there
    Nanos missing_since{0};
    Nanos retry_at{0};
    Backoff backoff{std::chrono::seconds(1), std::chrono::minutes(5)};
    uint64_t noted = 0;                 // the poll that last listed something of it
    bool told = false;                  // a problem is set
    std::optional<Nanos> locked_since;  // the next record waits for keys
  };

  void run(std::stop_token stop);
  Result<void> poll(std::stop_token stop);
  Result<void> join(const std::stop_token& stop);
  // Takes out of the state what revocations have made void.
  Result<void> take_revocations(const std::stop_token& stop);
  Result<model::Applied> replayed(Result<model::Applied> outcome);
  bool is_void(const OpenedRecord& opened, const TailView& tails) const;
  void note(const RecordName& name, uint64_t size);
  void look_for_own_hint(const std::vector<ObjectInfo>& hints);
  void note_own(const RecordName& name);
  Result<void> expect_handed_over();
  bool believed(const LogId& id, const Log& log) const;
  Result<void> catch_up(std::stop_token stop);
  Result<bool> list_gaps(std::set<LogId>& listed, std::stop_token stop);
  std::vector<std::pair<RecordName, uint64_t>> choose() const;
  bool usable(const Candidate& candidate) const;
  Result<void> download(const std::vector<std::pair<RecordName, uint64_t>>& names, std::stop_token stop);
  void took(const RecordName& name, Result<Bytes> object);
  Result<size_t> apply_ready(const std::stop_token& stop);
  Result<size_t> apply_batch(size_t most, const std::stop_token& stop);
  Result<model::Applied> replay(const TailBatch& batch, std::vector<OrderedRecord> records,
                                std::span<const std::pair<ObjectId, PackPlace>> places, std::span<const RowPut> rows,
                                const std::stop_token& stop);
  bool verify_next(const LogId& id, Log& log, const TailView& tails);
  std::optional<uint64_t> horizon(const TailBatch& batch) const;
  void refuse(const LogId& id, Log& log, uint64_t number, Error error);
  void wait_for_keys(const LogId& id, Log& log, uint64_t number);
  void still_missing(const LogId& id, Log& log, uint64_t number);
  void settle(const LogId& id, Log& log);
  std::string describe(const LogId& id, uint64_t number) const;
  void advance_stable_line(uint64_t limit);
  uint64_t applied_number(const LogId& id) const;

  SyncContext& c_;
  Rounds rounds_;
  std::atomic<bool> want_all_{true}, look_again_{false};
  std::atomic<bool> incomplete_{false};
  std::atomic<int64_t> active_until_;

  mutable Mutex mutex_{Rank::kLeaf};
  std::optional<Nanos> checked_at_ GUARDED_BY(mutex_);
  std::optional<WallTime> checked_when_ GUARDED_BY(mutex_);

  CheckpointLoader loader_;
  KeyWatch key_watch_;
  Backoff revoking_{std::chrono::seconds(1), std::chrono::minutes(5)};
  Nanos revoke_at_{0};
  bool joined_ = false;
  std::map<LogId, Log> logs_;
  std::optional<RecordName> own_hint_missing_;
  std::vector<KnownHead> handed_over_;  // what has not come yet of it
  uint64_t polls_ = 0;
  bool listing_all_ = false;  // this poll
  std::optional<Nanos> listed_all_;
  uint64_t stable_ = 0;

  std::jthread thread_;
};

// Calls `visit` with each frame that `opened` carries and refers to, after checking it against its extent. kCorrupt: one is
// not what the record says.
Result<void> visit_carried(const OpenedRecord& opened, BytesView object,
                           const std::function<Result<void>(const FrameRef&, BytesView)>& visit);
// Keeps the frames that `opened` carries on this machine, after checking each against its extent. kCorrupt: one is not
// what the record says.
Result<void> keep_carried(const OpenedRecord& opened, BytesView object, PackStore& packs);
// Where the packs of a record are.
std::vector<std::pair<ObjectId, PackPlace>> places_of(const OpenedRecord& opened, const std::string& key);

}  // namespace coffer
