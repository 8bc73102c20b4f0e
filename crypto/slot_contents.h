// What a key slot seals (laid out in crypto/slot.h). Internal to this layer, and for its fuzzer: anybody can seal to a
// slot's public key, so nothing here may be trusted before the signature and the slot's binding fit.
#pragma once

#include <map>

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/keys.h"
#include "crypto/secret.h"
#include "crypto/slot.h"

namespace coffer {

inline constexpr size_t kSlotPadding = 512;

// The padded plaintext of a slot whose first 179 bytes are `header`; `secrets` are complete.
Secret encode_slot_contents(const VolumeSecrets& secrets, SlotKind kind, BytesView header);

// All checks that need no more than the plaintext and the signing key in it.
Result<VolumeSecrets> decode_slot_contents(BytesView plain, SlotKind kind, BytesView header);

namespace internal {
// The volume keys of all epochs: count varint | count * (epoch u32, rising from 1 or more | volume key 32).
void append_epoch_keys(Writer& w, const std::map<Epoch, Secret>& keys);
// False: none, or they do not rise.
bool read_epoch_keys(Reader& r, std::map<Epoch, Secret>& keys);
}  // namespace internal

}  // namespace coffer
