// Unkeyed digests, and the two that S3 signing needs. The target coffer_hash holds only these, so that `remote` can
// sign requests without being able to link keys or AEAD.
#pragma once

#include <array>
#include <memory>

#include "base/bytes.h"
#include "base/ids.h"

namespace coffer {

// BLAKE2b with 256 bits of output (RFC 7693), no key.
Hash blake2b(BytesView data);

// BLAKE2b-256 over pieces.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  Hasher& update(BytesView piece);
  Hash finish();  // once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

using Sha256 = std::array<uint8_t, 32>;
// By OpenSSL, which has the processor's own instructions for it: whole packs go through here.
Sha256 sha256(BytesView data);
Sha256 hmac_sha256(BytesView key, BytesView data);

}  // namespace coffer
