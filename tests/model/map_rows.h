// The rows of a state in a std::map: what the model's tests run on.
#pragma once

#include <map>
#include <string>

#include "base/rows.h"

namespace coffer::model {

class MapRows : public Rows {
 public:
  Result<std::optional<Bytes>> get(const RowKey& key) const override {
    auto it = rows.find(key.bytes);
    if (it == rows.end()) return std::nullopt;
    return it->second;
  }
  Result<std::optional<Row>> next(std::string_view prefix, std::string_view after) const override {
    auto it = after < prefix ? rows.lower_bound(prefix) : rows.upper_bound(after);
    if (it == rows.end() || !it->first.starts_with(prefix)) return std::nullopt;
    return Row{it->first, it->second};
  }
  void put(RowKey key, Bytes value) override { rows[std::move(key.bytes)] = std::move(value); }
  void erase(RowKey key) override { rows.erase(key.bytes); }
  void apply(std::vector<RowPut> puts) {
    for (RowPut& p : puts) {
      if (p.value)
        put(std::move(p.key), std::move(*p.value));
      else
        erase(std::move(p.key));
    }
  }

  std::map<std::string, Bytes, std::less<>> rows;
};

}  // namespace coffer::model
