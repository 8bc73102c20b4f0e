#include "crypto/slot_statement.h"

#include <algorithm>

#include "crypto/aead.h"
#include "crypto/associated_data.h"
#include "crypto/derive.h"
#include "crypto/require.h"

namespace coffer {
namespace {

constexpr uint64_t kNotesId = 5;  // sub-key of a volume key; the others are in keys.cc
constexpr std::string_view kStatementText{"coffer slot\0", 12};

Bytes note_data(const VolumeId& volume, Epoch epoch, const ObjectId& slot) {
  return associated_data(Sealed::kSlotNote, volume, epoch, slot.view(), 0);
}

AeadKey note_key(const Secret& volume_key) { return AeadKey(internal::derive_key(volume_key, kNotesId)); }

// The length of the UTF-8 character at the beginning; 0 when there is none.
size_t character_size(std::string_view s) {
  auto byte = [&s](size_t i) { return static_cast<uint8_t>(s[i]); };
  size_t size = byte(0) < 0x80   ? 1
                : byte(0) < 0xC2 ? 0
                : byte(0) < 0xE0 ? 2
                : byte(0) < 0xF0 ? 3
                : byte(0) < 0xF5 ? 4
                                 : 0;
  if (size == 0 || s.size() < size) return 0;
  for (size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  // Longer than needed, surrogates, beyond Unicode, and the control characters U+0080 to U+009F.
  if ((byte(0) == 0xE0 && byte(1) < 0xA0) || (byte(0) == 0xED && byte(1) >= 0xA0) ||
      (byte(0) == 0xF0 && byte(1) < 0x90) || (byte(0) == 0xF4 && byte(1) >= 0x90) ||
      (byte(0) == 0xC2 && byte(1) < 0xA0))
    return 0;
  return size;
}

}  // namespace

bool valid_slot_label(std::string_view label) {
  if (label.size() > kSlotLabelMax) return false;
  while (!label.empty()) {
    size_t size = character_size(label);
    if (size == 0 || static_cast<uint8_t>(label[0]) < 0x20 || label[0] == 0x7F) return false;
    label.remove_prefix(size);
  }
  return true;
}

namespace internal {

void append_statement(Bytes& object, const ObjectId& slot, const VolumeSecrets& secrets, const SlotNote& note) {
  const auto& [epoch, volume_key] = *secrets.epoch_keys.rbegin();
  Bytes plain;
  Writer p(plain);
  p.string(note.label);
  p.u64(static_cast<uint64_t>(note.made.ns));
  p.string(note.device);
  require(plain.size() <= kNoteSize, "slot note larger than reckoned");
  plain.resize(kNoteSize);

  Writer w(object);
  w.u32(epoch);
  w.raw(note_key(volume_key).seal(note_data(secrets.volume, epoch, slot), plain));
  w.id(secrets.signing_secret->sign(volume_message(kStatementText, secrets.volume, object)));
}

bool statement_holds(BytesView object, const VolumeId& volume, const PublicKey& signing_public) {
  BytesView before = object.first(object.size() - Signature::kSize);
  return verify(signing_public, volume_message(kStatementText, volume, before),
                Signature::from(object.last(Signature::kSize)));
}

Epoch statement_epoch(BytesView statement) { return Reader(statement).u32(); }

Result<SlotNote> open_note(BytesView statement, const ObjectId& slot, const VolumeSecrets& secrets) {
  Reader r(statement);
  Epoch epoch = r.u32();
  BytesView sealed = r.raw(kNoteSize + kSealOverhead);
  auto key = secrets.epoch_keys.find(epoch);
  if (key == secrets.epoch_keys.end())
    return fail(Code::kNotFound, "slot: made for epoch " + std::to_string(epoch) + ", whose key is not at hand");
  auto plain = note_key(key->second).open(note_data(secrets.volume, epoch, slot), sealed);
  if (!plain) return fail(Code::kCorrupt, "slot: its note is damaged");
  Reader n(*plain);
  SlotNote note;
  note.label = n.string();
  note.made.ns = static_cast<int64_t>(n.u64());
  note.device = n.string();
  BytesView rest = n.raw(n.remaining());
  if (!n.ok() || !valid_slot_label(note.label) || !valid_slot_label(note.device) ||
      !std::ranges::all_of(rest, [](uint8_t b) { return b == 0; }))
    return fail(Code::kCorrupt, "slot: its note is damaged");
  return note;
}

}  // namespace internal
}  // namespace coffer
