// The log that this run writes, and what it needs to know of the one before.
//
// Row "So" -> version u8 = 1 | log 16 | number u64 | tag u64: the newest record that this state directory wrote.
#pragma once

#include <optional>
#include <vector>

#include "base/mutex.h"
#include "base/rows.h"
#include "fs/sync/object_keys.h"

namespace coffer {

// Thread-safe.
class OwnLog {
 public:
  OwnLog();  // a fresh random log without records

  static RowKey row_key();
  static Bytes encode_row(const RecordName& newest);
  static Result<RecordName> decode_row(BytesView row);

  LogId log() const;
  // The newest record of this run, if there is one.
  std::optional<RecordName> newest() const;
  // The log that the first record names as its predecessor.
  std::optional<LogId> predecessor() const;

  // The newest record of the run before, found at start.
  void follow(const RecordName& before);
  void published(const RecordName& name);
  // Somebody else writes this log, too: the next record opens a new one, after this.
  void abandon();

  // The newest record of this state directory: of this run, or of the run before.
  std::optional<RecordName> newest_ever() const;

  // The hints of ours that a new hint makes superfluous; they are forgotten here.
  std::vector<RecordName> take_stale_hints(const RecordName& now);
  // An old hint of ours that was seen in the store, left by a crash.
  void found_hint(const RecordName& name);

 private:
  mutable Mutex mutex_{Rank::kLeaf};
  LogId log_ GUARDED_BY(mutex_);
  std::optional<RecordName> newest_ GUARDED_BY(mutex_);
  std::optional<LogId> predecessor_ GUARDED_BY(mutex_);
  std::optional<RecordName> newest_ever_ GUARDED_BY(mutex_);
  std::vector<RecordName> hints_ GUARDED_BY(mutex_);
};

}  // namespace coffer
