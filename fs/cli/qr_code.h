// A QR code on a terminal.
#pragma once

#include <string_view>

#include "crypto/secret.h"
#include "fs/cli/failure.h"

namespace coffer::cli {

// Lines of UTF-8 with half blocks, two rows of the code in each, black on white whatever the terminal's colours are, with a
// margin. `text` has no zero bytes. In locked memory, since it says what `text` says.
Outcome<Secret> qr_code(std::string_view text);

}  // namespace coffer::cli
