// Which of what lives is still sealed under keys of an older epoch than the newest.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "fs/check/check_context.h"

namespace coffer {

// Object keys. Records as such stay under the keys of their time, and are not in it: only those of which files need what they
// carry.
struct OldKeys {
  uint64_t epochs = 0;  // of which the keys are known
  std::vector<std::string> packs, records, checkpoints;
  uint64_t bytes = 0;  // of these objects
};

// `data`: objects that hold something of a file; `checkpoints`: roots and segments of those that hints name. What is missing or
// damaged is told elsewhere, and left out. Asks for a few bytes of each object.
Result<OldKeys> find_old_keys(CheckContext& context, const std::set<std::string>& data,
                              const std::set<std::string>& checkpoints);

}  // namespace coffer
