// Decides whether a record that opened may be applied: it is its author's, it follows what is here, it does not backdate.
#pragma once

#include <optional>

#include "base/result.h"
#include "crypto/keys.h"
#include "fs/sync/log_tails.h"
#include "fs/sync/record.h"

namespace coffer {

// What has to be applied first. Only the place is trusted to exist because a verified record says so.
struct Awaited {
  LogId log;
  uint64_t number = 0;
  auto operator<=>(const Awaited&) const = default;
};

// nullopt: it may be applied now, after what `tails` holds. An Awaited: its signature holds, and it comes after a record
// that is not here. kCorrupt: it is forged, backdated, contradicts what is here, or comes after the end of its log.
Result<std::optional<Awaited>> verify_record(const OpenedRecord& opened, const TailView& tails, const VolumeId& volume,
                                             const PublicKey& volume_signing);

// 1 + the greatest stamp of what comes before: the newest record of the log (0: none), the predecessor, the heads.
uint64_t next_stamp(uint64_t previous, std::span<const uint64_t> quoted);

}  // namespace coffer
