// Letting a new device in, by a device that is open here.
#pragma once

#include <string>

#include "fs/cli/failure.h"
#include "fs/cli/open_drive.h"

namespace coffer::cli {

// Answers the request that `code` is of, and sweeps old ones. Returns who was let in.
Outcome<DeviceId> let_in(OpenDrive& drive, const std::string& code);

}  // namespace coffer::cli
