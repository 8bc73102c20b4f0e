// The identifiers of a volume. All are random; none tells anything.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace coffer {

using VolumeId = FixedBytes<16, struct VolumeIdTag>;
using DeviceId = FixedBytes<16, struct DeviceIdTag>;    // one installation that has joined a volume
using LogId = FixedBytes<16, struct LogIdTag>;          // one run of one device
using ObjectId = FixedBytes<16, struct ObjectIdTag>;    // a pack, segment, checkpoint or slot
using Hash = FixedBytes<32, struct HashTag>;            // BLAKE2b-256
using PublicKey = FixedBytes<32, struct PublicKeyTag>;  // Ed25519 or X25519, as the field says
using Signature = FixedBytes<64, struct SignatureTag>;  // Ed25519, detached

using Epoch = uint32_t;  // counts the volume keys; the first is 1

}  // namespace coffer
