#include "cache/frame.h"

#include <cassert>
#include <cstring>
#include <string>

#include "cache/compression.h"
#include "crypto/associated_data.h"

namespace coffer {
namespace {

constexpr uint8_t kStored = 0;
constexpr uint8_t kZstd = 1;
constexpr size_t kNonceSize = 24;
constexpr size_t kBody = kNonceSize + 1;  // where the body lies in a prepared frame

}  // namespace

void prepare_frame(BytesView plain, Bytes& frame) {
  assert(!plain.empty() && plain.size() <= kFrameMax);
  frame.resize(plain.size() + 1 + kSealOverhead);
  size_t n = compress(plain, MutableBytes(frame).subspan(kBody, worthwhile(plain.size())));
  if (n != 0) {
    frame[kNonceSize] = kZstd;
    frame.resize(n + 1 + kSealOverhead);
  } else {
    frame[kNonceSize] = kStored;
    std::memcpy(frame.data() + kBody, plain.data(), plain.size());
  }
}

void seal_prepared_frame(const EpochKeys& keys, const VolumeId& volume, const ObjectId& pack, uint32_t offset,
                         MutableBytes frame) {
  keys.frames().seal_in_place(associated_data(Sealed::kFrame, volume, keys.epoch(), pack.view(), offset), frame);
}

void seal_frame(const EpochKeys& keys, const VolumeId& volume, const ObjectId& pack, uint32_t offset, BytesView plain,
                Bytes& out) {
  Bytes frame;
  prepare_frame(plain, frame);
  seal_prepared_frame(keys, volume, pack, offset, frame);
  out.insert(out.end(), frame.begin(), frame.end());
}

Result<void> open_frame(const EpochKeys& keys, const VolumeId& volume, const ObjectId& pack, uint32_t offset,
                        BytesView sealed, MutableBytes plain) {
  auto result = [&]() -> Result<void> {
    if (sealed.size() <= 1 + kSealOverhead || sealed.size() > kSealedFrameMax)
      return fail(Code::kCorrupt, "frame: impossible length " + std::to_string(sealed.size()));
    thread_local Bytes opened;
    opened.resize(sealed.size() - kSealOverhead);
    TRYV(
        keys.frames().open(associated_data(Sealed::kFrame, volume, keys.epoch(), pack.view(), offset), sealed, opened));
    BytesView body = BytesView(opened).subspan(1);
    switch (opened[0]) {
      case kStored:
        if (body.size() != plain.size())
          return fail(Code::kCorrupt, "frame: holds " + std::to_string(body.size()) + " bytes, expected " +
                                          std::to_string(plain.size()));
        std::memcpy(plain.data(), body.data(), body.size());
        return {};
      case kZstd:
        if (auto done = decompress(body, plain); !done) return fail(done.error().in("frame"));
        return {};
      default:
        return fail(Code::kCorrupt, "frame: unknown method " + std::to_string(opened[0]));
    }
  }();
  if (!result && !plain.empty()) std::memset(plain.data(), 0, plain.size());
  return result;
}

Result<const EpochKeys*> open_frame(const KeyRing& keys, const VolumeId& volume, const ObjectId& pack, uint32_t offset,
                                    BytesView sealed, MutableBytes plain) {
  const EpochKeys& newest = keys.newest();
  auto opened = open_frame(newest, volume, pack, offset, sealed, plain);
  if (opened) return &newest;
  if (keys.size() > 1)
    for (const EpochKeys* older : keys.all())
      if (older != &newest && open_frame(*older, volume, pack, offset, sealed, plain)) return older;
  const size_t epochs = keys.size();
  return fail(opened.error().in(epochs == 1 ? "the key of the only epoch that is known does not open it"
                                            : "none of the keys of " + std::to_string(epochs) + " epochs opens it"));
}

}  // namespace coffer
