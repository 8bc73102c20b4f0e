// Verifies a device's own copy of a volume: its rows, and every frame that it keeps of what files consist of.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "fs/check/damage.h"
#include "fs/check/store_check.h"
#include "fs/replica/replica.h"

namespace coffer {

struct ReplicaFindings {
  std::vector<Damage> damages;
  uint64_t files = 0, frames = 0;  // frames that are here
};

// `directory`: where the replica is, for messages. `drop`: ranges that do not open, and that the store has, are taken out, so
// that they are fetched again when somebody reads them; their damage says so.
Result<ReplicaFindings> check_replica(Replica& replica, const std::string& directory, bool drop,
                                      const std::stop_token& stop);

// What the replica has seen of the logs in the store. The last record of `own`, this device's open log may not be there yet,
// and does not count.
Result<std::vector<LogTail>> seen_tails(Replica& replica, const DeviceId& own);

// What is to be said of a replica that does not open.
Damage unreadable_replica(const std::string& directory, const Error& error);

}  // namespace coffer
