#include "fs/cli/kdf_cost.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace coffer::cli {

KdfCost kdf_cost() {
  const char* asked = std::getenv("COFFER_TEST_KDF");
  if (asked == nullptr || std::strcmp(asked, "fast") != 0) return {};
  std::fputs("coffer: warning: COFFER_TEST_KDF=fast makes the passphrase easy to guess; only for tests\n", stderr);
  return {8 * 1024, 1};
}

}  // namespace coffer::cli
