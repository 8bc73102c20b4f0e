// When a checkpoint is worth its upload: pure arithmetic.
#pragma once

#include <algorithm>
#include <cstdint>

namespace coffer {

// What a new device has to do beyond the newest checkpoint.
struct ReplayCost {
  uint64_t records = 0, bytes = 0;
};

// What a request costs, as bytes.
inline constexpr uint64_t kRequestWorth = 128 << 10;

// `at_least`: bytes, counting each record as a request; 0: never. A large state is written anew less often: when replaying
// costs half of loading it.
inline bool checkpoint_due(const ReplayCost& replay, uint64_t last_checkpoint_bytes, uint64_t at_least) {
  if (at_least == 0 || replay.records == 0) return false;
  return replay.bytes + replay.records * kRequestWorth >= std::max(at_least, last_checkpoint_bytes / 2);
}

}  // namespace coffer
