// The daemon's log on disk: `log`, and `log.1` with what came before it. Together at most about 2 MiB.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace coffer::cli {

inline constexpr uint64_t kLogMax = 1 << 20;

// Opens DIR/log for appending; when it has grown beyond kLogMax, it becomes DIR/log.1 first.
Result<Fd> open_log(const std::string& directory);
// Puts stderr on a new file when the present one has grown beyond kLogMax. Called now and then.
void turn_log(const std::string& directory);

}  // namespace coffer::cli
