// The keys of a volume and what is derived from them. One random 256-bit volume key per epoch; every other symmetric
// key is derived from it for one purpose (crypto_kdf, BLAKE2b-based).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "crypto/aead.h"
#include "crypto/secret.h"

namespace coffer {

// A keyed 128-bit PRF (BLAKE2b, 16 bytes of output), for row keys that would tell a name or a size. Constant after
// construction; thread-safe.
class PrfKey {
 public:
  explicit PrfKey(Secret key);  // 32 bytes
  std::array<uint8_t, 16> operator()(BytesView data) const;

 private:
  Secret key_;
};

// Ed25519 signing key (64-byte secret: seed || public). Constant after construction; thread-safe.
class SigningKey {
 public:
  static SigningKey generate();
  // kInvalid: not 64 bytes, or the public half is not the seed's.
  static Result<SigningKey> from_secret(Secret secret64);
  const PublicKey& public_key() const { return public_; }
  Signature sign(BytesView message) const;
  const Secret& secret() const { return secret_; }

 private:
  SigningKey(Secret secret, PublicKey pub) : secret_(std::move(secret)), public_(pub) {}
  Secret secret_;
  PublicKey public_;
};

// Strict: small-order keys and non-canonical encodings do not verify.
bool verify(const PublicKey& key, BytesView message, const Signature& signature);

// The sub-keys of one epoch. Constant after construction; thread-safe.
class EpochKeys {
 public:
  EpochKeys(Epoch epoch, const Secret& volume_key);  // 32 bytes

  Epoch epoch() const { return epoch_; }
  const AeadKey& frames() const { return frames_; }      // kdf context "coffer__", id 1; frames and pack indexes
  const AeadKey& records() const { return records_; }    // 2; records and heads
  const AeadKey& segments() const { return segments_; }  // 3; segments and checkpoints

 private:
  Epoch epoch_;
  AeadKey frames_, records_, segments_;
};

// The keys of what lies on this machine's disk only, derived from the volume key of epoch 1 (kdf id 4) and the state
// directory's random salt: BLAKE2b-256 keyed by sub-key 4 of the salt, whose own sub-keys 1 to 4 are those below, in
// order. They do not change with epochs. Constant after construction; thread-safe.
class LocalKeys {
 public:
  LocalKeys(const Secret& volume_key, BytesView salt32);
  const AeadKey& rows() const { return rows_; }
  const AeadKey& journal() const { return journal_; }
  const AeadKey& secrets() const { return secrets_; }
  const PrfKey& row_keys() const { return row_keys_; }

 private:
  explicit LocalKeys(const Secret& salted);

  AeadKey rows_, journal_, secrets_;
  PrfKey row_keys_;
};

// What the volume's signing key signs: `text`, which says what it is and ends in a zero byte | volume 16 | `data`.
Bytes volume_message(std::string_view text, const VolumeId& volume, BytesView data);

// All that an unlocked slot gives.
struct VolumeSecrets {
  VolumeId volume;
  std::map<Epoch, Secret> epoch_keys;        // never empty; 32 bytes each
  PublicKey signing_public;                  // the volume signing key: says who is a member
  std::optional<SigningKey> signing_secret;  // absent in a device's own slot

  VolumeSecrets clone_without_signing() const;
};

// A member's certificate: this device key belongs to this volume. The volume signing key says so, or another member
// vouches for it; then it has that member's certificate with it, and those of who vouched for him in his turn.
//
// Encoded as device 16 | key 32 | epoch u32 | signature 64. The signature is
//   by the volume signing key, over "coffer device certificate" 0x00 | volume 16 | device 16 | key 32 | epoch u32; or
//   by the voucher's device key, over "coffer device voucher" 0x00 | volume 16 | voucher's device 16 | device 16 | key 32
//     | epoch u32. Then the device id is device_id_of() the key, so that nobody can vouch for a key in another's name.
// The vouchers are encoded apart, where the place of the certificate says that there are some, as count u8, from 1 to
// kMaxVouchers | count x such a certificate: the first is by the volume signing key, each other one by the one before it,
// and the last one vouches for the device itself.
//
// A certificate has no end of its own. Who revokes a device has to say what becomes of those that it vouched for: they are
// members by its word alone.
struct DeviceCertificate {
  DeviceId device;
  PublicKey key;  // Ed25519, signs the device's records
  Epoch epoch;    // the newest epoch when it joined
  Signature signature;
  std::vector<DeviceCertificate> vouchers;  // these have none of their own

  static DeviceCertificate issue(const SigningKey& volume_signing, const VolumeId&, const DeviceId&, const PublicKey&,
                                 Epoch);
  // For the device with this key, by the one with this certificate. kInvalid: that one has kMaxVouchers itself.
  static Result<DeviceCertificate> vouch(const DeviceCertificate& by, const SigningKey& by_key, const VolumeId&,
                                         const PublicKey&, Epoch);
  bool valid(const PublicKey& volume_signing_public, const VolumeId&) const;
  std::vector<DeviceId> voucher_ids() const;
  void encode(Writer&) const;
  static DeviceCertificate decode(Reader&);  // caller checks reader.ok()
  void encode_vouchers(Writer&) const;       // there must be some
  void decode_vouchers(Reader&);
};
inline constexpr size_t kMaxVouchers = 16;

// The id of a device that others vouch for: the first 16 bytes of BLAKE2b-256("coffer device id" 0x00 | key 32).
DeviceId device_id_of(const PublicKey& key);

}  // namespace coffer
