// Removals of key slots, as laid out in crypto/slot.h.
#include "crypto/slot.h"

namespace coffer {
namespace {

constexpr std::string_view kMagic = "coffgone";
constexpr uint16_t kVersion = 1;
constexpr std::string_view kRemovalText{"coffer slot removal\0", 20};

}  // namespace

Bytes make_slot_removal(const VolumeId& volume, const SigningKey& volume_signing, const ObjectId& slot) {
  Bytes out;
  Writer w(out);
  w.raw(as_bytes(kMagic));
  w.u16(kVersion);
  w.id(slot);
  w.id(volume_signing.sign(volume_message(kRemovalText, volume, slot.view())));
  return out;
}

bool is_slot_removal(BytesView object) { return as_string(object).starts_with(kMagic); }

Result<ObjectId> verify_slot_removal(BytesView object, const VolumeId& volume, const PublicKey& signing_public) {
  Reader r(object);
  bool ours = as_string(r.raw(kMagic.size())) == kMagic;
  uint16_t version = r.u16();
  if (r.ok() && ours && version > kVersion)
    return fail(Code::kTooNew, "slot removal: made by a later version of coffer");
  auto slot = r.id<ObjectId>();
  auto signature = r.id<Signature>();
  if (!ours || version == 0 || !r.at_end() ||
      !verify(signing_public, volume_message(kRemovalText, volume, slot.view()), signature))
    return fail(Code::kCorrupt, "slot removal: not made by a member of the volume, or damaged");
  return slot;
}

}  // namespace coffer
