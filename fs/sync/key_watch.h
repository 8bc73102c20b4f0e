// Looks after the volume's head and key slots while it is mounted: takes up epochs that others begin, from the slots that are
// sealed to this device, remembers what slots there are, and puts back what vanished from the store.
#pragma once

#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "fs/sync/context.h"
#include "fs/sync/pace.h"

namespace coffer {

// Used by the news thread. Does nothing where there are no SyncOptions::slot_copies.
class KeyWatch {
 public:
  explicit KeyWatch(SyncContext& context) : c_(context) {}

  // A hint or a record speaks of an epoch: if it is not here, the next look is due. Anybody can write hints, so only later
  // when it came to nothing before.
  void want(Epoch epoch);
  // The store has lost other things: the next look is due.
  void look_soon() { soon_ = true; }
  // Lists slot/ when it is due: after start, every hour, and when it is wanted. True: there are new keys. Failures are tried
  // again.
  bool look(const std::stop_token& stop);
  // For a device without anything, which has to know who was revoked before it takes over what others have made: looks once,
  // and says when that fails.
  Result<void> look_first(const std::stop_token& stop);

 private:
  Result<bool> look_now(ObjectStore& store);
  Result<bool> look_at_head(ObjectStore& store, const std::vector<Bytes>& shown, std::vector<std::string>& back);
  void tell_put_back(const std::vector<std::string>& things);

  SyncContext& c_;
  bool wanted_ = false, soon_ = false;
  std::set<Epoch> asked_;  // of those that were not here
  std::optional<Nanos> looked_at_, headless_since_;
  Nanos retry_at_{0};
  Backoff backoff_{std::chrono::seconds(1), std::chrono::minutes(5)};
};

}  // namespace coffer
