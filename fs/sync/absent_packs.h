// Packs that somebody wanted to read and that are not in the store: told as not here yet, and as missing after a while.
#pragma once

#include <map>
#include <string>

#include "base/mutex.h"
#include "fs/sync/context.h"

namespace coffer {

// Thread-safe. Borrows the context.
class AbsentPacks {
 public:
  explicit AbsentPacks(SyncContext& context) : c_(context) {}

  // What the store said of the object `key`, in which the pack is.
  void answered(const ObjectId& pack, const std::string& key, bool there);
  // Makes problems of those that are missing for long.
  void tell();

 private:
  struct Absent {
    std::string key;
    Nanos since{0};
  };
  std::string describe(const std::string& key) const;

  SyncContext& c_;
  Mutex mutex_{Rank::kLeaf};
  std::map<ObjectId, Absent> packs_ GUARDED_BY(mutex_);
};

}  // namespace coffer
