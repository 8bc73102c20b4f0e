// Verifies a volume as it stands in a store: head, key slots, checkpoints, logs, packs, hints, and that everything that
// refers to something finds it. Changes nothing there.
#pragma once

#include <optional>
#include <vector>

#include "fs/check/check_context.h"
#include "fs/check/epoch_check.h"
#include "fs/sync/log_tails.h"

namespace coffer {

// What this device remembers, so that what vanished is missed. Each may be unknown.
struct Remembered {
  std::optional<VolumeHead> head;
  std::vector<Bytes> slots;    // and removals: key_slots.h
  std::vector<LogTail> tails;  // of its replica
};

struct CheckOutcome {
  std::vector<Damage> damages;  // in the order of what depends on what
  uint64_t objects = 0, object_bytes = 0, records = 0, checkpoints = 0;
  uint64_t packs = 0, packs_read = 0, bytes_read = 0, files = 0;
  OldKeys old_keys;

  uint64_t faults() const;
};

// `scratch`: a new replica of the volume, without a root; when this returns, it has the state that a new device would come
// to. An error says that the check could not go on (the network, the local disk, options.stop); what was found until then is
// lost, save what options.on_verified was told.
Result<CheckOutcome> check_store(ObjectStore& store, const VolumeSecrets& secrets, const Remembered& remembered,
                                 Replica& scratch, CheckOptions options);

}  // namespace coffer
