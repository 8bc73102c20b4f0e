#include "fs/sync/checkpoint_row.h"

namespace coffer {

namespace {
constexpr uint8_t kRowVersion = 1;
}

RowKey checkpoint_row_key() { return {"Sc", 2}; }
RowKey checkpoint_wanted_key() { return {"Sn", 2}; }

Bytes encode_checkpoint_row(const ObjectId& root, BytesView object) {
  Bytes out;
  Writer w(out);
  w.u8(kRowVersion);
  w.id(root);
  w.raw(object);
  return out;
}

Result<KnownCheckpoint> decode_checkpoint_row(BytesView row, const VolumeId& volume, const KeysOfEpoch& keys,
                                              const PublicKey& volume_signing) {
  Reader in(row);
  if (in.u8() > kRowVersion) return fail(Code::kTooNew, "the row of the checkpoint was written by a later coffer");
  KnownCheckpoint out;
  out.root = in.id<ObjectId>();
  if (!in.ok()) return fail(Code::kCorrupt, "the row of the checkpoint is damaged");
  TRY(out.checkpoint, open_checkpoint(in.raw(in.remaining()), volume, out.root, keys, volume_signing));
  return out;
}

}  // namespace coffer
