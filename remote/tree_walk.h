// Visiting every collection of a tree with several requests under way.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"

namespace coffer {

// Calls `visit` once for `root` and for every collection that a visit returned, from up to `threads` threads at once,
// and returns when all are done. The first error ends the walk: the token given to the other visits is stopped. `visit`
// must be thread-safe.
using VisitCollection = std::function<Result<std::vector<std::string>>(const std::string& collection, std::stop_token)>;
Result<void> walk_tree(const std::string& root, unsigned threads, const VisitCollection& visit, std::stop_token stop);

}  // namespace coffer
