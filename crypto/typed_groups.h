// Internal to this layer: random bits as a person writes and types them, in groups of 5 characters of Crockford base32, of
// which the last checks the group. Laid out at RecoveryKey (slot.h).
#pragma once

#include <string_view>

#include "base/result.h"
#include "crypto/secret.h"

namespace coffer::internal {

inline constexpr size_t kGroupBits = 20;

// The groups joined by '-', without a terminator. Bits that the last group lacks are zero.
Secret groups_text(BytesView bits);
// Fills `bits`. kInvalid names the first wrong group of "`what`". Case, spaces and dashes do not matter.
Result<void> parse_groups(std::string_view text, std::string_view what, MutableBytes bits);

}  // namespace coffer::internal
