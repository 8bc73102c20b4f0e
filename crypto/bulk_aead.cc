#include "crypto/bulk_aead.h"

#include <openssl/evp.h>
#include <sodium.h>

#include <array>
#include <limits>
#include <memory>

#include "crypto/require.h"

namespace coffer::internal {
namespace {

constexpr size_t kTag = 16;

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }  // wipes its key
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

// A context that has its key and the associated data; null when there is none to be had.
Context begin(BytesView key, BytesView nonce, BytesView associated_data, bool sealing) {
  static EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
  Context context(cipher == nullptr ? nullptr : EVP_CIPHER_CTX_new());
  if (!context) return nullptr;
  std::array<uint8_t, crypto_core_hchacha20_OUTPUTBYTES> subkey;
  crypto_core_hchacha20(subkey.data(), nonce.data(), key.data(), nullptr);
  std::array<uint8_t, 12> iv{};
  std::copy(nonce.begin() + crypto_core_hchacha20_INPUTBYTES, nonce.end(), iv.begin() + 4);
  int length = 0;
  const bool good =
      EVP_CipherInit_ex2(context.get(), cipher, subkey.data(), iv.data(), sealing ? 1 : 0, nullptr) == 1 &&
      EVP_CipherUpdate(context.get(), nullptr, &length, associated_data.data(),
                       static_cast<int>(associated_data.size())) == 1;
  sodium_memzero(subkey.data(), subkey.size());
  if (!good) return nullptr;
  return context;
}

bool fits(BytesView message, BytesView associated_data) {
  constexpr size_t most = std::numeric_limits<int>::max();
  return message.size() <= most && associated_data.size() <= most;
}

}  // namespace

BulkResult seal_bulk(BytesView key, BytesView nonce, BytesView associated_data, BytesView plain, MutableBytes sealed) {
  require(sealed.size() == plain.size() + kTag, "seal_bulk: output has the wrong size");
  if (!fits(sealed, associated_data)) return BulkResult::kUnavailable;
  Context context = begin(key, nonce, associated_data, true);
  if (!context) return BulkResult::kUnavailable;
  int length = 0, rest = 0;
  // In place, a failure from here on would have overwritten the plaintext; a stream cipher has nothing that could fail.
  const bool good =
      EVP_CipherUpdate(context.get(), sealed.data(), &length, plain.data(), static_cast<int>(plain.size())) == 1 &&
      EVP_CipherFinal_ex(context.get(), sealed.data() + length, &rest) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTag, sealed.data() + plain.size()) == 1;
  require(good && static_cast<size_t>(length) == plain.size() && rest == 0, "OpenSSL did not seal");
  return BulkResult::kDone;
}

BulkResult open_bulk(BytesView key, BytesView nonce, BytesView associated_data, BytesView sealed, MutableBytes plain) {
  require(sealed.size() == plain.size() + kTag, "open_bulk: output has the wrong size");
  if (!fits(sealed, associated_data)) return BulkResult::kUnavailable;
  Context context = begin(key, nonce, associated_data, false);
  if (!context) return BulkResult::kUnavailable;
  std::array<uint8_t, kTag> tag;
  std::copy(sealed.end() - kTag, sealed.end(), tag.begin());
  if (EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTag, tag.data()) != 1) return BulkResult::kUnavailable;
  int length = 0, rest = 0;
  const bool good =
      EVP_CipherUpdate(context.get(), plain.data(), &length, sealed.data(), static_cast<int>(plain.size())) == 1 &&
      static_cast<size_t>(length) == plain.size() &&
      EVP_CipherFinal_ex(context.get(), plain.data() + length, &rest) == 1;  // compares the tag
  return good ? BulkResult::kDone : BulkResult::kForged;
}

}  // namespace coffer::internal
