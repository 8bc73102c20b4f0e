// New epochs: a new volume key, and every key slot sealed anew with it.
//
// First people's slots are put, then devices', each read back; then a hint; and only then the old ones are removed. So
// whatever it is cut off at, who could open the volume can still, and a device that takes up the new epoch by its own slot
// seals nothing that a person could not open. Two that rotate at the same moment both succeed: each sees the other's slots
// after it has put its own, and gives all slots the epochs of both.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "fs/sync/key_slots.h"

namespace coffer {

// A device that is a member of the volume.
struct Member {
  DeviceId device;
  PublicKey key;
  std::string name;
  std::vector<DeviceId> vouchers = {};  // whose word made it a member (LogTail)
};

// Those that the first records of the logs in the store tell of, the revoked among them; `secrets` open them.
Result<std::vector<Member>> read_members(ObjectStore& store, const VolumeSecrets& secrets);

struct Rotation {
  Epoch epoch = 0;
  size_t people = 0, devices = 0;  // slots
  // Slots of version 1 that nobody vouches for, and those that only somebody else can renew: they open what they did.
  size_t left_out = 0;
};

// Begins an epoch. `opened` has the signing key, and the new volume key when it ends, also when it fails; `kept` is what this
// device remembers, `members` get a slot of their own, and other devices' slots are renewed. Those of `members` that are
// revoked, by what the store and `kept` have, get no slot, and lose theirs. `reopen` opens the volume from objects with what it
// was opened with. kTooLarge: there are too many epochs; kBusy: others change slots all the time.
Result<Rotation> rotate_key(ObjectStore& store, const VolumeHead& head, OpenedVolume& opened,
                            const std::vector<Bytes>& kept, const std::vector<Member>& members, const SlotNote& note,
                            const std::function<Result<VolumeSecrets>(const std::vector<Bytes>& objects)>& reopen);

// Seals all slots anew with what `opened` has, as above. For who finds that an epoch has begun while he added a slot.
Result<Rotation> renew_slots(ObjectStore& store, const VolumeHead& head, OpenedVolume& opened,
                             const std::vector<Bytes>& kept, const std::vector<Member>& members, const SlotNote& note,
                             const std::function<Result<VolumeSecrets>(const std::vector<Bytes>& objects)>& reopen);

// What counts of a member's logs when it is revoked now: of each the last record up to which all are in the store, bear the
// member's signature, and name the one before. Reads all of them.
Result<std::vector<LogHead>> accepted_heads(ObjectStore& store, const VolumeSecrets& secrets, const Member& member);

// Puts a revocation, and reads it back. The new epoch is for rotate_key(). Does nothing when the device is revoked already.
Result<void> put_revocation(ObjectStore& store, const VolumeHead& head, const VolumeSecrets& secrets,
                            const std::vector<Bytes>& kept, const Revocation& revocation);

}  // namespace coffer
