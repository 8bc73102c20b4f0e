// XChaCha20-Poly1305 (IETF) with a random 192-bit nonce in front: sealed = nonce(24) || ciphertext || tag(16).
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/secret.h"

namespace coffer {

inline constexpr size_t kAeadKeySize = 32;
inline constexpr size_t kSealOverhead = 24 + 16;

// One AEAD key for one purpose. Thread-safe: constant after construction.
class AeadKey {
 public:
  explicit AeadKey(Secret key);  // 32 bytes
  AeadKey(AeadKey&&) = default;
  AeadKey& operator=(AeadKey&&) = default;

  // `out` has plain.size() + kSealOverhead bytes and does not overlap `plain`.
  void seal(BytesView associated_data, BytesView plain, MutableBytes out) const;
  Bytes seal(BytesView associated_data, BytesView plain) const;
  // Seals plaintext that already lies at out[24..], ciphertext in place; out.size() = plaintext + kSealOverhead.
  void seal_in_place(BytesView associated_data, MutableBytes out) const;

  // kCorrupt when it does not authenticate; `out` (sealed.size() - kSealOverhead bytes) is then zeroed. `out` may lie
  // at sealed[24..], to open in place.
  Result<void> open(BytesView associated_data, BytesView sealed, MutableBytes out) const;
  Result<Bytes> open(BytesView associated_data, BytesView sealed) const;

 private:
  Secret key_;
};

}  // namespace coffer
