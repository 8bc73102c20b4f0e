// The newest checkpoint that this device knows to be good: its own, the one that it came from, or another device's.
//
// Row "Sc" -> version u8 = 1 | root 16 | the root object, to the end.
#pragma once

#include <optional>

#include "base/rows.h"
#include "fs/sync/checkpoint.h"

namespace coffer {

struct KnownCheckpoint {
  ObjectId root;
  Checkpoint checkpoint;
};

RowKey checkpoint_row_key();
// Row "Sn", empty: this device is to write one that shares nothing with those before, as soon as it can: the newest in the store is
// damaged.
RowKey checkpoint_wanted_key();
Bytes encode_checkpoint_row(const ObjectId& root, BytesView object);
// kTooNew, and whatever open_checkpoint says.
Result<KnownCheckpoint> decode_checkpoint_row(BytesView row, const VolumeId& volume, const KeysOfEpoch& keys,
                                              const PublicKey& volume_signing);

}  // namespace coffer
