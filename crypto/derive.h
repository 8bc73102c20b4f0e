// Internal to this layer: the two ways in which one key gives another.
#pragma once

#include <initializer_list>

#include "base/bytes.h"
#include "crypto/secret.h"

namespace coffer::internal {

// BLAKE2b with a 32-byte key over the pieces in order; `out` has 16 to 64 bytes, and its size is part of the function.
void keyed_blake2b(MutableBytes out, const Secret& key, std::initializer_list<BytesView> pieces);

// The 32-byte sub-key `id` of a 32-byte key: crypto_kdf with the context "coffer__", which is BLAKE2b-256 keyed by
// `key` of nothing, with salt = id as u64 LE || 8 zero bytes and personal = context || 8 zero bytes.
Secret derive_key(const Secret& key, uint64_t id);

}  // namespace coffer::internal
