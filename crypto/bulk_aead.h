// XChaCha20-Poly1305 by OpenSSL's libcrypto, for long messages: the bytes are those of libsodium's
// crypto_aead_xchacha20poly1305_ietf_encrypt, made by code for the widest vectors that the processor has (a frame of
// 64 KiB takes a third of the time with AVX-512).
//
// The construction is that of draft-irtf-cfrg-xchacha-03: HChaCha20 makes a subkey of the key and the first 16 bytes
// of the nonce, and ChaCha20-Poly1305 (RFC 8439) goes on with it and the other 8. OpenSSL, whose memory is not locked,
// gets to see that subkey only, which serves one message, and wipes it.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace coffer::internal {

// Below this many bytes libsodium is faster, since OpenSSL's call costs about 0.7 us before the first byte.
inline constexpr size_t kBulkMin = 1024;

enum class BulkResult : uint8_t {
  kDone,
  kForged,       // only from opening; `plain` holds what is to be wiped
  kUnavailable,  // OpenSSL cannot be used (no memory, no such cipher): nothing was written
};

// `key` has 32 bytes, `nonce` 24. `sealed` is the ciphertext and then the tag (16), and may begin where `plain` does.
BulkResult seal_bulk(BytesView key, BytesView nonce, BytesView associated_data, BytesView plain, MutableBytes sealed);
BulkResult open_bulk(BytesView key, BytesView nonce, BytesView associated_data, BytesView sealed, MutableBytes plain);

}  // namespace coffer::internal
