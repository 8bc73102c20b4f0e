// Key slots: an X25519 public key to which VolumeSecrets are sealed, so that a new epoch can be given to every slot
// without knowing its secret. The private key is derived from a passphrase (Argon2id) or a recovery key.
//
// Slot object, little-endian:
//   magic "coffslot" 8 | version u16 = 1 | kind u8 | kdf memory KiB u32 | kdf passes u32 | salt 16 | slot id 16
//   | slot public key 32 | ephemeral public key 32 | commitment 32 | sealed secrets, to the end
// Everything before `sealed secrets` is covered by its associated data. Wrapping key = BLAKE2b-256(keyed by the X25519
// shared secret; ephemeral pk || slot pk || slot id); commitment = BLAKE2b-256 keyed by the wrapping key of the text
// "coffer slot commitment", checked before opening, so that one slot object cannot open to two contents under two keys.
// The sealed plaintext is padded to a multiple of 512 bytes.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "crypto/keys.h"
#include "crypto/secret.h"

namespace coffer {

enum class SlotKind : uint8_t { kPassphrase = 1, kRecoveryKey = 2, kDevice = 3 };

// Argon2id costs. What a slot from a store may ask for is bounded: [8 MiB, 4 GiB] and [1, 64] passes.
struct KdfCost {
  uint32_t memory_kib = 256 * 1024;
  uint32_t passes = 3;
};

struct SlotHeader {
  SlotKind kind{};
  KdfCost cost;
  std::array<uint8_t, 16> salt{};
  ObjectId id;
  PublicKey slot_public;
};

// kCorrupt: not a slot; kTooNew: a later version.
Result<SlotHeader> parse_slot_header(BytesView object);

// A recovery key: 256 random bits, shown as 13 groups of 5 characters of Crockford base32; each group ends in a check
// character, so that a mistyped group is named. Case, spaces, and dashes do not matter; O is 0, I and L are 1.
class RecoveryKey {
 public:
  static RecoveryKey generate();
  // kInvalid names the first wrong group.
  static Result<RecoveryKey> parse(std::string_view text);
  Secret text() const;  // the groups, joined by '-'
  const Secret& bits() const { return bits_; }

 private:
  explicit RecoveryKey(Secret bits) : bits_(std::move(bits)) {}
  Secret bits_;  // 32 bytes
};

// Makes a new slot object of a random id. `secrets` for a device slot must not hold signing_secret.
Result<Bytes> make_passphrase_slot(const VolumeSecrets& secrets, const Secret& passphrase, KdfCost cost = {});
Result<Bytes> make_recovery_slot(const VolumeSecrets& secrets, const RecoveryKey& key);
// Seals `secrets` (say, with a new epoch added) to the same public key as `old_slot`, under a new slot id.
Result<Bytes> rewrap_slot(const VolumeSecrets& secrets, BytesView old_slot);

// kDenied: the passphrase or key is not this slot's; kCorrupt: it is, but the slot is damaged.
Result<VolumeSecrets> open_passphrase_slot(BytesView object, const Secret& passphrase);
Result<VolumeSecrets> open_recovery_slot(BytesView object, const RecoveryKey& key);

}  // namespace coffer
