// What ends a pack: its sealed index and trailer (laid out in cache/pack_store.h). Internal to this layer.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "cache/pack_store.h"
#include "crypto/keys.h"

namespace coffer {

// The index before sealing, zero-padded to a multiple of 256 bytes.
Bytes encode_index(const std::vector<IndexEntry>& entries);

// The sealed index and trailer of a pack whose index starts at `offset`, in one piece: the last bytes of the pack.
Bytes seal_pack_end(BytesView index_plain, uint32_t offset, const ObjectId& pack, const VolumeId& volume,
                    const EpochKeys& keys);

// Where a trailer (kPackTrailer bytes) says that the sealed index of a pack of `pack_size` bytes is. kCorrupt also when
// that is not right before the trailer.
struct IndexPlace {
  uint32_t offset = 0;
  uint32_t length = 0;
};
Result<IndexPlace> open_trailer(BytesView trailer, uint64_t pack_size, const ObjectId& pack, const VolumeId& volume,
                                const EpochKeys& keys);
Result<std::vector<IndexEntry>> open_index(BytesView sealed, uint32_t offset, const ObjectId& pack,
                                           const VolumeId& volume, const EpochKeys& keys);

}  // namespace coffer
