#include <gtest/gtest.h>

#include "crypto/secret.h"

namespace {

class CryptoEnvironment : public ::testing::Environment {
 public:
  void SetUp() override { ASSERT_TRUE(coffer::crypto_init()); }
};

[[maybe_unused]] const auto* const kEnvironment = ::testing::AddGlobalTestEnvironment(new CryptoEnvironment);

}  // namespace
