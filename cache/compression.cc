#include "cache/compression.h"

#include <zstd.h>

#include <memory>
#include <string>

namespace coffer {
namespace {

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

}  // namespace

size_t compress(BytesView plain, MutableBytes out) {
  if (plain.size() < kCompressMin || compressor() == nullptr) return 0;
  size_t n = ZSTD_compressCCtx(compressor(), out.data(), out.size(), plain.data(), plain.size(), kZstdLevel);
  return ZSTD_isError(n) ? 0 : n;
}

Result<void> decompress(BytesView body, MutableBytes plain) {
  // One frame, no more and no less, and it says how long it is: anything else was not written by compress.
  if (ZSTD_getFrameContentSize(body.data(), body.size()) != plain.size() ||
      ZSTD_findFrameCompressedSize(body.data(), body.size()) != body.size())
    return fail(Code::kCorrupt, "not the compressed form of " + std::to_string(plain.size()) + " bytes");
  if (decompressor() == nullptr) return fail(Code::kInternal, "no memory to decompress");
  size_t n = ZSTD_decompressDCtx(decompressor(), plain.data(), plain.size(), body.data(), body.size());
  if (ZSTD_isError(n) || n != plain.size()) return fail(Code::kCorrupt, "does not decompress");
  return {};
}

}  // namespace coffer
