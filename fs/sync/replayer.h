// Makes a replica's state anew from all records in the store, when one arrives that sorts before what is settled here, or
// was written without knowing that.
//
// That happens when a device that nobody waited for (its log was closed) goes on from an old view of the store: one that
// shows news late, or a directory that another program carries. The state is what all records make in their order, so the
// record gets its place, and what came after it is done again on top.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

#include "fs/sync/context.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/record_order.h"

namespace coffer {

// Used by one thread, under the turn, once for one replay.
class Replayer {
 public:
  // `batch` and `fresh`: what arrived, and of it the records with changes; not applied yet.
  Replayer(SyncContext& context, const TailBatch& batch, std::vector<OrderedRecord> fresh);

  // As Replica::apply would, if it could. kUnavailable: a record that is applied here is not in the store now.
  Result<model::Applied> run(std::span<const std::pair<ObjectId, PackPlace>> places, std::span<const RowPut> rows,
                             const std::stop_token& stop);

 private:
  Result<void> find_records(const std::stop_token& stop);
  Result<std::optional<OrderedRecord>> next(const std::stop_token& stop);
  Result<void> read_ahead(const std::stop_token& stop);
  Result<OrderedRecord> get(const RecordPlace& place, const std::stop_token& stop);
  Result<OrderedRecord> open(const RecordPlace& place, const std::string& key, BytesView object) const;

  SyncContext& c_;
  const TailBatch& batch_;
  std::map<std::pair<LogId, uint64_t>, OrderedRecord> at_hand_;
  std::map<std::pair<LogId, uint64_t>, std::vector<std::pair<RecordName, uint64_t>>> in_store_;  // with their sizes
  std::vector<RecordPlace> order_;
  size_t at_ = 0;  // in order_
  std::deque<OrderedRecord> ahead_;
};

}  // namespace coffer
