// Frames: decompression of what a former device may have sealed, and the way there and back.
#include "cache/frame.h"

#include "crypto/associated_data.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {
namespace {

const VolumeId kVolume;
const ObjectId kPack;

}  // namespace

// what u8: 0, plaintext to seal and open; else: length of the plaintext u16 | method u8 | body
void run(BytesView input) {
  Input in(input);
  if (in.byte() == 0) {
    if (in.empty() || in.rest().size() > kFrameMax) return;
    Bytes sealed, plain(in.rest().size());
    seal_frame(epoch_keys(), kVolume, kPack, 0, in.rest(), sealed);
    require(sealed.size() <= kSealedFrameMax, "a sealed frame has a largest size");
    must(open_frame(epoch_keys(), kVolume, kPack, 0, sealed, plain));
    require(plain == to_bytes(in.rest()), "a frame comes back");
    return;
  }
  Bytes plain(1 + in.byte() + size_t{256} * in.byte());
  Bytes sealed = epoch_keys().frames().seal(
      associated_data(Sealed::kFrame, kVolume, epoch_keys().epoch(), kPack.view(), 0), in.rest());
  (void)open_frame(epoch_keys(), kVolume, kPack, 0, sealed, plain);
}

}  // namespace coffer::fuzz
