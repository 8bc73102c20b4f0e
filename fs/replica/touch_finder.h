// What row puts change in the eyes of the kernel.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/row_changes.h"
#include "base/rows.h"
#include "fs/model/apply.h"

namespace coffer {

// Not thread-safe.
class TouchFinder {
 public:
  // `before`: the rows without the put. Counts only when the row ends up different.
  Result<void> add(const ReadRows& before, const RowKey& key, const std::optional<Bytes>& value);
  // Likewise, in place of what was found of this row before, among rows that have been others meanwhile: `was`, for example.
  // Names may be found that are not touched.
  Result<void> add_anew(const ReadRows& before, const RowKey& key, const std::optional<Bytes>& value,
                        const std::optional<Bytes>& was);

  // Regular files that lost their last name.
  std::vector<model::Ino> removed() const { return all(Change::kRemoved); }
  // Those that had lost it, and have one again.
  std::vector<model::Ino> revived() const { return all(Change::kRevived); }
  model::Touch touch() const;

 private:
  enum class Change { kContents, kAttributes, kRemoved, kRemovedOther, kRevived };
  struct Leads {
    model::Ino before = 0, after = 0;
  };
  using Place = std::pair<model::Ino, std::string>;
  std::vector<model::Ino> all(Change change) const;

  std::map<Place, Leads> entries_;
  std::set<Place> names_;  // touched for sure
  std::map<model::Ino, Change> inodes_;
  std::set<model::Ino> xattrs_;
};

}  // namespace coffer
