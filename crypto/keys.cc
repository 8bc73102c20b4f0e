#include "crypto/keys.h"

#include <sodium.h>

#include "crypto/derive.h"
#include "crypto/hash.h"
#include "crypto/require.h"

namespace coffer {
namespace {

// The numbers are part of the format: one purpose each, never reused.
enum : uint64_t {  // of a volume key
  kFramesId = 1,
  kRecordsId = 2,
  kSegmentsId = 3,
  kLocalId = 4,
  // 5: notes of slots, in slot_statement.cc
};
enum : uint64_t {  // of the salted local key
  kRowsId = 1,
  kJournalId = 2,
  kSecretsId = 3,
  kRowKeysId = 4,
};

constexpr std::string_view kCertificateText = "coffer device certificate";
constexpr std::string_view kVoucherText = "coffer device voucher";
constexpr std::string_view kDeviceIdText = "coffer device id";

Secret salted_local_key(const Secret& volume_key, BytesView salt32) {
  internal::require(salt32.size() == 32, "salt of the local keys is not 32 bytes");
  Secret out(32);
  internal::keyed_blake2b(out.data(), internal::derive_key(volume_key, kLocalId), {salt32});
  return out;
}

// What a certificate's signature covers; `voucher` is null when it is the volume's.
Bytes certificate_message(const VolumeId& volume, const DeviceId* voucher, const DeviceCertificate& c) {
  Bytes message;
  Writer w(message);
  w.raw(as_bytes(voucher ? kVoucherText : kCertificateText));
  w.u8(0);
  w.id(volume);
  if (voucher) w.id(*voucher);
  w.id(c.device);
  w.id(c.key);
  w.u32(c.epoch);
  return message;
}

}  // namespace

PrfKey::PrfKey(Secret key) : key_(std::move(key)) { internal::require(key_.size() == 32, "PRF key is not 32 bytes"); }

std::array<uint8_t, 16> PrfKey::operator()(BytesView data) const {
  std::array<uint8_t, 16> out;
  internal::keyed_blake2b(out, key_, {data});
  return out;
}

SigningKey SigningKey::generate() {
  PublicKey pub;
  Secret secret(crypto_sign_SECRETKEYBYTES);
  crypto_sign_keypair(pub.bytes.data(), secret.data().data());
  return SigningKey(std::move(secret), pub);
}

Result<SigningKey> SigningKey::from_secret(Secret secret64) {
  if (secret64.size() != crypto_sign_SECRETKEYBYTES) return fail(Code::kInvalid, "signing key of the wrong size");
  // Signing with a public half that is not the seed's gives the seed away, so it is not taken on trust.
  PublicKey pub;
  Secret again(crypto_sign_SECRETKEYBYTES);
  crypto_sign_seed_keypair(pub.bytes.data(), again.data().data(), secret64.view().data());
  if (!again.equal(secret64)) return fail(Code::kInvalid, "signing key whose halves do not match");
  return SigningKey(std::move(secret64), pub);
}

Signature SigningKey::sign(BytesView message) const {
  internal::require(!secret_.empty(), "sign with a moved-from key");
  Signature s;
  crypto_sign_detached(s.bytes.data(), nullptr, message.data(), message.size(), secret_.view().data());
  return s;
}

bool verify(const PublicKey& key, BytesView message, const Signature& signature) {
  return crypto_sign_verify_detached(signature.bytes.data(), message.data(), message.size(), key.bytes.data()) == 0;
}

EpochKeys::EpochKeys(Epoch epoch, const Secret& volume_key)
    : epoch_(epoch),
      frames_(internal::derive_key(volume_key, kFramesId)),
      records_(internal::derive_key(volume_key, kRecordsId)),
      segments_(internal::derive_key(volume_key, kSegmentsId)) {}

LocalKeys::LocalKeys(const Secret& volume_key, BytesView salt32) : LocalKeys(salted_local_key(volume_key, salt32)) {}

LocalKeys::LocalKeys(const Secret& salted)
    : rows_(internal::derive_key(salted, kRowsId)),
      journal_(internal::derive_key(salted, kJournalId)),
      secrets_(internal::derive_key(salted, kSecretsId)),
      row_keys_(internal::derive_key(salted, kRowKeysId)) {}

VolumeSecrets VolumeSecrets::clone_without_signing() const {
  VolumeSecrets out{volume, {}, signing_public, {}};
  for (const auto& [epoch, key] : epoch_keys) out.epoch_keys.emplace(epoch, key.clone());
  return out;
}

Bytes volume_message(std::string_view text, const VolumeId& volume, BytesView data) {
  Bytes message = to_bytes(text);
  Writer w(message);
  w.id(volume);
  w.raw(data);
  return message;
}

DeviceCertificate DeviceCertificate::issue(const SigningKey& volume_signing, const VolumeId& volume,
                                           const DeviceId& device, const PublicKey& key, Epoch epoch) {
  DeviceCertificate c{device, key, epoch, {}, {}};
  c.signature = volume_signing.sign(certificate_message(volume, nullptr, c));
  return c;
}

Result<DeviceCertificate> DeviceCertificate::vouch(const DeviceCertificate& by, const SigningKey& by_key,
                                                   const VolumeId& volume, const PublicKey& key, Epoch epoch) {
  if (by.vouchers.size() >= kMaxVouchers)
    return fail(Code::kInvalid, "this device was let in by one that was let in by another, and so on, too often");
  DeviceCertificate c{device_id_of(key), key, epoch, {}, by.vouchers};
  c.vouchers.push_back({by.device, by.key, by.epoch, by.signature, {}});
  c.signature = by_key.sign(certificate_message(volume, &by.device, c));
  return c;
}

bool DeviceCertificate::valid(const PublicKey& volume_signing_public, const VolumeId& volume) const {
  if (vouchers.size() > kMaxVouchers) return false;
  const DeviceCertificate* voucher = nullptr;
  auto holds = [&](const DeviceCertificate& c) {
    if (!voucher) return verify(volume_signing_public, certificate_message(volume, nullptr, c), c.signature);
    return c.device == device_id_of(c.key) &&
           verify(voucher->key, certificate_message(volume, &voucher->device, c), c.signature);
  };
  for (const DeviceCertificate& c : vouchers) {
    if (!holds(c)) return false;
    voucher = &c;
  }
  return holds(*this);
}

std::vector<DeviceId> DeviceCertificate::voucher_ids() const {
  std::vector<DeviceId> out;
  for (const DeviceCertificate& voucher : vouchers) out.push_back(voucher.device);
  return out;
}

void DeviceCertificate::encode(Writer& w) const {
  w.id(device);
  w.id(key);
  w.u32(epoch);
  w.id(signature);
}

DeviceCertificate DeviceCertificate::decode(Reader& r) {
  DeviceCertificate c;
  c.device = r.id<DeviceId>();
  c.key = r.id<PublicKey>();
  c.epoch = r.u32();
  c.signature = r.id<Signature>();
  return c;
}

void DeviceCertificate::encode_vouchers(Writer& w) const {
  internal::require(!vouchers.empty() && vouchers.size() <= kMaxVouchers, "not a number of vouchers");
  w.u8(static_cast<uint8_t>(vouchers.size()));
  for (const DeviceCertificate& c : vouchers) c.encode(w);
}

void DeviceCertificate::decode_vouchers(Reader& r) {
  const uint8_t count = r.u8();
  if (count == 0 || count > kMaxVouchers) r.fail();
  for (uint8_t i = 0; i < count && r.ok(); ++i) vouchers.push_back(decode(r));
}

DeviceId device_id_of(const PublicKey& key) {
  Bytes message = to_bytes(kDeviceIdText);
  Writer w(message);
  w.u8(0);
  w.id(key);
  return DeviceId::from(blake2b(message).view().first(DeviceId::kSize));
}

}  // namespace coffer
