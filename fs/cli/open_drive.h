// A volume that is open on this machine: replica, store, and what keeps them in step.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "fs/cli/directory_slots.h"
#include "fs/cli/failure.h"
#include "fs/cli/unlock.h"
#include "fs/replica/replica.h"
#include "fs/sync/synchronizer.h"
#include "remote/object_store.h"
#include "remote/transfer_meter.h"

namespace coffer::cli {

// Members are made in this order, and go in the opposite one: each borrows from those before it. So it must not be
// assigned to once it is open.
struct OpenDrive {
  std::shared_ptr<TransferMeter> meter;
  std::shared_ptr<ObjectStore> store;
  SyncOptions sync;
  std::unique_ptr<UnlockedVolume> volume;
  std::unique_ptr<DirectorySlots> slots;  // with them, the synchronizer looks after the volume's key slots
  std::unique_ptr<Replica> replica;
  std::unique_ptr<Synchronizer> synchronizer;
};

// The store of the target, not contacted yet.
Outcome<OpenDrive> open_remote(const Target& target);

// Opens the replica of an unlocked volume and brings it to where it can be used: started, with a root directory. A new
// device waits for the store here, until `stop`. `limits`: what it may take of the disk.
Outcome<void> open_local(OpenDrive& drive, std::unique_ptr<UnlockedVolume> volume, const SpaceLimits& limits,
                         std::stop_token stop);
// Waits until all of the state is here that a new device begins with: for who cannot wait in the middle of something.
Outcome<void> load_all(OpenDrive& drive, std::stop_token stop);
// Unlocks the volume first, waits for all of the state, and takes of the disk what a mount usually may: as this machine's device, without a mount.
Outcome<void> unlock_and_open_local(OpenDrive& drive, const Target& target, std::stop_token stop);

}  // namespace coffer::cli
