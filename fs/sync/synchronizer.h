// Keeps a replica and a store in step: publishes what is pending as records of this device's log, looks for news, applies
// it, and fetches the bytes that reads need.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "fs/replica/fetcher.h"
#include "fs/replica/replica.h"
#include "fs/sync/collection.h"
#include "fs/sync/rewriting.h"
#include "fs/sync/volume.h"
#include "remote/object_store.h"

namespace coffer {

class SlotCopies;

struct SyncOptions {
  const Clock* clock = &Clock::system();
  Nanos publish_after = std::chrono::milliseconds(500);  // quiet after the last change
  Nanos publish_within = std::chrono::seconds(30);       // while changes go on (the interval grows up to this)
  Nanos poll_active = std::chrono::seconds(1);
  Nanos poll_idle = std::chrono::seconds(45);
  Nanos active_for = std::chrono::minutes(10);
  Nanos fetch_timeout = std::chrono::seconds(60);  // a parked read ends with kTimedOut after this
  // Something that must be in the store and is not becomes a problem after this. Where another program carries the
  // store's files (file://), a day is right.
  Nanos missing_after = std::chrono::minutes(15);
  // A device that has not closed its log and wrote nothing for this long, by its clock and ours, is not waited for any more
  // when history is dropped and the store is tidied. What it brings later gets its place all the same.
  Nanos silent_after = std::chrono::days(60);
  // Others are told by a record of its own that their news was applied here, when nothing else was published for so long.
  Nanos acknowledge_after = std::chrono::hours(1);
  // A checkpoint is written when replaying what came after the last one would cost a new device so many bytes, counting
  // 128 KiB for each record (or half of the last one's size, if that is more); 0: never. How often that is looked at.
  uint64_t checkpoint_from = 8 << 20;
  Nanos checkpoint_look = std::chrono::seconds(20);
  // A new device that begins with a checkpoint of so many bytes or more begins with a part of it; the rest comes when it is
  // needed, or when nothing was for a while (but at most six times as long as that).
  uint64_t parts_from = 2 << 20;
  Nanos parts_quiet = std::chrono::seconds(3);
  // What nobody needs any more is deleted from the store when it has been so for this long, by this machine's clock; and
  // how often a device that writes checkpoints looks for it.
  Nanos collect_grace = std::chrono::days(30);
  Nanos collect_every = std::chrono::hours(24);
  // Old records are put together into archives of so many bytes at most (archiver.h), the last ones when there are so many of
  // them; 0: never.
  Nanos archive_grace = std::chrono::days(30);  // for the objects that they were
  unsigned archive_from = 128;
  uint64_t archive_bytes = 8 << 20;
  unsigned uploads = 4, fetches = 8;  // threads
  // The key slots that this device remembers (key_slots.h); null: nobody looks after slots, nor takes up new epochs.
  SlotCopies* slot_copies = nullptr;
};

struct CollectOptions {
  Nanos grace = std::chrono::days(30);
  bool list_objects = false;  // also finds what superseded checkpoints left long ago, and tells what is unknown
  bool dry_run = false;       // deletes nothing, and notes nothing
  std::optional<Nanos> archive_grace = {};  // of objects of records that archives hold, if it is another
};

// A member, by what is applied here. Times are by its own clock.
struct DeviceStatus {
  std::string name;
  DeviceId device;
  LogId log;            // the one with its newest record
  uint64_t number = 0;  // of that record; 0: it has written none
  WallTime when;        // of that record
  bool self = false;
  bool revoked = false;               // a member no more
  bool silent = false;                // not waited for any more (SyncOptions::silent_after)
  std::optional<WallTime> since;      // of its first record, as far as is known
  std::optional<DeviceId> let_in_by;  // who vouches for it; nobody: it joined with a passphrase or the recovery key
  uint64_t runs = 0;                  // logs
  uint64_t records = 0;               // in all of them
};

struct Problem {
  std::string what;  // a sentence: what is wrong
  std::string todo;  // and what to do about it
  WallTime since;
};

struct SyncStatus {
  bool online = false;          // the last request to the store worked
  uint64_t waiting_bytes = 0;   // of packs and records not in the store yet, and unsealed data
  uint64_t waiting_files = 0;   // and directories, with changes that no record has yet
  uint64_t uploaded_bytes = 0;  // since start
  double upload_rate = 0;       // bytes/s, over the last ten seconds
  std::optional<WallTime> last_published, last_news_check;
  bool news_incomplete = false;  // records are known to exist that the store does not show, or that do not verify
  std::vector<DeviceStatus> devices;
  std::vector<Problem> problems;  // current ones, resolved ones vanish
  // What is known to exist and is not to be had, and may only be late: `what` names it; a problem after missing_after.
  std::vector<Problem> not_here_yet;
  uint64_t conflicts = 0;  // conflict copies made here since start
  std::optional<Collection> last_collection;
  uint64_t parts = 0, parts_missing = 0;  // of the state, while it is being loaded
  std::optional<Rewriting> rewriting;     // of old data under new keys, if it was asked for
};

struct SyncProgress {
  uint64_t done_bytes = 0, total_bytes = 0;
  uint64_t waiting_files = 0;
  double rate = 0;
};

// Thread-safe. Owns its threads (start .. stop). The replica, the store, the identity and the clock outlive it. Sets the
// replica's on_pending callback; its construction and start() come before other threads use the replica.
class Synchronizer : public Fetcher {
 public:
  Synchronizer(Replica& replica, ObjectStore& store, const DeviceIdentity& identity, const VolumeSecrets& secrets,
               SyncOptions options);
  ~Synchronizer() override;  // stop()

  // Reads the synchronizer's rows and what is outgoing; opens a new log with the next record. Does not wait for the store.
  Result<void> start();
  // Brings the replica up to the store's newest records before the first mount of a new device (has_root() false): waits
  // up to a minute for a store that does not answer. Ok without a root: the volume is empty. kCorrupt, kUnavailable: there
  // are records, and the first of them cannot be applied (yet).
  Result<void> load_first(std::stop_token stop);
  // Until all of the state is here that a checkpoint gave, and is checked. After load_first(), for who reads everything, or
  // cannot wait in the middle of an operation; kUnavailable and the like as from the store.
  Result<void> load_rest(std::stop_token stop);
  // Returns when everything that was pending at the call is in the store and the news that the store has is applied, or at
  // `stop` (kCancelled), or when the store refuses for good. While the store is away it waits, and reports progress. News
  // that is announced and not there, or refused, it asks for once more and does not wait for: see status().
  Result<void> sync(std::stop_token stop, const std::function<void(const SyncProgress&)>& progress);
  // Deletes from the store what nobody needs any more (collector.h), after what is pending is published and news is here.
  // kBusy: others have not acknowledged what was changed, or one is under way; kCancelled: at `stop`, or stop().
  Result<Collection> collect(const CollectOptions& options, std::stop_token stop,
                             const std::function<void(const SyncProgress&)>& progress);
  // Seals all data that is under older epochs than this one, or than the newest, anew (rewriter.h), and follows that to its
  // end. kCancelled: at `stop`, or stop(); it goes on all the same, also in the next run, and this may be called again.
  // `progress` gets sums of sealed bytes.
  Result<void> rewrite(Epoch epoch, std::stop_token stop, const std::function<void(const SyncProgress&)>& progress);
  // Ends the threads; reads that wait get kCancelled. `close_log`: when everything is published and this run wrote
  // records, one more ends its log, so that nobody waits for it (clean unmount); at most ten seconds. Idempotent.
  void stop(bool close_log);

  void fetch(std::vector<Missing> missing, std::stop_token stop, std::function<void(Result<void>)> done) override;
  void fetch_parts(std::set<size_t> parts, std::stop_token stop, std::function<void(Result<void>)> done) override;
  SyncStatus status() const;
  // The newest records that are known here, of the logs that no later log of their device goes on with: what a device that
  // is let in has to find.
  std::vector<KnownHead> heads() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace coffer
