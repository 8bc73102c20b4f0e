#include "crypto/slot_contents.h"

#include <algorithm>

#include "crypto/require.h"

namespace coffer {
namespace {

constexpr std::string_view kContentsText{"coffer slot contents\0", 21};

// What the signature inside covers. Holds secrets.
Secret signed_message(BytesView header, BytesView contents) {
  Secret message(kContentsText.size() + header.size() + contents.size());
  auto at = std::ranges::copy(as_bytes(kContentsText), message.data().begin()).out;
  at = std::ranges::copy(header, at).out;
  std::ranges::copy(contents, at);
  return message;
}

}  // namespace

namespace internal {

void append_epoch_keys(Writer& w, const std::map<Epoch, Secret>& keys) {
  w.varint(keys.size());
  for (const auto& [epoch, key] : keys) {
    w.u32(epoch);
    w.raw(key.view());
  }
}

bool read_epoch_keys(Reader& r, std::map<Epoch, Secret>& keys) {
  const size_t count = r.count(4 + 32);
  if (!r.ok() || count == 0) return false;
  Epoch last = 0;
  for (size_t i = 0; i < count; ++i) {
    Epoch epoch = r.u32();
    BytesView key = r.raw(32);
    if (!r.ok() || epoch <= last) return false;
    keys.emplace(epoch, Secret(key));
    last = epoch;
  }
  return true;
}

}  // namespace internal

Secret encode_slot_contents(const VolumeSecrets& secrets, SlotKind kind, BytesView header) {
  size_t at_most = VolumeId::kSize + PublicKey::kSize + 1 + 64 + 10 + secrets.epoch_keys.size() * (4 + 32) +
                   Signature::kSize + kSlotPadding;
  Bytes out;
  out.reserve(at_most);  // one piece of memory to wipe: growing would leave copies behind
  Writer w(out);
  w.id(secrets.volume);
  w.id(secrets.signing_public);
  bool with_signing_secret = kind != SlotKind::kDevice;
  w.u8(with_signing_secret ? 1 : 0);
  if (with_signing_secret) w.raw(secrets.signing_secret->secret().view());
  internal::append_epoch_keys(w, secrets.epoch_keys);
  w.id(secrets.signing_secret->sign(signed_message(header, out).view()));
  out.resize((out.size() + kSlotPadding - 1) / kSlotPadding * kSlotPadding);
  internal::require(out.size() <= at_most, "slot contents larger than reckoned");
  Secret contents{BytesView(out)};
  wipe(out);
  return contents;
}

Result<VolumeSecrets> decode_slot_contents(BytesView plain, SlotKind kind, BytesView header) {
  auto damaged = [] { return fail(Code::kCorrupt, "slot: contents are damaged"); };
  Reader r(plain);
  VolumeSecrets secrets;
  secrets.volume = r.id<VolumeId>();
  secrets.signing_public = r.id<PublicKey>();
  uint8_t with_signing_secret = r.u8();
  if (!r.ok() || with_signing_secret != (kind == SlotKind::kDevice ? 0 : 1)) return damaged();
  if (with_signing_secret == 1) {
    BytesView secret = r.raw(64);
    if (!r.ok()) return damaged();
    auto signing = SigningKey::from_secret(Secret(secret));
    if (!signing || signing->public_key() != secrets.signing_public) return damaged();
    secrets.signing_secret = std::move(*signing);
  }
  if (!internal::read_epoch_keys(r, secrets.epoch_keys)) return damaged();
  BytesView contents = plain.first(plain.size() - r.remaining());
  Signature signature = r.id<Signature>();
  BytesView padding = r.raw(r.remaining());
  if (!r.ok() || padding.size() >= kSlotPadding || !std::ranges::all_of(padding, [](uint8_t b) { return b == 0; }))
    return damaged();
  if (!verify(secrets.signing_public, signed_message(header, contents).view(), signature))
    return fail(Code::kCorrupt, "slot: contents are not signed by the volume's signing key");
  return secrets;
}

}  // namespace coffer
