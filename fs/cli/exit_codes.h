// How `coffer` ends. Documented in coffer(1); values are never reused.
#pragma once

#include "base/result.h"

namespace coffer::cli {

enum class Exit : int {
  kOk = 0,
  kGeneral = 1,
  kUsage = 2,
  kWrongPassphrase = 3,
  kNotAVolume = 4,
  kBusy = 5,              // already mounted, or files are open
  kNoFuse = 6,            // the kernel's FUSE is not to be had
  kPermission = 7,        // local permissions, or the store's credentials
  kStoreUnreachable = 8,  // no connection, no answer, or a peer that does not verify
  kUnsupported = 9,       // not there yet, or made by a newer coffer
  kCutShort = 10,         // ended before all was in the store; the work is kept
  kDamaged = 11,
};

Exit exit_for(Code code);

}  // namespace coffer::cli
