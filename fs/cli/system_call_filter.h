// A seccomp filter: system calls that a file server never needs fail with EPERM.
#pragma once

#include "fs/cli/failure.h"

namespace coffer::cli {

// For this thread and what it starts; never taken back. Asks for PR_SET_NO_NEW_PRIVS, set before. False: this kernel has no
// seccomp filters, or this program was built for a processor whose numbers of system calls it does not know.
Outcome<bool> filter_system_calls(bool programs);

}  // namespace coffer::cli
