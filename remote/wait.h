// Waiting that ends at once when somebody gives up.
#pragma once

#include <stop_token>

#include "base/clock.h"

namespace coffer {

// Sleeps for `duration`, or until `stop` is requested: then false.
bool wait_for(Nanos duration, std::stop_token stop);

}  // namespace coffer
