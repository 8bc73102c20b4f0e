#include "crypto/associated_data.h"

#include "crypto/require.h"

namespace coffer {

Bytes associated_data(Sealed kind, const VolumeId& volume, Epoch epoch, BytesView object16, uint64_t place,
                      BytesView extra) {
  internal::require(object16.size() == 16, "associated data: object id is not 16 bytes");
  Bytes out;
  out.reserve(1 + VolumeId::kSize + 4 + 16 + 8 + extra.size());
  Writer w(out);
  w.u8(static_cast<uint8_t>(kind));
  w.id(volume);
  w.u32(epoch);
  w.raw(object16);
  w.u64(place);
  w.raw(extra);
  return out;
}

}  // namespace coffer
