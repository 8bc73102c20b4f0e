// Key slots: an X25519 public key to which VolumeSecrets are sealed, so that a new epoch can be given to every slot
// without knowing its secret. The private key is derived from a passphrase (Argon2id), a recovery key, or a device's signing
// key.
//
// Slot object, little-endian:
//
//     0  magic "coffslot"        8
//     8  version u16 = 2         2   1: without the statement at the end
//    10  kind u8                 1
//    11  kdf memory in KiB u32   4   zero unless kind = 1
//    15  kdf passes u32          4   zero unless kind = 1
//    19  salt                   16   zero when kind = 3
//    35  slot id                16
//    51  slot public key        32   X25519
//    83  binding                32   zero when kind = 3
//   115  ephemeral public key   32   X25519
//   147  commitment             32
//   179  sealed secrets: nonce 24 | ciphertext, a multiple of 512 bytes | tag 16
//   and at the end the statement, 300 bytes:
//        epoch u32 | sealed note 232 | signature 64
//
// From the passphrase, 64 bytes = Argon2id(passphrase; salt; memory, passes, 1 lane, version 1.3); from a recovery key,
// BLAKE2b-512 keyed by its 32 bytes over "coffer recovery slot" || salt. The first 32 are the seed of the slot's key
// pair (private key = first half of SHA-512(seed)), the last 32 the binding key.
//
// A device's slot has the X25519 key pair that belongs to its Ed25519 pair (crypto_sign_ed25519_pk_to_curve25519; the seed is
// the same): the public key is in its certificate, so it gets a new epoch without being asked. One pair serves both uses. They share the
// scalar and no hash: signatures use SHA-512 over what begins with a text of coffer's, as the scalar's own derivation does;
// the exchange is hashed with keyed BLAKE2b below. For such a pair of schemes both stay as strong as each alone (Thormarker,
// "On using the same key pair for Ed25519 and an X25519 based KEM", 2021, in the random oracle model).
//
// Wrapping key = BLAKE2b-256 keyed by the X25519 shared secret over ephemeral pk || slot pk || slot id. Commitment =
// BLAKE2b-256 keyed by the wrapping key over "coffer slot commitment", checked before opening, so that one slot object
// cannot open to two contents under two keys. Everything before `sealed secrets` is covered by the associated data.
//
// Anybody who sees a slot public key can seal to it, the store included, so what opens must also prove where it comes
// from: binding = BLAKE2b-256 keyed by the binding key over "coffer slot binding" || volume || volume signing public
// key, made once by who knew the passphrase and copied when the slot is sealed anew; and the signature inside is made
// with that signing key. Without these, a store could hand to a new machine a slot that opens with the right passphrase
// and holds keys of the store's choosing. A device has no need of a binding: it knows the volume and its signing key before
// it opens anything, and opens only what bears their statement.
//
// Plaintext: volume 16 | volume signing public key 32 | has u8 (1: signing secret follows; 0 in device slots)
//   | signing secret 64 if has | count varint | count * (epoch u32, rising from 1 or more | volume key 32)
//   | signature 64 | zeros to a multiple of 512 bytes.
// The signature (Ed25519) covers "coffer slot contents" 0x00 || bytes 0 to 178 of the object || the plaintext before
// it.
//
// The statement says to every member, who cannot open other people's slots, that a member made this one, and what for.
// Its signature, by the volume signing key, covers "coffer slot" 0x00 || volume || all of the object before it, and is
// checked before any passphrase is tried: a slot that the store has planted costs no key derivation, and gets no epoch.
// The note is sealed (kind 8, slot id, no extra) with sub-key 5 of the volume key of `epoch`, the newest in the slot:
// label varint-prefixed | made i64, nanoseconds since 1970 | device varint-prefixed | zeros to 192 bytes.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "crypto/keys.h"
#include "crypto/secret.h"

namespace coffer {

enum class SlotKind : uint8_t { kPassphrase = 1, kRecoveryKey = 2, kDevice = 3 };

// Some 1,800 epochs. Each becomes a piece of guarded memory before the contents are known to be genuine, and of those the
// kernel gives a process some 15,000: a slot of a mebibyte could ask for more.
inline constexpr size_t kMaxSlotSize = 64 * 1024;

// Argon2id costs. What a slot from a store may ask for is bounded: [8 MiB, 4 GiB] and [1, 64] passes.
struct KdfCost {
  uint32_t memory_kib = 256 * 1024;
  uint32_t passes = 3;
};

// What members read about a slot.
struct SlotNote {
  std::string label;   // at most kSlotLabelMax bytes of printable UTF-8
  WallTime made;       // by the clock of the device that made it
  std::string device;  // the name of that device, likewise

  bool operator==(const SlotNote&) const = default;
};
inline constexpr size_t kSlotLabelMax = 64;
// Whether it may stand in a note: short enough, UTF-8, no control characters.
bool valid_slot_label(std::string_view label);

struct SlotHeader {
  SlotKind kind{};
  KdfCost cost;  // zero unless kind is kPassphrase
  std::array<uint8_t, 16> salt{};
  ObjectId id;
  PublicKey slot_public;
  std::optional<Epoch> epoch;  // the newest in it, as it says; nothing when it bears no statement (version 1)
};

// Takes a whole slot object; nothing in it is authenticated yet. kCorrupt: not a slot, or one with costs out of bounds;
// kTooNew: a later version or a kind that this build does not know.
Result<SlotHeader> parse_slot_header(BytesView object);

// A recovery key: 256 random bits, shown as 13 groups of 5 characters of Crockford base32; each group ends in a check
// character, so that a mistyped group is named. Case, spaces, and dashes do not matter; O is 0, I and L are 1.
//
// The 260 bits of the 52 data characters are the key, first bit first, and 4 zero bits. In GF(32) modulo x^5 + x^2 + 1,
// the check character of group g (from 1) is g + 2 d1 + 4 d2 + 8 d3 + 16 d4: any one wrong character, any two
// characters exchanged within a group, and any two groups exchanged are found.
class RecoveryKey {
 public:
  static RecoveryKey generate();
  // kInvalid names the first wrong group.
  static Result<RecoveryKey> parse(std::string_view text);
  Secret text() const;  // the groups, joined by '-': 77 characters, no terminator
  const Secret& bits() const { return bits_; }

 private:
  explicit RecoveryKey(Secret bits) : bits_(std::move(bits)) {}
  Secret bits_;  // 32 bytes
};

// Make a new slot object of a random id. `secrets` must hold signing_secret, which goes into the slot and signs it.
// kInvalid: incomplete or inconsistent secrets, costs out of bounds, an empty passphrase, or a note that may not be;
// kTooLarge: too many epochs; kNoSpace: no memory for the KDF.
Result<Bytes> make_passphrase_slot(const VolumeSecrets& secrets, const Secret& passphrase, KdfCost cost = {},
                                   const SlotNote& note = {});
Result<Bytes> make_recovery_slot(const VolumeSecrets& secrets, const RecoveryKey& key, const SlotNote& note = {});
// For the device whose certificate has `device_key`; without the signing key. kInvalid also: the key is none.
Result<Bytes> make_device_slot(const VolumeSecrets& secrets, const PublicKey& device_key, const SlotNote& note = {});
// The slot public key of that device; nullopt: the key is none.
std::optional<PublicKey> device_slot_key(const PublicKey& device_key);
// Seals `secrets` (say, with a new epoch added) to the same public key as `old_slot`, under a new slot id; what the
// slot is derived from stays, and so does its note. A device slot gets all but signing_secret, which `secrets` must hold
// to sign it. Whoever holds the private key of the slot's public key gets the secrets, so `old_slot` must bear a member's
// statement (else kCorrupt); one of version 1, which bears none, must be one that the caller has opened. Errors of
// parse_slot_header and make_*.
Result<Bytes> rewrap_slot(const VolumeSecrets& secrets, BytesView old_slot);

// kDenied: the passphrase or key is not this slot's, or the slot is of another kind; kCorrupt: it is, but the slot is
// damaged or forged; kTooNew; kNoSpace: no memory for the KDF. That the volume is the one meant is for the caller to
// check, and so is that the slot is not an old one.
Result<VolumeSecrets> open_passphrase_slot(BytesView object, const Secret& passphrase);
Result<VolumeSecrets> open_recovery_slot(BytesView object, const RecoveryKey& key);
// For a device, which knows the volume. kCorrupt also: no member of it made the slot.
Result<VolumeSecrets> open_device_slot(BytesView object, const SigningKey& device, const VolumeId& volume,
                                       const PublicKey& signing_public);

// Whether who has the volume's signing key made this slot; takes no secret. kCorrupt: nobody has; kUnsupported: a slot of
// version 1, which does not say; errors of parse_slot_header.
Result<SlotHeader> verify_slot(BytesView object, const VolumeId& volume, const PublicKey& signing_public);
// What a slot that verifies says about itself, with the secrets of any other slot. kNotFound: they lack its epoch.
Result<SlotNote> read_slot_note(BytesView object, const VolumeSecrets& secrets);

// A removal: whoever has the volume's signing key says that a slot counts no more. Unlike the absence of the slot, it can
// be kept, and shown to others.
//
// Layout: magic "coffgone" 8 | version u16 = 1 | slot id 16 | signature 64, over "coffer slot removal" 0x00 || volume ||
// slot id.
Bytes make_slot_removal(const VolumeId& volume, const SigningKey& volume_signing, const ObjectId& slot);
bool is_slot_removal(BytesView object);
// The slot that it removes; kCorrupt when nobody with the signing key says so; kTooNew.
Result<ObjectId> verify_slot_removal(BytesView object, const VolumeId& volume, const PublicKey& signing_public);

}  // namespace coffer
