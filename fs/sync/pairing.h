// Letting a new device in: what a member hands over, and the two objects in the store by which it does (crypto/pairing.h says
// how they are protected). A request that is a day old, and what is left of one that was answered, is swept.
#pragma once

#include <string>
#include <vector>

#include "crypto/pairing.h"
#include "fs/sync/volume.h"
#include "remote/object_store.h"

namespace coffer {

inline constexpr Nanos kPairingTime = std::chrono::hours(24);  // how long a request counts

// Contents of an answer: version u8 = 1 | the volume's keys as they are kept outside (crypto/kept_key.h), string | certificate
// | count u8 of vouchers | their certificates | name of who lets in, string | count varint | count x ( log 16 | number u64 |
// hash 32 | device name string ), the heads.
struct HandedOver {
  VolumeSecrets secrets;  // without the signing key: another passphrase is not made with these
  DeviceCertificate certificate;
  std::string by;  // the member that vouches
  std::vector<KnownHead> heads;
};
Secret encode(const HandedOver& handed_over);
// kCorrupt: it makes no sense, or the certificate does not verify; kTooNew.
Result<HandedOver> decode_handed_over(BytesView contents);

// As the member `identity`: answers the request that fits the code, and hands over `secrets` and `heads`. Returns who was let in.
// kNotFound: no request fits; kExists: it is answered already; kInvalid: this device may vouch for no more; kTooLarge.
Result<DeviceId> let_in(ObjectStore& store, const PairingCode& code, const VolumeSecrets& secrets,
                        const DeviceIdentity& identity, std::vector<KnownHead> heads);

// Removes requests that are not of the last day, with their answers; answers without a request; and what is neither. Returns
// the number of objects.
Result<size_t> sweep_pairing(ObjectStore& store, WallTime now);

}  // namespace coffer
