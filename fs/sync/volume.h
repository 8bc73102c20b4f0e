// A volume as it stands in a store: its immutable head object, and this device's membership. Its key slots: key_slots.h.
//
// Object `coffer`: magic "coffer\0\0" 8 | format version u16 | volume id 16 | volume signing public key 32. It is not
// secret; what binds it is that an opened slot holds the same volume id and signing key.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "crypto/keys.h"
#include "crypto/slot.h"
#include "fs/sync/record.h"
#include "remote/object_store.h"

namespace coffer {

inline constexpr uint16_t kFormatVersion = 1;

struct VolumeHead {
  VolumeId volume;
  PublicKey signing_public;
};
Bytes encode(const VolumeHead&);
Result<VolumeHead> decode_volume_head(BytesView);

// Makes a volume in an empty prefix: the head object last, so that a crash leaves no half volume. `note` is for its slots.
// kExists: there is one.
Result<VolumeSecrets> create_volume(ObjectStore& store, const Secret& passphrase, const RecoveryKey* recovery,
                                    KdfCost cost, const SlotNote& note = {});
// kNotFound: nothing there ("not a coffer volume"); kTooNew; kCorrupt.
Result<VolumeHead> read_volume_head(ObjectStore& store);

// The newest record of a log that somebody knew, and whose log it is.
struct KnownHead {
  LogHead head;
  std::string device;  // its name
  bool operator==(const KnownHead&) const = default;
};
// count varint | count x ( log 16 | number u64 | hash 32 | device name string )
void encode_heads(Writer&, const std::vector<KnownHead>&);
std::vector<KnownHead> decode_heads(Reader&);  // caller checks reader.ok()

// Who this state directory is in the volume.
struct DeviceIdentity {
  DeviceId device;
  std::string name;  // for people; "HOST" in conflict names
  SigningKey key;
  DeviceCertificate certificate;
  // Of a device that was let in by another: what that one knew. These records must come.
  std::vector<KnownHead> handed_over = {};
};
// A new member; needs secrets.signing_secret.
Result<DeviceIdentity> join(const VolumeSecrets& secrets, std::string name);
// Sealed with LocalKeys::secrets, for the state directory.
Bytes seal_identity(const DeviceIdentity&, const VolumeId&, const LocalKeys&);
Result<DeviceIdentity> open_identity(BytesView sealed, const VolumeId&, const LocalKeys&);

}  // namespace coffer
