#include "crypto/aead.h"

#include <sodium.h>

#include "crypto/bulk_aead.h"
#include "crypto/random.h"
#include "crypto/require.h"

namespace coffer {
namespace {

constexpr size_t kNonceSize = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
static_assert(kNonceSize + crypto_aead_xchacha20poly1305_ietf_ABYTES == kSealOverhead);
static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == kAeadKeySize);

void encrypt(const Secret& key, BytesView associated_data, BytesView plain, MutableBytes out) {
  internal::require(!key.empty(), "seal with a moved-from key");
  random_bytes(out.first(kNonceSize));
  if (plain.size() >= internal::kBulkMin &&
      internal::seal_bulk(key.view(), out.first(kNonceSize), associated_data, plain, out.subspan(kNonceSize)) ==
          internal::BulkResult::kDone)
    return;
  crypto_aead_xchacha20poly1305_ietf_encrypt(out.data() + kNonceSize, nullptr, plain.data(), plain.size(),
                                             associated_data.data(), associated_data.size(), nullptr, out.data(),
                                             key.view().data());
}

bool decrypt(const Secret& key, BytesView associated_data, BytesView sealed, MutableBytes out) {
  const BytesView nonce = sealed.first(kNonceSize), body = sealed.subspan(kNonceSize);
  if (out.size() >= internal::kBulkMin) {
    const auto opened = internal::open_bulk(key.view(), nonce, associated_data, body, out);
    if (opened != internal::BulkResult::kUnavailable) return opened == internal::BulkResult::kDone;
  }
  return crypto_aead_xchacha20poly1305_ietf_decrypt(out.data(), nullptr, nullptr, body.data(), body.size(),
                                                    associated_data.data(), associated_data.size(), nonce.data(),
                                                    key.view().data()) == 0;
}

}  // namespace

AeadKey::AeadKey(Secret key) : key_(std::move(key)) {
  internal::require(key_.size() == kAeadKeySize, "AEAD key is not 32 bytes");
}

void AeadKey::seal(BytesView associated_data, BytesView plain, MutableBytes out) const {
  internal::require(out.size() == plain.size() + kSealOverhead, "seal: output has the wrong size");
  encrypt(key_, associated_data, plain, out);
}

Bytes AeadKey::seal(BytesView associated_data, BytesView plain) const {
  Bytes out(plain.size() + kSealOverhead);
  encrypt(key_, associated_data, plain, out);
  return out;
}

void AeadKey::seal_in_place(BytesView associated_data, MutableBytes out) const {
  internal::require(out.size() >= kSealOverhead, "seal_in_place: output has the wrong size");
  encrypt(key_, associated_data, out.subspan(kNonceSize, out.size() - kSealOverhead), out);
}

Result<void> AeadKey::open(BytesView associated_data, BytesView sealed, MutableBytes out) const {
  internal::require(!key_.empty(), "open with a moved-from key");
  if (sealed.size() < kSealOverhead) {
    if (!out.empty()) std::memset(out.data(), 0, out.size());
    return fail(Code::kCorrupt, "sealed data is too short");
  }
  internal::require(out.size() == sealed.size() - kSealOverhead, "open: output has the wrong size");
  if (!decrypt(key_, associated_data, sealed, out)) {
    if (!out.empty()) std::memset(out.data(), 0, out.size());
    return fail(Code::kCorrupt, "sealed data does not authenticate");
  }
  return {};
}

Result<Bytes> AeadKey::open(BytesView associated_data, BytesView sealed) const {
  Bytes out(sealed.size() < kSealOverhead ? 0 : sealed.size() - kSealOverhead);
  TRYV(open(associated_data, sealed, MutableBytes(out)));
  return out;
}

}  // namespace coffer
