#include "fs/sync/volume.h"

#include <algorithm>

#include "crypto/associated_data.h"
#include "crypto/random.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/record.h"

namespace coffer {

namespace {

constexpr std::array<uint8_t, 8> kMagic = {'c', 'o', 'f', 'f', 'e', 'r', 0, 0};
constexpr size_t kHeadSize = 8 + 2 + VolumeId::kSize + PublicKey::kSize;
constexpr uint8_t kIdentityVersion = 2;

Bytes identity_data(const VolumeId& volume) {
  return associated_data(Sealed::kLocalSecret, volume, 0, ObjectId{}.view(), 0, as_bytes("identity"));
}

}  // namespace

Bytes encode(const VolumeHead& head) {
  Bytes out;
  Writer w(out);
  w.raw(kMagic);
  w.u16(kFormatVersion);
  w.id(head.volume);
  w.id(head.signing_public);
  return out;
}

Result<VolumeHead> decode_volume_head(BytesView object) {
  if (object.empty()) return fail(Code::kCorrupt, "the object 'coffer' is empty: it was cut off or replaced");
  size_t magic = std::min(object.size(), kMagic.size());
  if (!std::equal(kMagic.begin(), kMagic.begin() + static_cast<ptrdiff_t>(magic), object.begin()))
    return fail(Code::kCorrupt, "the object 'coffer' was not written by coffer: not a coffer volume");
  Reader in(object.subspan(magic));
  uint16_t version = in.u16();
  if (in.ok() && version > kFormatVersion) {
    return fail(Code::kTooNew, "the volume has format version " + std::to_string(version) +
                                   ", this coffer knows up to " + std::to_string(kFormatVersion) +
                                   ": install a newer one");
  }
  VolumeHead head;
  head.volume = in.id<VolumeId>();
  head.signing_public = in.id<PublicKey>();
  if (!in.ok()) {
    return fail(Code::kCorrupt, "the object 'coffer' is cut off: " + std::to_string(object.size()) + " of " +
                                    std::to_string(kHeadSize) + " bytes");
  }
  if (version == 0 || !in.at_end()) return fail(Code::kCorrupt, "the object 'coffer' is damaged");
  return head;
}

Result<VolumeSecrets> create_volume(ObjectStore& store, const Secret& passphrase, const RecoveryKey* recovery,
                                    KdfCost cost, const SlotNote& note) {
  auto there = store.get(kVolumeKey, kHeadSize);
  if (there || there.error().code() == Code::kTooLarge)
    return fail(Code::kExists, store.describe() + " already holds a volume, or another program's object 'coffer'");
  if (there.error().code() != Code::kNotFound) return fail(there.error());

  SigningKey signing = SigningKey::generate();
  VolumeSecrets secrets;
  secrets.volume = random_id<VolumeId>();
  secrets.epoch_keys.emplace(1, Secret::random(kAeadKeySize));
  secrets.signing_public = signing.public_key();
  secrets.signing_secret = std::move(signing);

  std::vector<Bytes> slots(1);
  TRY(slots[0], make_passphrase_slot(secrets, passphrase, cost, note));
  if (recovery) {
    TRY(Bytes slot, make_recovery_slot(secrets, *recovery, note));
    slots.push_back(std::move(slot));
  }
  for (const Bytes& slot : slots) {
    TRY(SlotHeader header, parse_slot_header(slot));
    TRYV(store.put(slot_key(header.id), slot));
  }
  TRYV(store.put(kVolumeKey, encode(VolumeHead{secrets.volume, secrets.signing_public})));
  return secrets;
}

Result<VolumeHead> read_volume_head(ObjectStore& store) {
  auto object = store.get(kVolumeKey, 4096);
  if (!object) {
    if (object.error().code() == Code::kNotFound)
      return fail(Code::kNotFound, store.describe() + " is not a coffer volume: it has no object 'coffer'");
    if (object.error().code() == Code::kTooLarge)
      return fail(Code::kCorrupt,
                  store.describe() + ": the object 'coffer' was not written by coffer: not a coffer volume");
    return fail(object.error());
  }
  auto head = decode_volume_head(*object);
  if (!head) return fail(head.error().in(store.describe()));
  return head;
}

Result<DeviceIdentity> join(const VolumeSecrets& secrets, std::string name) {
  if (!valid_device_name(name)) {
    return fail(Code::kInvalid, "a device name has 1 to " + std::to_string(kDeviceNameMax) +
                                    " bytes, no '/' and no control characters");
  }
  if (!secrets.signing_secret || secrets.epoch_keys.empty())
    return fail(Code::kInvalid, "joining needs the volume's signing key: a passphrase or the recovery key opens it");
  SigningKey key = SigningKey::generate();
  DeviceId device = random_id<DeviceId>();
  auto certificate = DeviceCertificate::issue(*secrets.signing_secret, secrets.volume, device, key.public_key(),
                                              secrets.epoch_keys.rbegin()->first);
  return DeviceIdentity{device, std::move(name), std::move(key), certificate};
}

void encode_heads(Writer& w, const std::vector<KnownHead>& heads) {
  w.varint(heads.size());
  for (const KnownHead& known : heads) {
    w.id(known.head.log);
    w.u64(known.head.number);
    w.id(known.head.hash);
    w.string(known.device);
  }
}

std::vector<KnownHead> decode_heads(Reader& in) {
  std::vector<KnownHead> heads(in.count(LogId::kSize + 8 + Hash::kSize + 1));
  for (KnownHead& known : heads) {
    known.head.log = in.id<LogId>();
    known.head.number = in.u64();
    known.head.hash = in.id<Hash>();
    known.device = in.string();
    if (known.head.number == 0 || !valid_device_name(known.device)) in.fail();
  }
  return heads;
}

// version u8 | name, varint-prefixed | certificate | signing key 64, and in version 2
// | vouched for u8 | the certificate's vouchers if 1 | heads that were handed over
Bytes seal_identity(const DeviceIdentity& identity, const VolumeId& volume, const LocalKeys& keys) {
  Bytes plain;
  plain.reserve(4096 + 256 * identity.handed_over.size());  // never moved, so that one wipe() reaches all of it
  Writer w(plain);
  const bool vouched_for = !identity.certificate.vouchers.empty();
  const bool let_in = vouched_for || !identity.handed_over.empty();
  w.u8(let_in ? kIdentityVersion : kIdentityVersion - 1);
  w.string(identity.name);
  identity.certificate.encode(w);
  w.raw(identity.key.secret().view());
  if (let_in) w.u8(vouched_for);
  if (vouched_for) identity.certificate.encode_vouchers(w);
  if (let_in) encode_heads(w, identity.handed_over);
  Bytes sealed = keys.secrets().seal(identity_data(volume), plain);
  wipe(plain);
  return sealed;
}

Result<DeviceIdentity> open_identity(BytesView sealed, const VolumeId& volume, const LocalKeys& keys) {
  auto plain = keys.secrets().open(identity_data(volume), sealed);
  if (!plain) return fail(Code::kCorrupt, "the identity of this device does not open: damaged, or of another volume");
  Reader in(*plain);
  uint8_t version = in.u8();
  std::string name = in.string();
  DeviceCertificate certificate = DeviceCertificate::decode(in);
  auto key = SigningKey::from_secret(Secret(in.raw(64)));
  if (version == kIdentityVersion && in.u8() != 0) certificate.decode_vouchers(in);
  std::vector<KnownHead> handed_over;
  if (version == kIdentityVersion) handed_over = decode_heads(in);
  bool whole = in.at_end();
  wipe(*plain);
  if (version > kIdentityVersion)
    return fail(Code::kTooNew, "the identity of this device was written by a later coffer");
  if (!whole || !key || !valid_device_name(name) || certificate.key != key->public_key())
    return fail(Code::kCorrupt, "the identity of this device is damaged");
  return DeviceIdentity{certificate.device, std::move(name), std::move(*key), certificate, std::move(handed_over)};
}

}  // namespace coffer
