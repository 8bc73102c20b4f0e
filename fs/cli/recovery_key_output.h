// Where a new recovery key goes before anything relies on it.
#pragma once

#include <string>

#include "crypto/slot.h"
#include "fs/cli/failure.h"

namespace coffer::cli {

// Whether hand_over() will find a place; said before a person is asked for anything.
Outcome<void> can_hand_over(const std::string& file);

// With a file name: writes the key into that new file, which only we may read, durably; never replaces one. Without: shows
// it on the terminal, in groups and as a QR code, takes it away again, and has two groups typed back, until they are right.
// kCutShort on Ctrl-C.
Outcome<void> hand_over(const RecoveryKey& key, const std::string& file);

}  // namespace coffer::cli
