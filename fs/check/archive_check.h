// Verifies archives of records: that each is whole, and each record in it what its name says. Which records the logs lack is
// LogCheck's to say.
#pragma once

#include "fs/check/check_context.h"

namespace coffer {

// Reports what is wrong with them. `good`: the keys of records that are to be had, from wherever.
Result<void> check_archives(CheckContext& context, const std::set<std::string>& good);

}  // namespace coffer
