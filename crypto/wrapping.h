// Internal to this layer: the key that wraps what is sealed to somebody's X25519 key, and the commitment to it that lies beside,
// so that one object cannot open to two contents under two keys.
#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"
#include "crypto/secret.h"

namespace coffer::internal {

using Commitment = FixedBytes<32, struct CommitmentTag>;

// BLAKE2b-256 keyed by the X25519 shared secret over the pieces, the same for either side; nothing when `theirs` is a point of
// small order.
std::optional<Secret> wrapping_key(const Secret& mine, const PublicKey& theirs,
                                   std::initializer_list<BytesView> pieces);

// BLAKE2b-256 keyed by the wrapping key over `text`, which says what is wrapped.
Commitment commit_to(const Secret& wrapping, std::string_view text);
// In constant time.
bool commits_to(const Commitment& commitment, const Secret& wrapping, std::string_view text);

}  // namespace coffer::internal
