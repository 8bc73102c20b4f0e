// zstd over whole byte strings: frames, and the segments of checkpoints.
#pragma once

#include "base/bytes.h"
#include "base/result.h"

namespace coffer {

// What compressed bytes must fit into to be worth it: they save at least 1/16.
constexpr size_t worthwhile(size_t plain) { return plain - plain / 16; }

// The number of compressed bytes put into `out`, or 0 when it is not worth it: they do not fit. There is no guessing
// beforehand whether they will: zstd gives up on 64 KiB of noise after 5 us, where sealing them takes 100.
size_t compress(BytesView plain, MutableBytes out);
// One zstd frame of exactly plain.size() bytes, and nothing else; kCorrupt otherwise, with anything in `plain`.
Result<void> decompress(BytesView body, MutableBytes plain);

}  // namespace coffer
