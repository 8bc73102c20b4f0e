// What deriving a key from a new passphrase is made to cost.
#pragma once

#include "crypto/slot.h"

namespace coffer::cli {

// The usual cost; with COFFER_TEST_KDF=fast in the environment next to nothing, and a warning.
KdfCost kdf_cost();

}  // namespace coffer::cli
