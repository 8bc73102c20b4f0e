// An unlocked volume as a line of text, for a keeper of secrets outside coffer (the kernel's keyring, a desktop's).
//
// What is kept are the volume's keys, not its signing key, and nothing that a slot is derived from: whoever gets at it can
// read the volume, which is what a mount is for, but not make himself a member, nor add, remove or change slots. For the
// same reason it does not make a device a member: that takes a passphrase once. It stays valid when the passphrase is
// changed; the keys of a new epoch are added to it by the next mount, from the device's own slot.
//
// Text: "coffer-key-1:" and in lower-case hex: volume 16 | volume signing public key 32 | count varint
//   | count * (epoch u32, rising from 1 or more | volume key 32).
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/keys.h"
#include "crypto/secret.h"

namespace coffer {

// `secrets` have at least one epoch.
Secret encode_kept_key(const VolumeSecrets& secrets);
// Whatever keeps it may be anybody: that it is of the volume that is meant is for the caller to check. kCorrupt; kTooNew.
Result<VolumeSecrets> decode_kept_key(BytesView text);

}  // namespace coffer
