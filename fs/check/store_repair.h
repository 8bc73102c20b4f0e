// Repairs in a store what can be repaired without loss: what is put there is the same as was there, or of no consequence.
#pragma once

#include "fs/check/store_check.h"

namespace coffer {

// For each damage of `outcome` that it can do something about, sets Damage::repaired. `replica`: this device's, if it is
// here; nothing in it changes but what it knows of checkpoints that were taken out of use.
//   head, slots, removals   put back from what this device remembers
//   packs                   put back from this device's, when all of it is here, and its index and every frame verify
//   records                 put back while this device still keeps the sealed bytes: until the store had it once
//   hints                   put, or removed
//   checkpoints             their hint is removed, when another one or the logs serve instead
Result<void> repair_store(ObjectStore& store, const VolumeSecrets& secrets, const Remembered& remembered,
                          Replica* replica, CheckOutcome& outcome, const std::stop_token& stop);

}  // namespace coffer
