// Named places at which a test can make a durable step fail or the process die. Set by the environment variable
// COFFER_FAILPOINTS="name=crash@3,other=error@1,third=enospc": at the Nth passing (every passing without @N).
#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"

namespace coffer {

// Ok unless a test armed this name. "crash" is SIGKILL to ourselves and does not return. Costs one load when nothing is
// armed.
Result<void> failpoint(std::string_view name);
// Replaces what is armed, with the grammar of COFFER_FAILPOINTS; for tests in the same process.
void arm_failpoints(std::string_view spec);
// Calls `what` at each passing of `name`, until failpoints are armed anew: a test plays there what others do meanwhile.
void arm_failpoint(std::string_view name, std::function<Result<void>()> what);

}  // namespace coffer
