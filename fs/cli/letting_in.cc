#include "fs/cli/letting_in.h"

#include "base/log.h"
#include "fs/sync/key_slots.h"
#include "fs/sync/pairing.h"

namespace coffer::cli {

Outcome<DeviceId> let_in(OpenDrive& drive, const std::string& text) {
  auto code = PairingCode::parse(text);
  if (!code) return give_up(Exit::kUsage, code.error().what());
  const UnlockedVolume& volume = *drive.volume;
  for (const DeviceStatus& d : drive.synchronizer->status().devices)
    if (d.self && d.revoked)
      return give_up(Exit::kGeneral, "this device has been revoked, and can let nobody in", "Use another device.");
  // With the epochs that have begun since the mount, as far as this device has them.
  VolumeSecrets secrets = volume.secrets.clone_without_signing();
  if (auto known = volume.directory.kept(); known && *known)
    take_device_slots((*known)->head, (*known)->slots, volume.identity.key, secrets.epoch_keys);
  auto device = coffer::let_in(*drive.store, *code, secrets, volume.identity, drive.synchronizer->heads());
  if (auto swept = sweep_pairing(*drive.store, Clock::system().wall()); !swept)
    log_line(LogLevel::kWarning, "old requests to be let in are not swept: " + swept.error().what());
  if (device) return *device;
  if (device.error().code() == Code::kNotFound)
    return give_up(
        Exit::kGeneral, device.error().what(),
        "The new device must still be waiting, on the same store, which may show its request late: try again "
        "in a moment. If it stays so, somebody changed the request: cancel there, and start over.");
  if (device.error().code() == Code::kExists)
    return give_up(
        Exit::kGeneral, device.error().what(),
        "If the new device says that it was not let in, start over there: each code is good for one answer.");
  if (device.error().code() == Code::kInvalid)
    return give_up(Exit::kUnsupported, device.error().what(),
                   "Let the new device in from one that joined with the passphrase.");
  return give_up(Failure(device.error()));
}

}  // namespace coffer::cli
