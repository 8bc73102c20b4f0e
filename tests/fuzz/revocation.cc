// Revocations of devices: the object from whoever runs the store, and the row of a checkpoint.
#include "fs/sync/revocation.h"

#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {

void run(BytesView input) {
  Input in(input);
  const VolumeId volume = VolumeId::from(Bytes(VolumeId::kSize, 1));
  if (in.byte() == 0) {
    (void)verify_revocation(in.rest(), volume, signing_key().public_key());
    return;
  }
  // What is signed is taken as it is; as an object it has no id yet, and no signature.
  auto row = Revocations::decode(in.rest());
  if (!row) return;
  const Bytes again = row->encode();
  require(must(Revocations::decode(again)).encode() == again, "revocations have one form");
}

}  // namespace coffer::fuzz
