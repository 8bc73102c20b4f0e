// The newest records as they lie in the store, kept on this machine so that they can be put back when they vanish from there.
//
// Rows (all keys clear): "Sq" order BE 8          -> version u8 = 1 | log 16 | number u64 | tag u64 | size u64 | when i64, ns,
//                                                 by this machine's clock: rising by order
//                        "Sk" log 16 number BE 8  -> version u8 = 1 | the sealed record, to the end
//
// The oldest are let go when all together are more than kMost bytes. That is twice what a checkpoint is made after, so as long
// as checkpoints come, what is here begins before the newest of them: with both, a new device has everything.
#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/rows.h"
#include "fs/replica/replica.h"
#include "fs/sync/object_keys.h"

namespace coffer {

struct KeptRecord {
  RecordName name;
  uint64_t size = 0;
  WallTime when;  // since when it is kept
  bool operator==(const KeptRecord&) const = default;
};
Bytes encode(const KeptRecord& record);
Result<KeptRecord> decode_kept_record(BytesView row);

// Thread-safe. Borrows the replica.
class KeptRecords {
 public:
  static constexpr uint64_t kMost = 16 << 20;

  explicit KeptRecords(Replica& replica) : replica_(replica) {}

  // Before anything else.
  Result<void> load();
  // The rows by which `object` is kept, and older ones let go; the caller writes them, best with what says that the record
  // is applied. If that fails, read() will find nothing.
  std::vector<RowPut> keep(const RecordName& name, BytesView object, WallTime now);

  std::optional<KeptRecord> find(const LogId& log, uint64_t number) const;
  // nullopt: it is not kept (any more).
  Result<std::optional<Bytes>> read(const LogId& log, uint64_t number) const;

 private:
  using Place = std::pair<LogId, uint64_t>;
  struct Entry {
    KeptRecord record;
    uint64_t order = 0;
  };
  void let_go(const Place& place, std::vector<RowPut>& rows) REQUIRES(mutex_);

  Replica& replica_;
  mutable Mutex mutex_{Rank::kLeaf};
  std::map<Place, Entry> entries_ GUARDED_BY(mutex_);
  std::map<uint64_t, Place> by_order_ GUARDED_BY(mutex_);
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
};

}  // namespace coffer
