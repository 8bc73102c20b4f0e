// What the parts of the synchronizer share. Made and owned by Synchronizer.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>

#include "fs/sync/log_tails.h"
#include "fs/sync/own_log.h"
#include "fs/sync/problems.h"
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
        store(s, problems, clock),
        tails([&r](const RowKey& key) { return r.get_row(key); }) {
    replica.key_ring().add(secrets.epoch_keys);
  }

  const EpochKeys* keys_of(Epoch epoch) const { return replica.key_ring().find(epoch); }

  // Who wrote nothing since then is not waited for.
  WallTime silent() const { return {clock.wall().ns - options.silent_after.count()}; }

  // --- constant after construction, or thread-safe
  Replica& replica;
  const DeviceIdentity& identity;
  const SyncOptions options;
  const VolumeId volume;
  const PublicKey volume_signing;
  const Clock& clock;
  Problems problems;
  StoreWatch store;
  LogTails tails;  // changes only under the turn
  OwnLog own;
  Turn turn;

  // --- what the parts tell each other
  std::atomic<int64_t> unacknowledged_since{0};  // monotonic ns; when records of others came after our newest; 0: none
  std::atomic<uint64_t> outstanding_stamp{0};    // of our newest record while no store has it; 0: none
  std::atomic<bool> hint_missing{false};         // our newest record is in the store, and the hint of it is not
  std::function<void()> wake_publisher;          // set before threads start
  std::atomic<uint64_t> conflicts{0};
  std::atomic<uint64_t> record_bytes{0};  // of records that were applied or published here, since start
};

}  // namespace coffer
