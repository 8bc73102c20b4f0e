// A whole state that came from somewhere else, in memory, while it is checked.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/rows.h"
#include "fs/model/keys.h"

namespace coffer {

// Not thread-safe.
class LoadedState : public ReadRows {
 public:
  // A row as StateSnapshot gives it. What follows from it is added. kCorrupt: it is none.
  Result<void> add(std::string_view key, BytesView value);
  // What is wrong with the whole; empty: sound.
  Result<std::vector<std::string>> find_faults() const;
  // Where the frames of files are.
  const std::set<ObjectId>& packs() const { return packs_; }

  Result<std::optional<Bytes>> get(const RowKey& key) const override;
  Result<std::optional<Row>> next(std::string_view prefix, std::string_view after) const override;

  struct Value {
    size_t clear = 0;  // of the key
    Bytes bytes;
  };
  const std::map<std::string, Value, std::less<>>& rows() const { return rows_; }

 private:
  // Rows of one kind that inodes name, and that there are.
  struct Count {
    uint64_t named = 0, there = 0;
  };
  void put(RowKey key, BytesView value);

  std::map<std::string, Value, std::less<>> rows_;
  std::set<ObjectId> packs_;
  Count chunks_, blocks_, xattrs_;
};

}  // namespace coffer
