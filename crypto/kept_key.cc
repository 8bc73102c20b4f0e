#include "crypto/kept_key.h"

#include <sodium.h>

#include <algorithm>

#include "crypto/require.h"
#include "crypto/slot_contents.h"

namespace coffer {
namespace {

constexpr std::string_view kAnyVersion = "coffer-key-";
constexpr std::string_view kPrefix = "coffer-key-1:";
constexpr size_t kMaxText = 256 * 1024;

}  // namespace

Secret encode_kept_key(const VolumeSecrets& secrets) {
  internal::require(!secrets.epoch_keys.empty(), "nothing to keep of a volume without keys");
  Bytes plain;
  plain.reserve(VolumeId::kSize + PublicKey::kSize + 10 + secrets.epoch_keys.size() * 36);  // one piece to wipe
  Writer w(plain);
  w.id(secrets.volume);
  w.id(secrets.signing_public);
  internal::append_epoch_keys(w, secrets.epoch_keys);
  Secret terminated(kPrefix.size() + 2 * plain.size() + 1);
  char* out = reinterpret_cast<char*>(terminated.data().data());
  std::ranges::copy(kPrefix, out);
  sodium_bin2hex(out + kPrefix.size(), 2 * plain.size() + 1, plain.data(), plain.size());
  wipe(plain);
  return Secret(terminated.view().first(terminated.size() - 1));
}

Result<VolumeSecrets> decode_kept_key(BytesView text) {
  auto damaged = [] { return fail(Code::kCorrupt, "kept key: not one, or damaged"); };
  if (!as_string(text).starts_with(kPrefix)) {
    if (as_string(text).starts_with(kAnyVersion)) return fail(Code::kTooNew, "kept key: made by a later coffer");
    return damaged();
  }
  BytesView digits = text.subspan(kPrefix.size());
  if (digits.empty() || digits.size() % 2 != 0 || digits.size() > kMaxText) return damaged();
  Secret plain(digits.size() / 2);
  size_t size = 0;
  if (sodium_hex2bin(plain.data().data(), plain.size(), reinterpret_cast<const char*>(digits.data()), digits.size(),
                     nullptr, &size, nullptr) != 0 ||
      size != plain.size())
    return damaged();

  Reader r(plain.view());
  VolumeSecrets secrets;
  secrets.volume = r.id<VolumeId>();
  secrets.signing_public = r.id<PublicKey>();
  if (!internal::read_epoch_keys(r, secrets.epoch_keys)) return damaged();
  if (!r.at_end()) return damaged();
  return secrets;
}

}  // namespace coffer
