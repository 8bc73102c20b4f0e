// Pack indexes: the end of an object from the store, and what a former device may have sealed there.
#include "cache/pack_index.h"

#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {
namespace {

const VolumeId kVolume;
const ObjectId kPack;

}  // namespace

// what u8: 0, a whole pack; else: offset of the index u32 | its plaintext
void run(BytesView input) {
  Input in(input);
  if (in.byte() == 0) {
    (void)read_pack_index(in.rest(), kPack, kVolume, epoch_keys());
    return;
  }
  Reader reader(in.rest());
  uint32_t offset = reader.u32();
  if (!reader.ok()) return;
  Bytes end = seal_pack_end(in.rest().subspan(4), offset, kPack, kVolume, epoch_keys());
  auto place =
      open_trailer(BytesView(end).last(kPackTrailer), uint64_t{offset} + end.size(), kPack, kVolume, epoch_keys());
  if (!place) return;
  require(place->offset == offset && place->length == end.size() - kPackTrailer, "the index is where its trailer says");
  auto entries = open_index(BytesView(end).first(place->length), offset, kPack, kVolume, epoch_keys());
  if (!entries) return;
  for (const IndexEntry& e : *entries)
    require(uint64_t{e.frame.offset} + e.frame.length <= offset, "frames lie before the index");
  Bytes again = seal_pack_end(encode_index(*entries), offset, kPack, kVolume, epoch_keys());
  require(must(open_index(BytesView(again).first(again.size() - kPackTrailer), offset, kPack, kVolume, epoch_keys())) ==
              *entries,
          "an index comes back");
}

}  // namespace coffer::fuzz
