// Internal to this layer: stops the program when a caller breaks a contract about sizes. Never for input.
#pragma once

#include <cstdlib>
#include <string_view>

#include "base/log.h"

namespace coffer::internal {

inline void require(bool holds, std::string_view what) {
  if (holds) [[likely]]
    return;
  log_line(LogLevel::kError, what);
  std::abort();
}

}  // namespace coffer::internal
