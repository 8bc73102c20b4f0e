// Key slots: the object from whoever runs the store, and what it seals, which anybody can have sealed.
#include "crypto/slot.h"

#include "crypto/slot_contents.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {

void run(BytesView input) {
  Input in(input);
  uint8_t what = in.byte();
  if (what == 0) {
    const VolumeId volume = VolumeId::from(Bytes(VolumeId::kSize, 1));
    const PublicKey signing = PublicKey::from(Bytes(PublicKey::kSize, 2));
    auto header = parse_slot_header(in.rest());
    require(header || !verify_slot(in.rest(), volume, signing), "what is no slot does not verify");
    (void)is_slot_removal(in.rest());
    (void)verify_slot_removal(in.rest(), volume, signing);
    return;
  }
  const Bytes header(179, 7);
  auto kind = static_cast<SlotKind>(what);
  auto secrets = decode_slot_contents(in.rest(), kind, header);
  if (!secrets) return;
  require(!secrets->epoch_keys.empty(), "secrets have a key");
  require(secrets->signing_secret.has_value() == (kind != SlotKind::kDevice),
          "only a device's slot has no signing key");
  if (secrets->signing_secret && in.rest().size() % kSlotPadding == 0) {  // as an object always has it
    Secret again = encode_slot_contents(*secrets, kind, header);
    require(again.equal(Secret(in.rest())), "slot contents have one form");
  }
}

}  // namespace coffer::fuzz
