// Checkpoints: the whole state after some records, so that a new device need not replay them. An object obj/<..>/<root>
// lists the segments (segment.h) that hold the state's rows.
//
//     0  epoch u32                  of the keys that it is sealed with
//     4  AEAD( body length u32 | body | zeros ), to the end; the object has a padded size
// body:
//   version u16 | stamp u64 | records u64 | author's time i64, ns since 1970 | author's certificate (crypto/keys.h)
//   | its vouchers, in version 2: there are some; 1: there are none | rows u64, of all segments
//   | count varint | count x ( segment 16 | hash of the object 32 | hash of the plain content 32
//                            | object size varint | plain size varint | rows varint | first key string ), by first key
//   | signature 64: Ed25519 by the device's key over BLAKE2b-256 of
//         "coffer checkpoint" 0x00 | volume 16 | root 16 | the body before the signature
//
// Associated data: kCheckpoint, the root's id, place 0.
//
// A checkpoint decides nothing: it is what a member of the volume says the records add up to. Its rows are those of
// fs/model that can be looked at (I, E, L, C, B, X), where packs are (P pack), and where the logs are (St and Sr, see
// log_tails.h). It is made when every record with changes is below the stable line, so that there is nothing of what
// changes leave behind (fs/model/remains.h) in it: no record that comes after it can need that.
#pragma once

#include <vector>

#include "base/clock.h"
#include "fs/sync/segment.h"

namespace coffer {

inline constexpr uint16_t kCheckpointVersion = 2;
inline constexpr size_t kCheckpointMax = 64 << 20;  // of the root object; larger ones are refused unread

struct Checkpoint {
  uint64_t stamp = 0;    // the greatest of the records that it includes
  uint64_t records = 0;  // how many these are, all logs together
  WallTime when;
  DeviceCertificate certificate;  // of its author
  std::vector<SegmentInfo> segments;

  uint64_t rows() const;
  uint64_t object_bytes() const;  // of all segments
};

// Signs and seals it. kTooLarge: more than kCheckpointMax.
Result<Bytes> seal_checkpoint(const Checkpoint& checkpoint, const VolumeId& volume, const ObjectId& root,
                              const EpochKeys& keys, const SigningKey& device);
// Opens an object that is said to be the root `root`, and checks that a member of the volume signed it. kUnavailable: it
// may not be whole yet; kCorrupt; kTooNew; kDenied: sealed with keys that this machine does not have.
Result<Checkpoint> open_checkpoint(BytesView object, const VolumeId& volume, const ObjectId& root,
                                   const KeysOfEpoch& keys, const PublicKey& volume_signing);

}  // namespace coffer
