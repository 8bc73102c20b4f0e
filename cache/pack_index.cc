#include "cache/pack_index.h"

#include <algorithm>
#include <string>
#include <utility>

#include "crypto/associated_data.h"

namespace coffer {
namespace {

constexpr uint8_t kIndexVersion = 1;
constexpr size_t kIndexGrain = 256;  // hides the exact length of the names
constexpr uint64_t kTrailerPlace = UINT64_MAX;
// The least that an entry can take: seven one-byte varints, the hash and an empty name.
constexpr size_t kEntryMin = 7 + Hash::kSize + 1;

Bytes index_ad(const ObjectId& pack, const VolumeId& volume, const EpochKeys& keys, uint64_t place) {
  return associated_data(Sealed::kPackIndex, volume, keys.epoch(), pack.view(), place);
}

std::unexpected<Error> corrupt(const ObjectId& pack, std::string_view what) {
  return fail(Code::kCorrupt, "pack " + pack.str() + ": " + std::string(what));
}

void encode_entry(Writer& w, const IndexEntry& e) {
  w.varint(e.frame.offset);
  w.varint(e.frame.length);
  w.id(e.frame.hash);
  w.varint(e.inode);
  w.varint(e.offset);
  w.varint(e.length);
  w.varint(e.version);
  w.varint(e.parent);
  w.string(e.name);
}

// A varint that must fit 32 bits.
uint32_t varint32(Reader& r) {
  uint64_t v = r.varint();
  if (v > UINT32_MAX) r.fail();
  return static_cast<uint32_t>(v);
}

IndexEntry decode_entry(Reader& r, const ObjectId& pack) {
  IndexEntry e;
  e.frame.pack = pack;
  e.frame.offset = varint32(r);
  e.frame.length = varint32(r);
  e.frame.hash = r.id<Hash>();
  e.inode = r.varint();
  e.offset = r.varint();
  e.length = varint32(r);
  e.version = r.varint();
  e.parent = r.varint();
  e.name = r.string();
  return e;
}

}  // namespace

Bytes encode_index(const std::vector<IndexEntry>& entries) {
  Bytes out;
  Writer w(out);
  w.u8(kIndexVersion);
  w.varint(entries.size());
  for (const IndexEntry& e : entries) encode_entry(w, e);
  out.resize((out.size() + kIndexGrain - 1) / kIndexGrain * kIndexGrain);
  return out;
}

Bytes seal_pack_end(BytesView index_plain, uint32_t offset, const ObjectId& pack, const VolumeId& volume,
                    const EpochKeys& keys) {
  size_t index_length = index_plain.size() + kSealOverhead;
  Bytes trailer;
  Writer w(trailer);
  w.u32(keys.epoch());
  w.u32(offset);
  w.u32(static_cast<uint32_t>(index_length));
  w.u32(0);
  Bytes out(index_length + kPackTrailer);
  keys.frames().seal(index_ad(pack, volume, keys, offset), index_plain, MutableBytes(out).first(index_length));
  keys.frames().seal(index_ad(pack, volume, keys, kTrailerPlace), trailer, MutableBytes(out).subspan(index_length));
  return out;
}

Result<IndexPlace> open_trailer(BytesView trailer, uint64_t pack_size, const ObjectId& pack, const VolumeId& volume,
                                const EpochKeys& keys) {
  auto plain = keys.frames().open(index_ad(pack, volume, keys, kTrailerPlace), trailer);
  if (!plain) return corrupt(pack, "its trailer does not open");
  Reader r(*plain);
  Epoch epoch = r.u32();
  IndexPlace place;
  place.offset = r.u32();
  place.length = r.u32();
  uint32_t zero = r.u32();
  if (!r.at_end() || zero != 0 || epoch != keys.epoch() || place.length <= kSealOverhead ||
      uint64_t{place.offset} + place.length + kPackTrailer != pack_size)
    return corrupt(pack, "its trailer makes no sense");
  return place;
}

Result<std::vector<IndexEntry>> open_index(BytesView sealed, uint32_t offset, const ObjectId& pack,
                                           const VolumeId& volume, const EpochKeys& keys) {
  auto plain = keys.frames().open(index_ad(pack, volume, keys, offset), sealed);
  if (!plain) return corrupt(pack, "its index does not open");
  Reader r(*plain);
  uint8_t version = r.u8();
  if (r.ok() && version > kIndexVersion)
    return fail(Code::kTooNew, "pack " + pack.str() + ": index version " + std::to_string(version));
  std::vector<IndexEntry> entries(r.count(kEntryMin));
  for (IndexEntry& e : entries) {
    e = decode_entry(r, pack);
    if (uint64_t{e.frame.offset} + e.frame.length > offset) r.fail();
  }
  BytesView padding = r.raw(r.remaining());
  if (!r.ok() || version == 0 || std::any_of(padding.begin(), padding.end(), [](uint8_t b) { return b != 0; }))
    return corrupt(pack, "its index makes no sense");
  return entries;
}

Result<std::vector<IndexEntry>> read_pack_index(BytesView pack_bytes, const ObjectId& pack, const VolumeId& volume,
                                                const EpochKeys& keys) {
  if (pack_bytes.size() < kPackTrailer) return corrupt(pack, "too short for a pack");
  TRY(IndexPlace place, open_trailer(pack_bytes.last(kPackTrailer), pack_bytes.size(), pack, volume, keys));
  return open_index(pack_bytes.subspan(place.offset, place.length), place.offset, pack, volume, keys);
}

Result<std::vector<IndexEntry>> read_pack_index(BytesView pack_bytes, const ObjectId& pack, const VolumeId& volume,
                                                const KeyRing& keys) {
  auto index = read_pack_index(pack_bytes, pack, volume, keys.newest());
  if (index || keys.size() == 1) return index;
  for (const EpochKeys* older : keys.all())
    if (auto opened = read_pack_index(pack_bytes, pack, volume, *older);
        opened || opened.error().code() == Code::kTooNew)
      return opened;
  return index;
}

}  // namespace coffer
