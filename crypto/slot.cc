#include "crypto/slot.h"

#include <sodium.h>

#include <algorithm>

#include "crypto/associated_data.h"
#include "crypto/derive.h"
#include "crypto/random.h"
#include "crypto/require.h"
#include "crypto/slot_contents.h"
#include "crypto/slot_statement.h"
#include "crypto/wrapping.h"

namespace coffer {
namespace {

constexpr std::string_view kMagic = "coffslot";
constexpr uint16_t kVersion = 2;
constexpr uint16_t kVersionWithoutStatement = 1;
constexpr size_t kHeaderSize = 179;

constexpr KdfCost kLeastCost{8 * 1024, 1};
constexpr KdfCost kMostCost{4 * 1024 * 1024, 64};

constexpr std::string_view kRecoveryText = "coffer recovery slot";
constexpr std::string_view kBindingText = "coffer slot binding";
constexpr std::string_view kCommitmentText = "coffer slot commitment";

using Binding = FixedBytes<32, struct BindingTag>;
using internal::Commitment;

struct ParsedSlot {
  SlotHeader header;
  Binding binding;
  PublicKey ephemeral;
  Commitment commitment;
  BytesView covered;  // all before `sealed`
  BytesView sealed;
  BytesView statement;  // empty in version 1
};

bool within_bounds(const KdfCost& cost) {
  return cost.memory_kib >= kLeastCost.memory_kib && cost.memory_kib <= kMostCost.memory_kib &&
         cost.passes >= kLeastCost.passes && cost.passes <= kMostCost.passes;
}

Result<ParsedSlot> parse(BytesView object) {
  if (object.size() > kMaxSlotSize) return fail(Code::kCorrupt, "slot: too large");
  Reader r(object);
  if (as_string(r.raw(kMagic.size())) != kMagic) return fail(Code::kCorrupt, "slot: not a slot");
  uint16_t version = r.u16();
  if (!r.ok() || version == 0) return fail(Code::kCorrupt, "slot: not a slot");
  if (version > kVersion) return fail(Code::kTooNew, "slot: made by a later version of coffer");

  ParsedSlot slot;
  uint8_t kind = r.u8();
  slot.header.kind = static_cast<SlotKind>(kind);
  slot.header.cost.memory_kib = r.u32();
  slot.header.cost.passes = r.u32();
  if (BytesView salt = r.raw(slot.header.salt.size()); r.ok()) std::ranges::copy(salt, slot.header.salt.begin());
  slot.header.id = r.id<ObjectId>();
  slot.header.slot_public = r.id<PublicKey>();
  slot.binding = r.id<Binding>();
  slot.ephemeral = r.id<PublicKey>();
  slot.commitment = r.id<Commitment>();
  size_t statement_size = version == kVersionWithoutStatement ? 0 : internal::kStatementSize;
  if (!r.ok() || r.remaining() < statement_size) return fail(Code::kCorrupt, "slot: not a whole slot");
  size_t sealed_size = r.remaining() - statement_size;
  slot.sealed = r.raw(sealed_size);
  slot.statement = r.raw(statement_size);
  if (!r.ok() || sealed_size < kSealOverhead + kSlotPadding || (sealed_size - kSealOverhead) % kSlotPadding != 0)
    return fail(Code::kCorrupt, "slot: not a whole slot");
  slot.covered = object.first(kHeaderSize);
  if (statement_size != 0) slot.header.epoch = internal::statement_epoch(slot.statement);

  switch (slot.header.kind) {
    case SlotKind::kPassphrase:
      if (!within_bounds(slot.header.cost)) return fail(Code::kCorrupt, "slot: key derivation costs out of bounds");
      break;
    case SlotKind::kRecoveryKey:
    case SlotKind::kDevice:
      if (slot.header.cost.memory_kib != 0 || slot.header.cost.passes != 0)
        return fail(Code::kCorrupt, "slot: key derivation costs where none are used");
      break;
    default:
      if (kind == 0) return fail(Code::kCorrupt, "slot: not a slot");
      return fail(Code::kTooNew, "slot: of a kind that this version of coffer does not know");
  }
  return slot;
}

Bytes encode_header(const SlotHeader& h, const Binding& binding, const PublicKey& ephemeral, const Commitment& commit) {
  Bytes out;
  out.reserve(kHeaderSize);
  Writer w(out);
  w.raw(as_bytes(kMagic));
  w.u16(kVersion);
  w.u8(static_cast<uint8_t>(h.kind));
  w.u32(h.cost.memory_kib);
  w.u32(h.cost.passes);
  w.raw(h.salt);
  w.id(h.id);
  w.id(h.slot_public);
  w.id(binding);
  w.id(ephemeral);
  w.id(commit);
  internal::require(out.size() == kHeaderSize, "slot header of the wrong size");
  return out;
}

// What a passphrase or recovery key gives for one slot.
struct SlotSecret {
  Secret private_key{32};  // X25519
  PublicKey public_key;
  Secret binding_key{32};
};

SlotSecret split(const Secret& derived64) {
  SlotSecret s;
  BytesView both = derived64.view();
  crypto_box_seed_keypair(s.public_key.bytes.data(), s.private_key.data().data(), both.data());
  std::ranges::copy(both.subspan(32), s.binding_key.data().begin());
  return s;
}

Result<SlotSecret> from_passphrase(const Secret& passphrase, const SlotHeader& h) {
  static_assert(crypto_pwhash_SALTBYTES == std::tuple_size_v<decltype(SlotHeader::salt)>);
  Secret derived(64);
  // An empty secret has no address, and libsodium wants one.
  const char* text = passphrase.empty() ? "" : reinterpret_cast<const char*>(passphrase.view().data());
  if (crypto_pwhash(derived.data().data(), derived.size(), text, passphrase.size(), h.salt.data(), h.cost.passes,
                    size_t{h.cost.memory_kib} * 1024, crypto_pwhash_ALG_ARGON2ID13) != 0)
    return fail(Code::kNoSpace,
                "slot: no memory for the key derivation, which takes " + std::to_string(h.cost.memory_kib) + " KiB");
  return split(derived);
}

SlotSecret from_recovery_key(const RecoveryKey& key, const SlotHeader& h) {
  Secret derived(64);
  internal::keyed_blake2b(derived.data(), key.bits(), {as_bytes(kRecoveryText), h.salt});
  return split(derived);
}

Binding bind(const SlotSecret& slot_secret, const VolumeId& volume, const PublicKey& signing_public) {
  Binding b;
  internal::keyed_blake2b(b.bytes, slot_secret.binding_key,
                          {as_bytes(kBindingText), volume.view(), signing_public.view()});
  return b;
}

// The X25519 exchange of either side, hashed; nothing when `theirs` is a point of small order.
std::optional<Secret> wrapping_key(const Secret& mine, const PublicKey& theirs, const PublicKey& ephemeral,
                                   const SlotHeader& h) {
  return internal::wrapping_key(mine, theirs, {ephemeral.view(), h.slot_public.view(), h.id.view()});
}

Bytes slot_associated_data(const ObjectId& id, BytesView header) {
  return associated_data(Sealed::kSlot, VolumeId{}, 0, id.view(), 0, header);
}

Result<void> check_complete(const VolumeSecrets& secrets) {
  if (!secrets.signing_secret) return fail(Code::kInvalid, "slot: the volume signing key is needed to make one");
  if (secrets.signing_secret->public_key() != secrets.signing_public)
    return fail(Code::kInvalid, "slot: the volume signing key is another volume's");
  if (secrets.epoch_keys.empty()) return fail(Code::kInvalid, "slot: no volume key");
  for (const auto& [epoch, key] : secrets.epoch_keys)
    if (epoch == 0 || key.size() != 32) return fail(Code::kInvalid, "slot: not a volume key");
  return {};
}

Result<Bytes> seal(const VolumeSecrets& secrets, const SlotHeader& h, const Binding& binding, const SlotNote& note) {
  TRYV(check_complete(secrets));
  if (!valid_slot_label(note.label) || !valid_slot_label(note.device))
    return fail(Code::kInvalid,
                "slot: a label has at most " + std::to_string(kSlotLabelMax) + " bytes, and no control characters");
  PublicKey ephemeral;
  Secret ephemeral_private(crypto_box_SECRETKEYBYTES);
  crypto_box_keypair(ephemeral.bytes.data(), ephemeral_private.data().data());
  auto wrapping = wrapping_key(ephemeral_private, h.slot_public, ephemeral, h);
  if (!wrapping) return fail(Code::kCorrupt, "slot: its public key is none");

  Bytes object = encode_header(h, binding, ephemeral, internal::commit_to(*wrapping, kCommitmentText));
  Bytes ad = slot_associated_data(h.id, object);
  Secret contents = encode_slot_contents(secrets, h.kind, object);
  object.resize(kHeaderSize + contents.size() + kSealOverhead);
  if (object.size() + internal::kStatementSize > kMaxSlotSize) return fail(Code::kTooLarge, "slot: too many epochs");
  AeadKey(std::move(*wrapping)).seal(ad, contents.view(), MutableBytes(object).subspan(kHeaderSize));
  internal::append_statement(object, h.id, secrets, note);
  return object;
}

Result<VolumeSecrets> open(const ParsedSlot& slot, const SlotSecret& slot_secret) {
  const SlotHeader& h = slot.header;
  if (sodium_memcmp(slot_secret.public_key.bytes.data(), h.slot_public.bytes.data(), PublicKey::kSize) != 0)
    return fail(Code::kDenied, "slot: this passphrase or key does not open it");
  // From here on the secret is the slot's, and whatever does not fit is damage or forgery.
  auto wrapping = wrapping_key(slot_secret.private_key, slot.ephemeral, slot.ephemeral, h);
  if (!wrapping || !internal::commits_to(slot.commitment, *wrapping, kCommitmentText))
    return fail(Code::kCorrupt, "slot: damaged");
  Secret plain(slot.sealed.size() - kSealOverhead);
  if (!AeadKey(std::move(*wrapping)).open(slot_associated_data(h.id, slot.covered), slot.sealed, plain.data()))
    return fail(Code::kCorrupt, "slot: damaged");
  TRY(VolumeSecrets secrets, decode_slot_contents(plain.view(), h.kind, slot.covered));
  if (h.kind == SlotKind::kDevice) return secrets;
  Binding expected = bind(slot_secret, secrets.volume, secrets.signing_public);
  if (sodium_memcmp(expected.bytes.data(), slot.binding.bytes.data(), Binding::kSize) != 0)
    return fail(Code::kCorrupt, "slot: made for another volume than it opens");
  return secrets;
}

SlotHeader new_header(SlotKind kind, KdfCost cost) {
  SlotHeader h;
  h.kind = kind;
  h.cost = cost;
  random_bytes(h.salt);
  h.id = random_id<ObjectId>();
  return h;
}

}  // namespace

Result<SlotHeader> parse_slot_header(BytesView object) {
  TRY(ParsedSlot slot, parse(object));
  return slot.header;
}

Result<Bytes> make_passphrase_slot(const VolumeSecrets& secrets, const Secret& passphrase, KdfCost cost,
                                   const SlotNote& note) {
  if (passphrase.empty()) return fail(Code::kInvalid, "slot: the passphrase is empty");
  if (!within_bounds(cost)) return fail(Code::kInvalid, "slot: key derivation costs out of bounds");
  SlotHeader h = new_header(SlotKind::kPassphrase, cost);
  TRY(SlotSecret slot_secret, from_passphrase(passphrase, h));
  h.slot_public = slot_secret.public_key;
  return seal(secrets, h, bind(slot_secret, secrets.volume, secrets.signing_public), note);
}

Result<Bytes> make_recovery_slot(const VolumeSecrets& secrets, const RecoveryKey& key, const SlotNote& note) {
  SlotHeader h = new_header(SlotKind::kRecoveryKey, KdfCost{0, 0});
  SlotSecret slot_secret = from_recovery_key(key, h);
  h.slot_public = slot_secret.public_key;
  return seal(secrets, h, bind(slot_secret, secrets.volume, secrets.signing_public), note);
}

std::optional<PublicKey> device_slot_key(const PublicKey& device_key) {
  PublicKey out;
  if (crypto_sign_ed25519_pk_to_curve25519(out.bytes.data(), device_key.bytes.data()) != 0) return std::nullopt;
  return out;
}

Result<Bytes> make_device_slot(const VolumeSecrets& secrets, const PublicKey& device_key, const SlotNote& note) {
  SlotHeader h;
  h.kind = SlotKind::kDevice;
  h.cost = {0, 0};
  h.id = random_id<ObjectId>();
  auto slot_public = device_slot_key(device_key);
  if (!slot_public) return fail(Code::kInvalid, "slot: the device's key is none");
  h.slot_public = *slot_public;
  return seal(secrets, h, Binding{}, note);
}

Result<Bytes> rewrap_slot(const VolumeSecrets& secrets, BytesView old_slot) {
  TRY(ParsedSlot old, parse(old_slot));
  SlotNote note;
  if (!old.statement.empty()) {
    TRYV(verify_slot(old_slot, secrets.volume, secrets.signing_public));
    TRY(note, read_slot_note(old_slot, secrets));
  }
  SlotHeader h = old.header;
  h.id = random_id<ObjectId>();
  return seal(secrets, h, old.binding, note);
}

Result<SlotHeader> verify_slot(BytesView object, const VolumeId& volume, const PublicKey& signing_public) {
  TRY(ParsedSlot slot, parse(object));
  if (slot.statement.empty()) return fail(Code::kUnsupported, "slot: of version 1, which bears no signature");
  if (!internal::statement_holds(object, volume, signing_public))
    return fail(Code::kCorrupt, "slot: not made by a member of the volume, or damaged");
  return slot.header;
}

Result<SlotNote> read_slot_note(BytesView object, const VolumeSecrets& secrets) {
  TRY(ParsedSlot slot, parse(object));
  if (slot.statement.empty()) return fail(Code::kUnsupported, "slot: of version 1, which bears no note");
  return internal::open_note(slot.statement, slot.header.id, secrets);
}

Result<VolumeSecrets> open_passphrase_slot(BytesView object, const Secret& passphrase) {
  TRY(ParsedSlot slot, parse(object));
  if (slot.header.kind != SlotKind::kPassphrase) return fail(Code::kDenied, "slot: not a passphrase's");
  TRY(SlotSecret slot_secret, from_passphrase(passphrase, slot.header));
  return open(slot, slot_secret);
}

Result<VolumeSecrets> open_recovery_slot(BytesView object, const RecoveryKey& key) {
  TRY(ParsedSlot slot, parse(object));
  if (slot.header.kind != SlotKind::kRecoveryKey) return fail(Code::kDenied, "slot: not a recovery key's");
  return open(slot, from_recovery_key(key, slot.header));
}

Result<VolumeSecrets> open_device_slot(BytesView object, const SigningKey& device, const VolumeId& volume,
                                       const PublicKey& signing_public) {
  TRY(ParsedSlot slot, parse(object));
  if (slot.header.kind != SlotKind::kDevice) return fail(Code::kDenied, "slot: not a device's");
  if (slot.statement.empty() || !internal::statement_holds(object, volume, signing_public))
    return fail(Code::kCorrupt, "slot: not made by a member of the volume, or damaged");
  SlotSecret mine;
  if (crypto_sign_ed25519_sk_to_curve25519(mine.private_key.data().data(), device.secret().view().data()) != 0)
    return fail(Code::kInternal, "slot: the device's key has no other form");
  crypto_scalarmult_base(mine.public_key.bytes.data(), mine.private_key.view().data());
  TRY(VolumeSecrets secrets, open(slot, mine));
  if (secrets.volume != volume || secrets.signing_public != signing_public)
    return fail(Code::kCorrupt, "slot: belongs to another volume");
  return secrets;
}

}  // namespace coffer
