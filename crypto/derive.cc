#include "crypto/derive.h"

#include <sodium.h>

#include "crypto/require.h"

namespace coffer::internal {

void keyed_blake2b(MutableBytes out, const Secret& key, std::initializer_list<BytesView> pieces) {
  require(key.size() == crypto_generichash_KEYBYTES, "BLAKE2b key is not 32 bytes");
  require(out.size() >= crypto_generichash_BYTES_MIN && out.size() <= crypto_generichash_BYTES_MAX,
          "BLAKE2b output of that size does not exist");
  crypto_generichash_state state;
  crypto_generichash_init(&state, key.view().data(), key.size(), out.size());
  for (BytesView piece : pieces) crypto_generichash_update(&state, piece.data(), piece.size());
  crypto_generichash_final(&state, out.data(), out.size());
  sodium_memzero(&state, sizeof state);
}

Secret derive_key(const Secret& key, uint64_t id) {
  require(key.size() == crypto_kdf_KEYBYTES, "key to derive from is not 32 bytes");
  Secret sub(32);
  crypto_kdf_derive_from_key(sub.data().data(), sub.size(), id, "coffer__", key.view().data());
  return sub;
}

}  // namespace coffer::internal
