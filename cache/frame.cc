#include "cache/frame.h"

#include <zstd.h>

#include <cassert>
#include <cstring>
#include <memory>
#include <string>

#include "crypto/associated_data.h"

namespace coffer {
namespace {

constexpr uint8_t kStored = 0;
constexpr uint8_t kZstd = 1;
constexpr size_t kNonceSize = 24;
constexpr size_t kBody = kNonceSize + 1;  // where the body lies in a prepared frame

constexpr int kZstdLevel = 1;
constexpr size_t kCompressMin = 128;  // below this a zstd frame's own header eats the gain
struct FreeCCtx {
  void operator()(ZSTD_CCtx* c) const { ZSTD_freeCCtx(c); }
};
struct FreeDCtx {
  void operator()(ZSTD_DCtx* d) const { ZSTD_freeDCtx(d); }
};

// One context per thread: making one costs more than compressing a frame. Null when there is no memory for it.
ZSTD_CCtx* compressor() {
  thread_local std::unique_ptr<ZSTD_CCtx, FreeCCtx> context(ZSTD_createCCtx());
  return context.get();
}

ZSTD_DCtx* decompressor() {
  thread_local std::unique_ptr<ZSTD_DCtx, FreeDCtx> context(ZSTD_createDCtx());
  return context.get();
}

// What compressed bytes must fit into to be worth it.
size_t worthwhile(size_t plain) { return plain - plain / 16; }

// The number of compressed bytes put into `out`, or 0 when it is not worth it. There is no guessing beforehand whether it
// will be: zstd gives up on 64 KiB of noise after 5 us, where sealing them takes 100.
size_t compress(BytesView plain, MutableBytes out) {
  if (plain.size() < kCompressMin || compressor() == nullptr) return 0;
  size_t n = ZSTD_compressCCtx(compressor(), out.data(), out.size(), plain.data(), plain.size(), kZstdLevel);
  return ZSTD_isError(n) ? 0 : n;
}

Result<void> decompress(BytesView body, MutableBytes plain) {
  // One frame, no more and no less, and it says how long it is: anything else was not written by seal_frame.
  if (ZSTD_getFrameContentSize(body.data(), body.size()) != plain.size() ||
      ZSTD_findFrameCompressedSize(body.data(), body.size()) != body.size())
    return fail(Code::kCorrupt, "frame: not the compressed form of " + std::to_string(plain.size()) + " bytes");
  if (decompressor() == nullptr) return fail(Code::kInternal, "frame: no memory to decompress");
  size_t n = ZSTD_decompressDCtx(decompressor(), plain.data(), plain.size(), body.data(), body.size());
  if (ZSTD_isError(n) || n != plain.size()) return fail(Code::kCorrupt, "frame: does not decompress");
  return {};
}

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
        return decompress(body, plain);
      default:
        return fail(Code::kCorrupt, "frame: unknown method " + std::to_string(opened[0]));
    }
  }();
  if (!result && !plain.empty()) std::memset(plain.data(), 0, plain.size());
  return result;
}

}  // namespace coffer
