// Walks a whole state and finds what must never be. For tests, and for `coffer check`.
#pragma once

#include <string>
#include <vector>

#include "base/rows.h"
#include "fs/model/tree.h"

namespace coffer::model {

// One line per fault, by inode numbers (no names). Empty: sound. `rows` must be able to walk all I, E and L rows.
Result<std::vector<std::string>> find_faults(const ReadRows& rows);

// A canonical description of the visible tree (names, attributes, extents, xattrs; no cookies), for comparing replicas.
Result<Hash> tree_hash(const ReadRows& rows);

}  // namespace coffer::model
