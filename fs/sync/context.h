// What the parts of the synchronizer share. Made and owned by Synchronizer.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>

#include "fs/sync/archive_rows.h"
#include "fs/sync/kept_records.h"
#include "fs/sync/log_tails.h"
#include "fs/sync/own_log.h"
#include "fs/sync/problems.h"
#include "fs/sync/revocation.h"
#include "fs/sync/store_watch.h"
#include "fs/sync/synchronizer.h"
#include "fs/sync/turn.h"

namespace coffer {

struct SyncContext {
  SyncContext(Replica& r, ObjectStore& s, const DeviceIdentity& i, const VolumeSecrets& secrets, SyncOptions o)
      : replica(r),
        identity(i),
        options(o),
        volume(secrets.volume),
        volume_signing(secrets.signing_public),
        clock(*o.clock),
        problems(clock),
        not_here_yet(clock),
        archived(s, remember_archives(r)),
        store(archived, problems, clock),
        tails([&r](const RowKey& key) { return r.get_row(key); }),
        kept(r) {
    replica.key_ring().add(secrets.epoch_keys);
  }

  const EpochKeys* keys_of(Epoch epoch) const { return replica.key_ring().find(epoch); }

  // Who wrote nothing since then is not waited for.
  WallTime silent() const { return {clock.wall().ns - options.silent_after.count()}; }

  // Of the state: before threads start, and under the turn.
  Result<void> load_revocations() {
    TRY(auto row, replica.get_row(Revocations::row_key()));
    if (!row) return {};
    TRY(in_state, Revocations::decode(*row));
    if (revocations.empty()) revocations = in_state;
    mark_revoked();
    look_for_self();
    return {};
  }
  // Says so when this device is among the revoked.
  void look_for_self() {
    if (!revocations.revoked(identity.certificate) || revoked.exchange(true)) return;
    problems.set(
        "revoked", "this device has been revoked: it is a member of the volume no more, and nothing of it goes up",
        "What is here can still be read, and copied elsewhere. If it was a mistake, let this machine join anew, "
        "with another --state-dir.");
  }
  // Nobody waits for logs of revoked devices; after tails or revocations have changed.
  void mark_revoked() {
    if (revocations.empty()) return;
    std::set<LogId> logs;
    for (const LogTail& tail : tails.all())
      if (revocations.revoked(tail)) logs.insert(tail.log);
    tails.set_revoked(logs);
  }
  // Whether a record of others counts for nothing but its place. What a revoked device has made itself, it keeps.
  bool is_void(const LogTail& log, uint64_t number, const Hash& hash) const {
    return log.device != identity.device && revocations.is_void(log, number, hash);
  }
  // The same of a record that comes next in its log, after `view`.
  bool is_void(const OpenedRecord& opened, const TailView& view) const {
    LogTail log = view.find(opened.log).value_or(LogTail{});
    log.log = opened.log;
    if (opened.record.opening) log.set_author(opened.record.opening->certificate);
    return is_void(log, opened.number, opened.hash);
  }

  // For people: "NAME's log 01234567...", and "record N of" it.
  std::string describe(const LogId& id) const {
    auto tail = tails.find(id);
    const std::string log = "log " + id.str().substr(0, 8) + "...";
    return tail ? tail->name + "'s " + log : log + " (of a device not known here yet)";
  }
  std::string describe(const LogId& id, uint64_t number) const {
    return "record " + std::to_string(number) + " of " + describe(id);
  }

  // --- constant after construction, or thread-safe
  Replica& replica;
  const DeviceIdentity& identity;
  const SyncOptions options;
  const VolumeId volume;
  const PublicKey volume_signing;
  const Clock& clock;
  Problems problems;
  Problems not_here_yet;  // what is known to exist, and may only be late; their `what` is a thing, not a sentence
  ArchivedLogs archived;
  StoreWatch store;  // through `archived`
  LogTails tails;    // changes only under the turn
  KeptRecords kept;
  Revocations revocations;           // all that are known; only the news thread adds
  std::atomic<bool> revoked{false};  // this device: it publishes nothing any more
  OwnLog own;
  Turn turn;

  Revocations in_state;  // those that the replica's state was made with: row "Sv"; under the turn

  // --- what the parts tell each other
  std::atomic<int64_t> unacknowledged_since{0};  // monotonic ns; when records of others came after our newest; 0: none
  std::atomic<uint64_t> outstanding_stamp{0};    // of our newest record while no store has it; 0: none
  std::atomic<bool> hint_missing{false};         // our newest record is in the store, and the hint of it is not
  std::function<void()> wake_publisher;          // set before threads start
  std::atomic<uint64_t> conflicts{0};
  std::atomic<uint64_t> record_bytes{0};  // of records that were applied or published here, since start
};

}  // namespace coffer
