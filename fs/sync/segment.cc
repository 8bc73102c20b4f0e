#include "fs/sync/segment.h"

#include <utility>

#include "cache/compression.h"
#include "crypto/associated_data.h"
#include "crypto/hash.h"
#include "crypto/padding.h"

namespace coffer {

namespace {

constexpr uint8_t kStored = 0, kZstd = 1;
constexpr size_t kHeader = 1 + 1 + 4 + 4;
constexpr size_t kKeyMax = 512;
constexpr uint64_t kCutOneIn = 2048;  // keys: about 256 KiB of rows

Bytes segment_data(const VolumeId& volume, Epoch epoch, const ObjectId& id) {
  return associated_data(Sealed::kSegment, volume, epoch, id.view(), 0);
}

bool begins_segment(std::string_view key) {
  Hash hash = blake2b(as_bytes(key));
  uint64_t n = 0;
  for (size_t i = 0; i < 8; ++i) n |= uint64_t{hash.bytes[i]} << (8 * i);
  return n % kCutOneIn == 0;
}

std::unexpected<Error> bad(std::string what) {
  return fail(Code::kCorrupt, "a segment of the checkpoint " + std::move(what));
}

}  // namespace

std::optional<SegmentContent> SegmentCutter::add(std::string_view key, BytesView value) {
  std::optional<SegmentContent> ended;
  size_t size = content_.plain.size();
  if (size >= kSegmentUpTo || (size >= kSegmentFrom && begins_segment(key))) ended = finish();
  if (content_.rows == 0) content_.first_key = key;
  Writer out(content_.plain);
  out.string(key);
  out.bytes(value);
  ++content_.rows;
  return ended;
}

std::optional<SegmentContent> SegmentCutter::finish() {
  if (content_.rows == 0) return std::nullopt;
  return std::exchange(content_, {});
}

Bytes seal_segment(BytesView plain, const VolumeId& volume, const ObjectId& id, const EpochKeys& keys) {
  Bytes packed(worthwhile(plain.size()));
  packed.resize(compress(plain, packed));
  const bool compressed = !packed.empty();
  BytesView stored = compressed ? BytesView(packed) : plain;
  Bytes content;
  Writer out(content);
  out.u8(kSegmentVersion);
  out.u8(compressed ? kZstd : kStored);
  out.u32(static_cast<uint32_t>(plain.size()));
  out.u32(static_cast<uint32_t>(stored.size()));
  out.raw(stored);
  content.resize(padded_size(4 + content.size() + kSealOverhead) - 4 - kSealOverhead);
  Bytes object;
  object.reserve(4 + content.size() + kSealOverhead);
  Writer o(object);
  o.u32(keys.epoch());
  o.raw(keys.segments().seal(segment_data(volume, keys.epoch(), id), content));
  return object;
}

Result<Bytes> open_segment(BytesView object, const VolumeId& volume, const SegmentInfo& info,
                           const KeysOfEpoch& keys_of) {
  if (object.size() != info.object_size || blake2b(object) != info.sealed)
    return bad("is not the one that was signed: damaged, cut off, or exchanged");
  if (object.size() < 4 + kSealOverhead + kHeader) return bad("is too short");
  Reader in(object);
  Epoch epoch = in.u32();
  const EpochKeys* keys = keys_of(epoch);
  if (!keys)
    return fail(Code::kDenied, "a segment of the checkpoint is sealed with the keys of epoch " + std::to_string(epoch) +
                                   ", which this device does not have");
  auto content = keys->segments().open(segment_data(volume, epoch, info.id), in.raw(in.remaining()));
  if (!content) return bad("does not open: it was made for another place");
  Reader c(*content);
  if (uint8_t version = c.u8(); version > kSegmentVersion)
    return fail(Code::kTooNew,
                "a segment of the checkpoint has version " + std::to_string(version) + ": written by a later coffer");
  uint8_t method = c.u8();
  uint32_t plain_size = c.u32(), stored_size = c.u32();
  BytesView stored = c.raw(stored_size);
  if (!c.ok() || plain_size != info.plain_size || plain_size > kSegmentPlainMax || method > kZstd)
    return bad("has lengths that make no sense");
  Bytes plain(plain_size);
  if (method == kStored) {
    if (stored.size() != plain.size()) return bad("has lengths that make no sense");
    plain.assign(stored.begin(), stored.end());
  } else if (auto done = decompress(stored, plain); !done) {
    return fail(done.error().in("a segment of the checkpoint"));
  }
  if (blake2b(plain) != info.plain) return bad("holds other rows than were signed");
  return plain;
}

Result<void> visit_rows(BytesView plain, const SegmentInfo& info,
                        const std::function<Result<void>(std::string_view key, BytesView value)>& visit) {
  Reader in(plain);
  std::string before;
  uint64_t rows = 0;
  while (in.remaining() > 0) {
    BytesView key_bytes = in.bytes();
    BytesView value = in.bytes();
    std::string_view key = as_string(key_bytes);
    if (!in.ok() || key.empty() || key.size() > kKeyMax || (rows == 0 ? key != info.first_key : key <= before))
      return bad("has rows that make no sense");
    ++rows;
    TRYV(visit(key, value));
    before = key;
  }
  if (!in.ok() || rows != info.rows) return bad("has another number of rows than was signed");
  return {};
}

}  // namespace coffer
