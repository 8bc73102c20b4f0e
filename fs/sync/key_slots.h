// The key slots of a volume: which of the objects under slot/ count, opening them, adding and removing.
//
// A slot is an immutable object with a random name, and so is the removal of one; devices that change slots at the same
// time never write the same object. Both are signed by the volume's signing key, which every passphrase and the recovery
// key open. So the store can plant nothing; it can hide, and show again what was removed, and neither from a device that
// has seen better: devices keep the slots and removals that they have seen (join_slots), and put back what vanished.
//
// "Objects" below are slots, removals, and revocations of devices (revocation.h), mixed, as the store or this device's copies
// have them.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "crypto/keys.h"
#include "crypto/slot.h"
#include "fs/sync/revocation.h"
#include "fs/sync/volume.h"
#include "remote/object_store.h"

namespace coffer {

inline constexpr size_t kMaxRemovalSize = 4096;  // of the object; larger ones are refused unread

// As opposed to a device's own.
bool opens_for_people(SlotKind kind);
// Where an object of either sort lies in the store; nullopt: it is none of this volume.
std::optional<std::string> slot_object_key(const VolumeHead& head, const Bytes& object);

// All objects of the volume. kNotFound when there is no slot among them.
Result<std::vector<Bytes>> read_slots(ObjectStore& store);

struct CountingSlot {
  SlotHeader header;
  Bytes object;
  bool stated = false;  // a member made it; slots of version 1 cannot say so
};
// The slots that a member made, or that are of version 1, and that are not removed. When removals leave no slot that a
// person can open, they do not count: remove_slot() was cut off before it looked again.
std::vector<CountingSlot> counting_slots(const VolumeHead& head, const std::vector<Bytes>& objects);

// What to remember: all removals and revocations, and the slots that count by both. What only `kept` has must bear a member's statement.
std::vector<Bytes> join_slots(const VolumeHead& head, const std::vector<Bytes>& from_store,
                              const std::vector<Bytes>& kept);
// Puts those of `joined` that `from_store` lacks into the store, unless they are there when they are asked for by their names: a
// listing may be late. Returns the keys of those that it had to put.
Result<std::vector<std::string>> put_back_slots(ObjectStore& store, const VolumeHead& head,
                                                const std::vector<Bytes>& joined, const std::vector<Bytes>& from_store);

// For people, by its key in the store: "key slot 01234567...", or the removal of one, or a revocation.
std::string describe_slot_object(const std::string& key);

// Where a mounted device remembers them. Called by one thread.
class SlotCopies {
 public:
  virtual ~SlotCopies() = default;
  virtual std::vector<Bytes> kept() = 0;
  // Replaces what is kept.
  virtual void keep(const VolumeHead& head, const std::vector<Bytes>& objects) = 0;
};

struct OpenedVolume {
  VolumeSecrets secrets;
  ObjectId slot;  // which opened
};
// Tries the counting slots of the fitting kind; kDenied when none opens. Checks volume id and signing key against `head`. The
// epochs are those of all slots that are sealed to the same key: devices that begin one at the same moment leave one each.
Result<OpenedVolume> open_volume(const VolumeHead& head, const std::vector<Bytes>& objects, const Secret& passphrase);
Result<OpenedVolume> open_volume(const VolumeHead& head, const std::vector<Bytes>& objects,
                                 const RecoveryKey& recovery);
Result<VolumeSecrets> unlock(const VolumeHead& head, const std::vector<Bytes>& objects, const Secret& passphrase);
Result<VolumeSecrets> unlock(const VolumeHead& head, const std::vector<Bytes>& objects, const RecoveryKey& recovery);

// Adds the epochs of the counting slots that are sealed to this device's key; the number of those that are new.
size_t take_device_slots(const VolumeHead& head, const std::vector<Bytes>& objects, const SigningKey& device,
                         std::map<Epoch, Secret>& keys);

// Whether secrets that come from elsewhere are this volume's, and of its newest epoch, as far as its slots tell.
bool secrets_are_current(const VolumeHead& head, const std::vector<Bytes>& objects, const VolumeSecrets& secrets);

// Puts a slot, reads it back from the store, and has `open` open what came. When that fails, the slot is taken out again.
Result<void> add_slot(ObjectStore& store, BytesView slot,
                      const std::function<Result<VolumeSecrets>(BytesView object)>& open);

// Removes a slot for good, and what was sealed anew to its key. `secrets` have the signing key; `kept` is what this device remembers. kNotFound: no such slot
// counts; kNotPermitted: no other slot in the store could be opened by a person; kBusy: it was not the last one, but
// another device removed the others at the same moment, and so this one was put back, under another id.
Result<void> remove_slot(ObjectStore& store, const VolumeHead& head, const VolumeSecrets& secrets,
                         const std::vector<Bytes>& kept, const ObjectId& slot);

}  // namespace coffer
