// Changes to rows by key, for those who gather many and hand them on.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace coffer {

struct RowChange {
  size_t clear = 0;            // of the key
  std::optional<Bytes> value;  // nullopt: removed
};

// By the logical key: sorted as rows are.
using RowChanges = std::map<std::string, RowChange, std::less<>>;

}  // namespace coffer
