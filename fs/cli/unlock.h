// From a store and a passphrase to an unlocked volume and this device's place in it.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "crypto/keys.h"
#include "fs/cli/failure.h"
#include "fs/cli/state_directory.h"
#include "fs/cli/target.h"
#include "fs/sync/key_slots.h"
#include "fs/sync/volume.h"

namespace coffer::cli {

// What opens a volume: a passphrase, or a recovery key.
class Opener {
 public:
  // Reads the recovery key when one is named, else the passphrase from file or command; else asks.
  static Outcome<Opener> get(const VolumeSettings& settings);
  // kWrongPassphrase when no slot opens.
  Outcome<OpenedVolume> open(const VolumeHead& head, const std::vector<Bytes>& slots) const;

 private:
  std::optional<Secret> passphrase_;
  std::optional<RecoveryKey> recovery_;
};

// kNotAVolume where there is none.
Outcome<VolumeHead> find_volume(ObjectStore& store);
Outcome<std::vector<Bytes>> find_slots(ObjectStore& store);  // and their removals

struct UnlockedVolume {
  VolumeDirectory directory;
  VolumeSecrets secrets;  // without the signing key of the volume: only joining needs it
  DeviceIdentity identity;
  std::unique_ptr<LocalKeys> local;
};

// Unlocks with the copies in the state directory when there are some, so that it works offline and at once; from the
// store otherwise, and when the copies do not open. Locks the state directory, and joins the volume when this device is
// new. Asks for the passphrase only when all that can be known without it is in order.
Outcome<UnlockedVolume> unlock_volume(const Target& target, ObjectStore& store, std::stop_token stop);

// Makes `directory` that of a member of the volume that `secrets` are of.
Outcome<UnlockedVolume> enter_volume(const Target& target, VolumeDirectory directory, VolumeSecrets secrets);

// --device-name, or the host's name, with anything odd replaced.
std::string device_name(const std::string& asked);

}  // namespace coffer::cli
