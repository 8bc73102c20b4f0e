// Frames: the unit of content encryption, up to 64 KiB of plaintext.
//
// Sealed frame = AEAD( method u8 | body ), associated data kFrame with the pack's id and the frame's offset in the
// pack. method 0: body is the plaintext. method 1: body is one zstd frame of it (used when it saves at least 1/16).
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "crypto/key_ring.h"

namespace coffer {

inline constexpr size_t kFrameMax = 64 << 10;  // plaintext bytes

// The most sealed bytes that a frame takes: an incompressible one.
inline constexpr size_t kSealedFrameMax = kFrameMax + 1 + kSealOverhead;

// Where a frame lies and what its sealed bytes hash to.
struct FrameRef {
  ObjectId pack;
  uint32_t offset = 0;  // in the pack
  uint32_t length = 0;  // sealed bytes
  Hash hash;            // BLAKE2b-256 of the sealed bytes
  auto operator<=>(const FrameRef&) const = default;
};

// Appends the sealed frame to `out`; `plain` has 1..kFrameMax bytes.
void seal_frame(const EpochKeys& keys, const VolumeId& volume, const ObjectId& pack, uint32_t offset, BytesView plain,
                Bytes& out);
// Opens into `plain` exactly; kCorrupt when it does not authenticate, decompress, or has another length than `plain`
// (which is then zeroed).
Result<void> open_frame(const EpochKeys& keys, const VolumeId& volume, const ObjectId& pack, uint32_t offset,
                        BytesView sealed, MutableBytes plain);
// With whichever keys open it, the newest first, and says which.
Result<const EpochKeys*> open_frame(const KeyRing& keys, const VolumeId& volume, const ObjectId& pack, uint32_t offset,
                                    BytesView sealed, MutableBytes plain);

// seal_frame in two steps, for who must know the sealed length before the place: prepare_frame leaves in `frame` (whose
// content is replaced) the compressed plaintext where sealing in place wants it, its size being the sealed length;
// seal_prepared_frame then seals it for its place.
void prepare_frame(BytesView plain, Bytes& frame);
void seal_prepared_frame(const EpochKeys& keys, const VolumeId& volume, const ObjectId& pack, uint32_t offset,
                         MutableBytes frame);

}  // namespace coffer
