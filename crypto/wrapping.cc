#include "crypto/wrapping.h"

#include <sodium.h>

#include "crypto/aead.h"
#include "crypto/derive.h"

namespace coffer::internal {

std::optional<Secret> wrapping_key(const Secret& mine, const PublicKey& theirs,
                                   std::initializer_list<BytesView> pieces) {
  Secret shared(crypto_scalarmult_BYTES);
  if (crypto_scalarmult(shared.data().data(), mine.view().data(), theirs.bytes.data()) != 0) return std::nullopt;
  Secret key(kAeadKeySize);
  keyed_blake2b(key.data(), shared, pieces);
  return key;
}

Commitment commit_to(const Secret& wrapping, std::string_view text) {
  Commitment c;
  keyed_blake2b(c.bytes, wrapping, {as_bytes(text)});
  return c;
}

bool commits_to(const Commitment& commitment, const Secret& wrapping, std::string_view text) {
  return sodium_memcmp(commit_to(wrapping, text).bytes.data(), commitment.bytes.data(), Commitment::kSize) == 0;
}

}  // namespace coffer::internal
