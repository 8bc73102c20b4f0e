// Checkpoints: objects from whoever runs the store, and what a former device may have sealed: a root's body, a segment's
// rows, and the state that they make.
#include "fs/sync/checkpoint.h"

#include "crypto/associated_data.h"
#include "crypto/hash.h"
#include "crypto/padding.h"
#include "fs/replica/loaded_state.h"
#include "fs/sync/checkpoint_loader.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {
namespace {

const VolumeId kVolume;
const ObjectId kObject;

const EpochKeys* keys_of(Epoch epoch) { return epoch == epoch_keys().epoch() ? &epoch_keys() : nullptr; }

Bytes object_of(Sealed kind, Bytes content) {
  content.resize(padded_size(4 + content.size() + kSealOverhead) - 4 - kSealOverhead);
  Bytes object;
  Writer out(object);
  out.u32(epoch_keys().epoch());
  out.raw(
      epoch_keys().segments().seal(associated_data(kind, kVolume, epoch_keys().epoch(), kObject.view(), 0), content));
  return object;
}

void open_root(BytesView object) {
  auto root = open_checkpoint(object, kVolume, kObject, keys_of, signing_key().public_key());
  if (!root) return;
  Bytes again = must(seal_checkpoint(*root, kVolume, kObject, epoch_keys(), signing_key()));
  require(
      must(open_checkpoint(again, kVolume, kObject, keys_of, signing_key().public_key())).segments == root->segments,
      "a root comes back");
}

SegmentInfo info_of(BytesView object, BytesView plain) {
  SegmentInfo info;
  info.sealed = blake2b(object);
  info.object_size = object.size();
  info.plain = blake2b(plain);
  info.plain_size = plain.size();
  return info;
}

// Rows that go to a state as the loader does it.
void load(BytesView plain) {
  Bytes object = seal_segment(plain, kVolume, kObject, epoch_keys());
  SegmentInfo info = info_of(object, plain);
  require(std::ranges::equal(must(open_segment(object, kVolume, info, keys_of)), plain), "a segment comes back");
  Reader in(plain);
  info.first_key = in.string();
  for (Reader count(plain); count.ok() && count.remaining() > 0; ++info.rows) {
    count.bytes();
    count.bytes();
  }
  LoadedState state;
  auto visited = visit_rows(plain, info, [&](std::string_view key, BytesView value) -> Result<void> {
    if (!key.starts_with('P')) return state.add(key, value);
    TRY(auto place, decode_place(key, value));
    require(place_row_key(place.first) == key && std::ranges::equal(encode_place(place.second), value),
            "a pack's place comes back");
    return {};
  });
  if (visited) (void)must(state.find_faults());
}

}  // namespace

// what u8: 0 a root object, 1 a segment object, 2 the plain content of a root, 3 that of a segment, 4 rows.
void run(BytesView input) {
  Input in(input);
  switch (in.byte()) {
    case 0:
      return open_root(in.rest());
    case 1:
      (void)open_segment(in.rest(), kVolume, info_of(in.rest(), {}), keys_of);
      return;
    case 2:
      return open_root(object_of(Sealed::kCheckpoint, to_bytes(in.rest())));
    case 3: {
      Bytes object = object_of(Sealed::kSegment, to_bytes(in.rest()));
      SegmentInfo info = info_of(object, {});
      Reader sizes(in.rest());
      sizes.u16();
      info.plain_size = sizes.u32();
      (void)open_segment(object, kVolume, info, keys_of);
      return;
    }
    default:
      return load(in.rest());
  }
}

}  // namespace coffer::fuzz
