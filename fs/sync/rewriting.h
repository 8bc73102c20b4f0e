// How far sealing anew is (rewriter.h), and what of it is kept.
//
// Row "Sw" -> version u8 = 1 | done u8 | epoch u32 | asked i64 | finished i64
#pragma once

#include <optional>

#include "base/clock.h"
#include "base/result.h"
#include "base/rows.h"
#include "crypto/keys.h"

namespace coffer {

struct Rewriting {
  enum class Phase {
    kWaiting,     // for the keys of the epoch, or until it is tried again
    kLooking,     // for what is sealed under older ones
    kSealing,     // it anew
    kCheckpoint,  // of the state, which lies under the newest epoch then
    kDone,
  };
  Phase phase = Phase::kWaiting;
  Epoch epoch = 0;  // asked for: everything is to be of this one or a later one
  WallTime asked;
  std::optional<WallTime> finished;
  bool counted = false;      // the sums below are known
  uint64_t done_bytes = 0;   // of frames that were sealed anew in this run, since it was asked for
  uint64_t left_bytes = 0;   // of frames under older epochs
  uint64_t stuck_bytes = 0;  // of these, that cannot be read, here or in the store
};

RowKey rewriting_key();
Bytes encode(const Rewriting& rewriting);
Result<Rewriting> decode_rewriting(BytesView row);

}  // namespace coffer
