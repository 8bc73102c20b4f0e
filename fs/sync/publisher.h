// Makes records of what is pending and brings them, and the packs that they need, to the store.
//
// One record at a time: freeze, upload packs, build and sign on top of all that is applied, keep durably, upload, hint.
// Only the kept bytes are sent, again and again until the store has them, also by later runs. Pending changes are frozen
// only right after news were looked for, so that a machine that comes back rebases first.
//
// A log's first record, where other devices are known, is empty: it announces the log. After it is in the store, news is
// looked for once more, and only then a record with changes is made. So whoever counts a device's log as ended, and drops
// what is older than all others have seen, cannot meet a late first record that sorts before that.
#pragma once

#include <map>
#include <optional>
#include <stop_token>
#include <thread>

#include "fs/sync/context.h"
#include "fs/sync/news.h"
#include "fs/sync/pace.h"
#include "fs/sync/rounds.h"

namespace coffer {

// The public part is thread-safe; everything else belongs to the one thread between start() and stop(), and to whoever
// calls before and after.
class Publisher {
 public:
  Publisher(SyncContext& context, News& news);
  ~Publisher();

  // Reads what the last run left; does not wait for the store.
  Result<void> load();
  void start();
  void stop();
  // After stop(): ends our log with a last record, if there is a log and nothing is left to publish. Gives up after a few
  // seconds without the store; the record then goes with the next run.
  Result<void> close_log();

  // A round publishes all that was pending when it began.
  Rounds& rounds() { return rounds_; }
  void something_pending();
  std::optional<WallTime> last_published() const;
  uint64_t outgoing_bytes() const { return outgoing_bytes_; }

 private:
  enum class Kind { kAnnounce, kAcknowledge, kClose };
  // A record that is kept and not in the store yet.
  struct Outgoing {
    std::string key;
    Bytes sealed;
    bool with_changes = false;  // the replica keeps it; else a row of ours
  };
  struct Draft {
    RecordName name;
    Record record;
  };

  void run(std::stop_token stop);
  Nanos until_due();
  // Until others are to be told that news was applied here; nullopt: nobody waits for that.
  std::optional<Nanos> acknowledgement_in() const;
  // The log of the run before, when it was not closed.
  std::optional<LogTail> left_open() const;
  Result<void> cycle(std::stop_token stop);
  Result<void> publish_pending(std::stop_token stop);
  Result<void> look_for_news(std::stop_token stop, Nanos at_most_old);
  bool must_announce() const;

  Result<void> upload_packs(const Frozen& frozen, std::vector<RecordPack>& packs, Bytes& carried, std::stop_token stop);
  Result<uint64_t> finish_pack(const Frozen::Pack& pack);
  Result<void> upload_pack(const Frozen::Pack& pack, RecordPack& listed, std::stop_token stop);

  Result<Draft> draft();
  Result<void> publish_frozen(const Frozen& frozen, std::vector<RecordPack> packs, BytesView carried);
  Result<void> publish_empty(Kind kind);
  // After the record is durable: it counts as applied, and is what the next one follows.
  void count_own(TailBatch& batch, const Draft& draft);
  uint64_t applied_here(const RecordName& name) const;
  Result<std::optional<Outgoing>> outgoing();
  Result<void> send_outgoing(std::stop_token stop);
  Result<void> send_hint(std::stop_token stop);

  SyncContext& c_;
  News& news_;
  Rounds rounds_;
  std::atomic<bool> pending_{false};
  std::atomic<uint64_t> outgoing_bytes_{0};

  mutable Mutex mutex_{Rank::kLeaf};
  std::optional<WallTime> last_published_ GUARDED_BY(mutex_);

  bool announced_ = false;   // since news were looked for last: they have to be once more, however often sending fails
  bool unfinished_ = false;  // something is frozen, or may be, and in no record
  PublishPace pace_;
  uint64_t changes_seen_ = 0, changes_published_ = 0;  // the replica's counter
  Nanos last_own_record_{0};
  Backoff backoff_;
  std::optional<Nanos> retry_at_;
  std::map<ObjectId, uint64_t> uploaded_;  // packs in the store that no record names yet: size

  std::jthread thread_;
};

}  // namespace coffer
