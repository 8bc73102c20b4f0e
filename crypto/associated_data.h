// What a sealed thing is bound to. Everything that coffer seals gets its associated data from this one function, so
// that no sealed bytes open anywhere but in the place that they were made for.
#pragma once

#include "base/bytes.h"
#include "base/ids.h"

namespace coffer {

// The first byte of the associated data. Values are part of the format: never reused.
enum class Sealed : uint8_t {
  kFrame = 1,          // object: pack id; place: offset of the frame in the pack
  kPackIndex = 2,      // object: pack id; place: offset of the index in the pack
  kRecord = 3,         // object: log id; place: number of the record in the log
  kSegment = 4,        // object: segment id
  kCheckpoint = 5,     // object: checkpoint id
  kHead = 6,           // object: log id
  kSlot = 7,           // volume and epoch: zero (not known before it opens); object: slot id; extra: all that precedes
  kSlotNote = 8,       // object: slot id
  kPairingAnswer = 9,  // object: request id; extra: all that precedes
  kRow = 32,           // local: object: zero; place: zero; extra: the row's key
  kJournalBlock = 33,  // local: object: journal file id; place: offset of the block
  kLocalSecret = 34,   // local: extra: which
};

// layout: kind u8 | volume 16 | epoch u32 | object 16 | place u64 | extra, to the end
Bytes associated_data(Sealed kind, const VolumeId& volume, Epoch epoch, BytesView object16, uint64_t place,
                      BytesView extra = {});

}  // namespace coffer
