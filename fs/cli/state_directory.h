// Where this device keeps what it knows:
//
//   STATE/stores/HASH                  the volume id (hex) that was last seen at the store whose canonical URL has this
//                                      BLAKE2b-256, so that a mount works offline
//   STATE/VOLUME/lock                  held by the one process that owns the replica: "PID" and, while mounted, the place
//   STATE/VOLUME/version               of this layout, decimal
//   STATE/VOLUME/salt                  32 random bytes: LocalKeys
//   STATE/VOLUME/head, slots/HASH      copies of the store's head, key slots and removals of such
//   STATE/VOLUME/identity              who this device is, sealed
//   STATE/VOLUME/replica/              fs/replica
//   STATE/VOLUME/control, log, log.1   control socket and the daemon's messages
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/ids.h"
#include "fs/cli/failure.h"
#include "fs/sync/volume.h"

namespace coffer::cli {

inline constexpr unsigned kStateVersion = 1;

// --state-dir, or the default.
std::string state_root(const std::string& asked);

// Fails, and says why, when nothing can be kept there: what may not be written, is read-only, or is full is found out before
// anything is made that needs it. Makes the directory.
Outcome<void> check_state_root(const std::string& root);

// What to do about a volume's directory in which something is damaged, or is of another volume.
std::string advice_for_damage(const std::string& directory);

std::optional<VolumeId> remembered_volume(const std::string& root, const std::string& canonical_store);
Outcome<void> remember_volume(const std::string& root, const std::string& canonical_store, const VolumeId& volume);

// Copies of a volume's head and of its key slots and their removals, mixed.
struct KeptSlots {
  VolumeHead head;
  std::vector<Bytes> slots;
};
// What keep_slots() kept in the volume's directory; nullopt when that is nothing whole. These two take no lock: files are
// whole, and whoever meets others' work in between will have it right the next time.
Outcome<std::optional<KeptSlots>> kept_slots(const std::string& root, const VolumeId& volume);
// Replaces the copies when they differ. Durable. The directory must exist.
Outcome<void> keep_slots(const std::string& root, const VolumeHead& head, const std::vector<Bytes>& slots);

// What tells, with the volume's keys, who this device is; nullopt when it is no member. Takes no lock.
struct KeptIdentity {
  Bytes salt, sealed;
};
Outcome<std::optional<KeptIdentity>> kept_identity(const std::string& root, const VolumeId& volume);

// One volume's part of the state directory, locked for this process. Moves; the lock goes with it.
class VolumeDirectory {
 public:
  // Makes it when it is not there. kBusy names the process that holds it; one that is only finishing is waited for.
  // kUnsupported: made by a newer coffer.
  static Outcome<VolumeDirectory> open(const std::string& root, const VolumeId& volume);
  static bool exists(const std::string& root, const VolumeId& volume);

  const std::string& path() const { return path_; }
  std::string replica_path() const { return path_ + "/replica"; }
  const Bytes& salt() const { return salt_; }
  const VolumeId& volume() const { return volume_; }

  Outcome<std::optional<KeptSlots>> kept() const { return kept_slots(root_, volume_); }
  Outcome<void> keep(const VolumeHead& head, const std::vector<Bytes>& slots) { return keep_slots(root_, head, slots); }

  Outcome<std::optional<Bytes>> identity() const;
  Outcome<void> put_identity(BytesView sealed);

  // What somebody who finds it locked is told: mounted there, or ("") about to end.
  void announce(const std::string& mount_point);

 private:
  VolumeDirectory() = default;

  std::string root_, path_;
  VolumeId volume_;
  Bytes salt_;
  Fd lock_;
};

}  // namespace coffer::cli
