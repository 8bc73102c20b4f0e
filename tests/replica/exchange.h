// Replicas of one volume, and records between them by hand: what the synchronizer does, without a store.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fs/replica/replica.h"

namespace coffer::test {

// One key; replicas opened with the same one belong to the same volume.
struct TestVolume {
  TestVolume();
  Result<std::unique_ptr<Replica>> open(const std::string& directory, Replica::Options options) const;
  Result<std::unique_ptr<Replica>> open(const std::string& directory, const std::string& device = "host") const;

  VolumeId id;
  Secret key;
};

using Packs = std::vector<std::pair<ObjectId, Bytes>>;

class Exchange {
 public:
  // What one replica has pending, as the next record of its log, and the packs that it needs; nullopt: nothing.
  std::optional<OrderedRecord> publish(Replica& from, Packs& packs);
  // Applies it; the packs' places are known afterwards, their bytes are here only `with_packs`.
  static void receive(Replica& to, const OrderedRecord& record, const Packs& packs, bool with_packs = true);

 private:
  uint64_t stamp_ = 0;
  std::map<Replica*, std::pair<LogId, uint64_t>> logs_;  // with the number of the newest record
};

}  // namespace coffer::test
