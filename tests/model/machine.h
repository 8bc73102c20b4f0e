// A replica without disk or network, as fs/replica drives the model: local operations in generations, records made from
// them, news applied in the common order with rolling back and reapplying.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "fs/model/apply.h"
#include "fs/model/diff.h"
#include "fs/model/extent_map.h"
#include "fs/model/history.h"
#include "fs/model/invariants.h"
#include "fs/model/remains.h"
#include "fs/model/tree.h"
#include "tests/model/map_rows.h"

namespace coffer::model {

struct Record {
  uint64_t stamp = 0;
  unsigned log = 0;
  uint64_t number = 0;
  std::map<unsigned, uint64_t> seen;  // records of each log that its author had applied
  Author author;
  ChangeSet changes;
  bool before(const Record& o) const { return std::tie(stamp, log) < std::tie(o.stamp, o.log); }
};

// Fails the test, with its message, when a result is an error.
template <typename T>
T must(Result<T> r) {
  if (!r) {
    ADD_FAILURE() << r.error().what();
    abort();
  }
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

class Machine {
 public:
  explicit Machine(unsigned id);
  // A copy of another machine's disk, or a backup of it, which goes on with a log of its own: what was open is closed.
  Machine(const Machine& other, unsigned id);

  // One operation: its puts reach the rows only when it succeeds.
  template <typename F>
  auto run(F&& f) -> decltype(f(std::declval<Rows&>())) {
    Transaction tx(rows_, *touched_);
    auto r = f(static_cast<Rows&>(tx));
    if (r) rows_.apply(must(tx.take()));
    return r;
  }

  // --- operations by path ("a/b/c"; "" is the root), for tests of rules
  Ino at(const std::string& path) const;  // 0: nothing
  Ino make(const std::string& path, FileType type = FileType::kRegular);
  Ino mkdir(const std::string& path) { return make(path, FileType::kDirectory); }
  void make_any(Ino dir, const std::string& name, const NewInode& what);  // may fail
  Ino symlink(const std::string& path, const std::string& target);
  void write(const std::string& path, const std::string& text, uint64_t offset = 0);
  void write(Ino ino, const std::string& text, uint64_t offset = 0);
  void truncate(const std::string& path, uint64_t size);
  // The same bytes in other frames, as when old data is brought under new keys.
  void seal_anew(const std::string& path) { seal_anew(at(path)); }
  void seal_anew(Ino ino);
  void remove(const std::string& path);  // file or directory
  Ino remove_open(const std::string& path);
  void close(Ino ino);
  void rename(const std::string& from, const std::string& to, RenameMode mode = RenameMode::kReplace);
  void link(const std::string& from, const std::string& to);
  void chmod(const std::string& path, uint32_t mode);
  void set_xattr(const std::string& path, const std::string& name, const std::string& value);
  // Extents as the texts that were written, "-" for each hole: "hello|-|world".
  std::string read(const std::string& path) const;
  std::string read(Ino ino) const;
  std::vector<std::string> names(const std::string& path = "") const;  // sorted
  Inode inode(const std::string& path) const { return must(get_inode(rows_, at(path))); }

  Extent extent(const std::string& text, uint64_t offset);
  Ino fresh_ino() { return ino_base_ + ++counter_; }
  Version fresh_version() { return version_base_ + ++counter_; }
  WallTime now() { return {time_ += 1000}; }
  // What lost its last link and is not open: gone.
  void erase(Ino ino);

  // --- records
  // Closes the open generation, without publishing.
  void freeze();
  // Makes a record of everything pending; nullopt when it came to nothing. `meanwhile` happens between the cut and the
  // description of what was cut off.
  std::optional<Record> publish(const std::function<void()>& meanwhile = nullptr);
  // Applies records that it has not yet, as the replica does; those whose author had seen more wait.
  void receive(const std::vector<Record>& news);
  // Everything applied so far is known to everybody: what serves for rolling it back, or for those who have not seen it,
  // goes.
  void forget_applied();
  const std::vector<Conflict>& conflicts() const { return conflicts_; }

  Hash hash() const { return must(tree_hash(rows_)); }
  // A listing of the whole tree, for messages.
  std::string describe() const;
  void check() const;  // no faults

  MapRows& rows() { return rows_; }
  const MapRows& rows() const { return rows_; }
  unsigned id() const { return id_; }
  std::set<Ino> open_orphans;
  size_t waiting() const { return waiting_.size(); }
  std::vector<Record> applied() const;

 private:
  struct AppliedRecord {
    Record record;
    Generation first, last;
  };
  void check_no_strays() const;
  // What it has after publishing is what the record makes of what it had before: also of what serves for applying others.
  void check_published(const Record& r, Generation first, Generation last) const;
  std::pair<Ino, std::string> parent_of(const std::string& path) const;

  const unsigned id_;
  MapRows rows_;
  Generation first_pending_ = 1, open_ = 1;
  std::unique_ptr<Touched> touched_;
  std::vector<AppliedRecord> applied_;  // in order
  std::vector<Record> waiting_;
  std::map<unsigned, uint64_t> seen_;
  std::set<Ino> made_pending_;
  uint64_t stamp_ = 0, number_ = 0;
  uint64_t counter_ = 0;
  const Ino ino_base_;
  const Version version_base_;
  int64_t time_;
  std::vector<Conflict> conflicts_;
};

// Gives every machine every record.
void exchange(std::vector<Machine*> machines, std::vector<Record>& all);

}  // namespace coffer::model
