// Which packs a check has found to be whole, kept so that a check that was interrupted goes on.
//
// File STATE/checks/VOLUME: a line "coffer-check 1 SAMPLE SEED", then a line with the id of each pack, appended as it is
// found. What is in it is in the store's listing, too.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "base/fd.h"
#include "base/ids.h"
#include "fs/cli/failure.h"

namespace coffer::cli {

// Not thread-safe.
class CheckProgressFile {
 public:
  // Goes on with what is there when it is for this sample, and not `restart`.
  static Outcome<CheckProgressFile> open(const std::string& state_root, const VolumeId& volume, unsigned sample,
                                         bool restart);
  uint64_t seed() const { return seed_; }
  const std::set<ObjectId>& verified() const { return verified_; }

  void add(const ObjectId& pack);  // what cannot be kept is done again
  void finish();                   // the check came to its end

 private:
  std::string path_;
  uint64_t seed_ = 0;
  std::set<ObjectId> verified_;
  Fd file_;
};

}  // namespace coffer::cli
