#include "crypto/require.h"
#include "crypto/slot.h"
#include "crypto/typed_groups.h"

namespace coffer {

namespace {
constexpr size_t kKeySize = 32;
}

RecoveryKey RecoveryKey::generate() { return RecoveryKey(Secret::random(kKeySize)); }

Secret RecoveryKey::text() const {
  internal::require(bits_.size() == kKeySize, "text of a moved-from recovery key");
  return internal::groups_text(bits_.view());
}

Result<RecoveryKey> RecoveryKey::parse(std::string_view text) {
  Secret bits(kKeySize);
  TRYV(internal::parse_groups(text, "recovery key", bits.data()));
  return RecoveryKey(std::move(bits));
}

}  // namespace coffer
