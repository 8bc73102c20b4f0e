// Which parts of a state are here, while a new device loads them one by one.
//
// A state that comes from a checkpoint is cut into parts by its keys: part i has the rows from its first key up to the first
// key of the next. What is not here yet is not known, which is another thing than absent: whoever reads there gets
// kUnavailable, and the number of the part is noted, so that it can be fetched.
//
// A row is only changed where it can be read (Transaction reads what a row was before), so a part that comes later never
// has a row that is older than what is here. Without waiting for a part can be said: that a row is what it is, when
// it is here already; that an inode has no extents, attributes or further links in rows of their own, when the inode says
// so; and everything about inodes that this device has made since, whose numbers no other one hands out.
#pragma once

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/rows.h"
#include "cache/table.h"
#include "fs/model/types.h"

namespace coffer {

// What a thread looks for while one lives, and does not find: parts by number. For whoever can wait for them and try again.
// Not thread-safe; the innermost of a thread counts.
class PartWishes {
 public:
  PartWishes();
  ~PartWishes();
  PartWishes(const PartWishes&) = delete;
  PartWishes& operator=(const PartWishes&) = delete;

  const std::set<size_t>& missed() const { return missed_; }
  // How often this thread was told that something is not here, ever: who goes on after an error can see that there was one.
  static uint64_t misses();

 private:
  friend class RowParts;
  PartWishes* const outer_;
  std::set<size_t> missed_;
};

// Thread-safe: anybody reads; begin(), set_here(), own() and end() are called under the replica's exclusive state lock, after
// the rows that they tell of are in the table.
class RowParts {
 public:
  // From here on the state has these parts (first keys rising), of which those with `here` are in the table.
  void begin(std::vector<std::string> first_keys, const std::vector<bool>& here);
  void set_here(size_t part);
  // Inodes whose numbers begin with this are made by this device.
  void own(uint64_t ino_prefix);
  // All is here, and may be relied on.
  void end();

  bool loading() const { return current_.load(std::memory_order_acquire) != nullptr; }
  size_t count() const;
  size_t missing() const;  // how many are not here
  bool here(size_t part) const;
  bool is_own(model::Ino ino) const;

  // The parts that have keys in [from, to), or that begin so, and are not here.
  std::vector<size_t> missing_in(std::string_view from, std::string_view to) const;
  std::vector<size_t> missing_of(std::string_view prefix) const;
  // Those of them that begin before a key.
  std::vector<size_t> beginning_before(std::string_view key, std::vector<size_t> parts) const;
  // Notes that they are needed, for this thread's wishes and for whoever fetches, and gives the error that says so.
  std::unexpected<Error> miss(const std::vector<size_t>& parts) const;
  // Notes that they will be needed soon.
  void wish(const std::vector<size_t>& parts) const;
  // What was missed or wished for since the last call.
  std::vector<size_t> take_wanted() const;

  static constexpr int kOwnShift = 24;  // what is below an inode number's prefix

 private:
  struct List {
    std::vector<std::string> first_keys;
    std::unique_ptr<std::atomic<bool>[]> here;
    std::atomic<size_t> missing{0};
  };
  const List* list() const { return current_.load(std::memory_order_acquire); }

  std::atomic<List*> current_{nullptr};
  mutable SharedMutex mutex_{Rank::kLeaf};
  std::vector<std::unique_ptr<List>> lists_ GUARDED_BY(mutex_);  // readers may still be in a former one
  std::set<uint64_t> own_ GUARDED_BY(mutex_);
  mutable std::set<size_t> wanted_ GUARDED_BY(mutex_);
};

// The rows of a table, as far as they are here. Thread-safe; borrows both.
class PartRows : public ReadRows {
 public:
  PartRows(const Table& table, const RowParts& parts) : table_(table), parts_(parts) {}

  // kUnavailable: not here yet.
  Result<std::optional<Bytes>> get(const RowKey& key) const override;
  Result<std::optional<Row>> next(std::string_view prefix, std::string_view after) const override;
  // Whether all rows that begin with one of these are here.
  Result<void> need(const std::vector<std::string>& prefixes) const;

 private:
  // The inode says that it has no rows of this kind: those that there are were made here.
  Result<bool> has_none(char kind, model::Ino ino) const;

  const Table& table_;
  const RowParts& parts_;
};

}  // namespace coffer
