// The state of a replica as it was at one moment, for who reads all of it while work goes on.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <stop_token>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "cache/table.h"
#include "fs/model/history.h"

namespace coffer {

// The rows of a state as they were when it was made: each is kept before it is first changed. History goes on. Thread-safe;
// reads take the state lock for one row. Borrows the lock and the table.
class SnapshotRows : public ReadRows {
 public:
  SnapshotRows(SharedMutex& state, const Table& table) : state_(state), table_(table), before_(table) {}

  // `puts` are about to be applied to the table; under the exclusive state lock.
  void keep(std::span<const RowPut> puts);
  // Likewise, and they are too many to be looked at.
  void lose() { lost_ = true; }

  // kUnavailable: too much has changed meanwhile.
  Result<std::optional<Bytes>> get(const RowKey& key) const override;
  Result<std::optional<Row>> next(std::string_view prefix, std::string_view after) const override;

 private:
  static constexpr size_t kMost = 64 << 20;  // bytes of rows that are kept
  Result<void> check() const;

  SharedMutex& state_;
  const Table& table_;
  model::PlainTransaction before_;  // guarded by the state lock
  size_t bytes_ = 0;
  std::atomic<bool> lost_{false};
};

// What every replica has of a state: the rows of the tree, without what is unlinked, what only this machine knows, and
// what follows from other rows. Not thread-safe. The replica outlives it.
class StateSnapshot {
 public:
  using Visit = std::function<Result<void>(std::string_view key, BytesView value)>;
  explicit StateSnapshot(std::shared_ptr<const SnapshotRows> rows) : rows_(std::move(rows)) {}

  // Has to come first: finds what belongs to the tree.
  Result<void> survey(const std::stop_token& stop);
  // All rows of a kind, keys rising: bitmaps, extents, entries, inodes, links, xattrs.
  Result<void> visit(model::RowKind kind, const Visit& visit, const std::stop_token& stop);
  // The packs to which any file refers, those included that are unlinked and still known to the kernel here.
  Result<std::set<ObjectId>> held_packs(const std::stop_token& stop) const;
  // Where the frames of files are; complete after extents were visited.
  const std::set<ObjectId>& packs() const { return packs_; }

 private:
  Result<void> walk(model::RowKind kind, const std::function<Result<void>(const Row&)>& visit,
                    const std::stop_token& stop) const;
  Result<void> visit_chunks(bool bitmaps, const Visit& visit, const std::stop_token& stop);

  std::shared_ptr<const SnapshotRows> rows_;
  std::vector<model::Ino> in_chunks_, with_xattrs_;  // rising
  std::set<ObjectId> packs_;
};

}  // namespace coffer
