// Records by the common order: where those are that a replica has applied, and how one that was opened is handed to it.
#pragma once

#include <optional>
#include <tuple>
#include <vector>

#include "fs/replica/replica.h"
#include "fs/sync/log_tails.h"
#include "fs/sync/record.h"

namespace coffer {

struct RecordPlace {
  uint64_t stamp = 0;
  LogId log;
  uint64_t number = 0;
  Hash hash;
  bool operator<(const RecordPlace& o) const { return std::tie(stamp, log) < std::tie(o.stamp, o.log); }
};

// Of all records that the replica has applied, by the rows of LogTails; in no order. kCorrupt, kTooNew.
Result<std::vector<RecordPlace>> applied_places(Replica& replica);

// `changes` are the record's; `author` is its log, if anything is known of it.
OrderedRecord ordered(const OpenedRecord& opened, model::ChangeSet changes, const std::optional<LogTail>& author);

}  // namespace coffer
