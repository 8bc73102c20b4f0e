// Running a program that prints something for us.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"

namespace coffer {

// Splits as a shell would: blanks separate, quotes and backslashes join. No expansion of any kind. kInvalid for an open
// quote or nothing at all.
Result<std::vector<std::string>> split_command(std::string_view line);

// Runs it without a shell, stdin from /dev/null, stderr as ours, and returns what it wrote to stdout. kUnavailable when
// it cannot be started or ends with a status other than 0, kTimedOut, kCancelled, kTooLarge; in each of these it is
// killed (that process only) and waited for.
Result<std::string> run_helper(const std::vector<std::string>& command, size_t limit, Nanos timeout,
                               std::stop_token stop);

}  // namespace coffer
