// How a new device is let in by a member without a passphrase: what the two put into the store, which may read, change and
// replay all of it, and the code that a person carries from the new device to the member.
//
// The new device makes an X25519 key pair for this one time, its Ed25519 signing key, and 80 random bits, the code's secret.
// It puts a request, little-endian:
//
//     0  magic "coffpair"        8
//     8  version u16 = 1         2
//    10  request id             16
//    26  volume                 16
//    42  X25519 public key      32   the answer is sealed to it
//    74  Ed25519 public key     32   of the device that asks
//   106  made i64                8   ns since 1970, by its clock: old requests are swept
//
// The code is 160 bits, as 8 groups like a recovery key's (slot.h): the fingerprint of the request, which is the first 80 bits
// of BLAKE2b-256("coffer pairing request" 0x00 || request), and the secret, which is nowhere else.
//
// The member takes the request that the code's fingerprint is of, and puts an answer:
//
//     0  magic "coffpans"        8
//     8  version u16 = 1         2
//    10  request id             16
//    26  ephemeral public key   32   X25519
//    58  commitment             32
//    90  nonce 24 | ciphertext | tag 16; the object has a padded size (padding.h), its plaintext ends in zeros
//
// Wrapping key = BLAKE2b-256 keyed by the X25519 shared secret over "coffer pairing answer" || the code's secret || BLAKE2b-256
// of the request || ephemeral public key. Commitment = BLAKE2b-256 keyed by the wrapping key over "coffer pairing commitment",
// checked before opening. Everything before the nonce is covered by the associated data (kind 9, volume, request id). The
// plaintext is contents length u32 | contents | zeros.
//
// Why the store can do nothing with it but not deliver it. It cannot read the answer: that takes one of the X25519 private
// keys, which both die with the processes that made them. It cannot have its own key answered in place of the device's: the
// member looks for 80 bits of a hash of the whole request, so it would have to find another request with that hash. It cannot
// answer in the member's place, nor replay another answer: the key of an answer depends on the code's secret and on this
// request, and nothing in the store depends on the secret but the answer, of which it lacks the X25519 secret. So each guess of
// the secret costs a try before the eyes of the new device, which gives up after the first answer that does not open; and to
// guess at leisure takes both to have found the second request, and 2^80 further steps.
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "crypto/keys.h"
#include "crypto/secret.h"

namespace coffer {

inline constexpr size_t kPairingRequestSize = 114;
inline constexpr size_t kMaxPairingAnswer = 256 * 1024;  // larger ones are refused unread

struct PairingRequest {
  ObjectId id;
  VolumeId volume;
  PublicKey sealing;  // X25519
  PublicKey signing;  // Ed25519
  WallTime made;
};
Bytes encode(const PairingRequest& request);
// Nothing in it is authenticated: see PairingCode::fits. kCorrupt, kTooNew.
Result<PairingRequest> decode_pairing_request(BytesView object);

// What a person types. Constant after construction.
class PairingCode {
 public:
  // A fresh secret, for this request.
  static PairingCode make(BytesView request);
  // kInvalid names the first wrong group.
  static Result<PairingCode> parse(std::string_view text);

  Secret text() const;  // 8 groups, joined by '-': 47 characters, no terminator
  bool fits(BytesView request) const;
  BytesView secret() const;  // 10 bytes

 private:
  explicit PairingCode(Secret bits) : bits_(std::move(bits)) {}
  Secret bits_;  // fingerprint 10 | secret 10
};

// Seals `contents` to the device that made `request`, which must fit the code. kCorrupt: its public key is none; kTooLarge.
Result<Bytes> seal_pairing_answer(BytesView request, const PairingCode& code, const Secret& contents);

// A new device that waits for an answer. Its private keys are nowhere but in here. Constant after construction.
class PairingWait {
 public:
  static PairingWait begin(const VolumeId& volume, WallTime now);
  // The same again, from its parts: for tests. `request` has the public halves.
  static PairingWait from(const PairingRequest& request, Secret private_key, SigningKey signing, PairingCode code);

  const Bytes& request() const { return request_; }
  const ObjectId& id() const { return id_; }
  const PairingCode& code() const { return code_; }
  const SigningKey& signing() const { return signing_; }
  // kCorrupt: it is not by somebody who has the code, not for this request, or damaged; kTooNew.
  Result<Secret> open(BytesView answer) const;

 private:
  PairingWait(const PairingRequest& request, Secret private_key, SigningKey signing, PairingCode code);
  ObjectId id_;
  VolumeId volume_;
  Bytes request_;
  Secret private_key_;  // X25519
  SigningKey signing_;
  PairingCode code_;
};

}  // namespace coffer
