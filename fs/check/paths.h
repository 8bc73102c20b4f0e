// The files of a replica, and the names that people know them by.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>

#include "fs/replica/replica.h"

namespace coffer {

// "/dir/name", by the first of its names; "" for the root. nullopt: it has none, or the rows do not say.
std::optional<std::string> path_of(Replica& replica, Ino ino);

// Calls `visit` for every regular file that has a name, once, with what it consists of, piece by piece; `files` counts them.
Result<void> visit_files(Replica& replica, const std::stop_token& stop,
                         const std::function<Result<void>(Ino ino, std::span<const model::Extent> extents)>& visit,
                         uint64_t* files);

}  // namespace coffer
