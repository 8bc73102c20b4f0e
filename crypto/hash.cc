#include "crypto/hash.h"

#include <openssl/sha.h>
#include <sodium.h>

#include "crypto/require.h"

namespace coffer {

static_assert(Hash::kSize == crypto_generichash_BYTES);
static_assert(std::tuple_size_v<Sha256> == crypto_hash_sha256_BYTES);
static_assert(std::tuple_size_v<Sha256> == crypto_auth_hmacsha256_BYTES);

Hash blake2b(BytesView data) {
  Hash h;
  crypto_generichash(h.bytes.data(), h.bytes.size(), data.data(), data.size(), nullptr, 0);
  return h;
}

struct Hasher::State {
  crypto_generichash_state blake;
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
  crypto_generichash_init(&state_->blake, nullptr, 0, Hash::kSize);
}

// The state keeps the last block of what was hashed.
Hasher::~Hasher() { sodium_memzero(&state_->blake, sizeof state_->blake); }

Hasher& Hasher::update(BytesView piece) {
  crypto_generichash_update(&state_->blake, piece.data(), piece.size());
  return *this;
}

Hash Hasher::finish() {
  Hash h;
  int rc = crypto_generichash_final(&state_->blake, h.bytes.data(), h.bytes.size());
  internal::require(rc == 0, "Hasher finished twice");
  return h;
}

Sha256 sha256(BytesView data) {
  Sha256 h;
  SHA256(data.data(), data.size(), h.data());
  return h;
}

Sha256 hmac_sha256(BytesView key, BytesView data) {
  Sha256 mac;
  crypto_auth_hmacsha256_state state;  // not the one-shot call, whose key has a fixed size
  crypto_auth_hmacsha256_init(&state, key.data(), key.size());
  crypto_auth_hmacsha256_update(&state, data.data(), data.size());
  crypto_auth_hmacsha256_final(&state, mac.data());
  sodium_memzero(&state, sizeof state);
  return mac;
}

}  // namespace coffer
