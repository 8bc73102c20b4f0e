// What main() does before anything else of the program runs.
#include <gtest/gtest.h>

#include <cstdlib>

#include "crypto/secret.h"

namespace coffer::cli {
namespace {

class Started : public testing::Environment {
 public:
  void SetUp() override {
    ASSERT_TRUE(crypto_init());
    // What the person who runs the tests has set does not count here.
    for (const char* name : {"COFFER_STATE_DIR", "COFFER_CA_FILE", "COFFER_PASSPHRASE_FILE",
                             "COFFER_PASSPHRASE_COMMAND", "COFFER_ENDPOINT", "COFFER_CONFIG"})
      ::unsetenv(name);
  }
};
[[maybe_unused]] testing::Environment* const kStarted = testing::AddGlobalTestEnvironment(new Started);

}  // namespace
}  // namespace coffer::cli
