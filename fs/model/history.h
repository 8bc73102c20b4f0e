// Transactions over rows, and what they changed: the before-images of every tracked row, by generation.
//
// Generations number the steps of a replica: each applied record is one; local changes that are in no record yet make
// up the open one, and frozen ones before it. The before-images of a generation undo it; the difference between them
// and the rows as they were at its end is what the generation did, from which a record is made (diff.h). So pending
// changes and applied records are rolled back by one mechanism.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/row_changes.h"
#include "base/rows.h"
#include "fs/model/keys.h"

namespace coffer::model {

struct HistoryEntry {
  RowKey key;
  std::optional<Bytes> before;  // nullopt: there was no such row
  bool operator==(const HistoryEntry&) const = default;
};
Bytes encode(const HistoryEntry&);
Result<HistoryEntry> decode_history(BytesView);

// Which rows the newest generation has touched already; kept in memory, rebuilt from H rows at start (load).
class Touched {
 public:
  explicit Touched(Generation generation) : generation_(generation) {}
  static Result<Touched> load(const ReadRows& rows, Generation generation);

  Generation generation() const { return generation_; }
  size_t size() const { return index_.size(); }
  size_t inodes() const { return inodes_; }  // of these rows
  bool contains(const std::string& key) const { return index_.contains(key); }
  bool contains(const RowKey& key) const { return contains(key.bytes); }
  std::set<std::string> keys_of(RowKind kind) const;
  // The index of the H row that holds the key's before-image.
  std::optional<uint64_t> index_of(const RowKey& key) const;

 private:
  friend class Transaction;
  void add(std::string key);

  Generation generation_;
  std::unordered_map<std::string, uint64_t> index_;
  size_t inodes_ = 0;
};

// Gathers puts on top of `base`; reads see them. Nothing reaches `base` or `touched` until take() hands out the puts,
// with history rows added for tracked rows that `touched` does not have yet. Dropping a transaction undoes it.
// Not thread-safe; both referents outlive it and do not change while it lives.
class Transaction : public Rows {
 public:
  Transaction(const ReadRows& base, Touched& touched) : base_(base), touched_(touched) {}

  Result<std::optional<Bytes>> get(const RowKey& key) const override;
  Result<std::optional<Row>> next(std::string_view prefix, std::string_view after) const override;
  void put(RowKey key, Bytes value) override;
  void erase(RowKey key) override;

  bool empty() const { return puts_.empty(); }
  // The puts to journal and apply, history rows included; marks the rows as touched. Fails (kIo, kCorrupt) only when a
  // before-image cannot be read; then nothing is marked. The transaction is empty afterwards.
  Result<std::vector<RowPut>> take();

 private:
  const ReadRows& base_;
  Touched& touched_;
  RowChanges puts_;
  // Tracked rows as `base` has them, read since the last take(): most rows are read before they are changed, and take()
  // need not read them again. Bounded; what is not here is read when needed.
  mutable std::unordered_map<std::string, std::optional<Bytes>> read_;
};

// One before-image, by the index that Touched gives.
Result<HistoryEntry> before_image(const ReadRows& rows, Generation generation, uint64_t index);
// Every before-image of a generation, in the order in which they were taken.
Result<std::vector<HistoryEntry>> history_of(const ReadRows& rows, Generation generation);

// Puts every row back as it was before `generation`, which must be the newest that has history, and erases its history.
// N and L rows follow. Directories keep the greater next_cookie. `rows` must not track (a PlainRows over the replica).
Result<void> undo(Rows& rows, Generation generation);
// Forgets how to undo `generation`: it is below the line, or has touched no row. (That diff() finds nothing is not enough:
// what is unlinked and open here may have changed, and earlier generations could not be undone without this one.)
Result<void> drop_history(Rows& rows, Generation generation);

// A transaction that keeps no history: for bookkeeping rows and undo. It may begin with changes that were made before.
class PlainTransaction : public Rows {
 public:
  explicit PlainTransaction(const ReadRows& base, RowChanges puts = {}) : base_(base), puts_(std::move(puts)) {}
  Result<std::optional<Bytes>> get(const RowKey& key) const override;
  Result<std::optional<Row>> next(std::string_view prefix, std::string_view after) const override;
  void put(RowKey key, Bytes value) override;
  void erase(RowKey key) override;
  const RowChanges& puts() const { return puts_; }
  std::vector<RowPut> take();
  RowChanges take_changes() { return std::exchange(puts_, {}); }

 private:
  const ReadRows& base_;
  RowChanges puts_;
};

}  // namespace coffer::model
