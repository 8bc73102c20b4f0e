#include "fs/cli/passphrase_strength.h"

#include <gtest/gtest.h>

namespace coffer::cli {
namespace {

Outcome<void> check(std::string_view passphrase) { return check_new_passphrase(Secret(as_bytes(passphrase))); }

TEST(PassphraseStrength, TheHopelessIsRefusedAndTheReasonableTaken) {
  for (const char* hopeless : {"", "password1", "Passw0rd!", "qwertyuiop", "123456789012", "aaaaaaaaaaaaaaaaaaaaaaaa",
                               "summer2024!", "iloveyou1985", "coffer coffer", "hunter2hunter2"})
    EXPECT_FALSE(check(hopeless)) << hopeless;
  for (const char* good : {"correct horse battery staple", "old elephant sings tenor badly", "vK9#mQ2x!rT5"})
    EXPECT_TRUE(check(good)) << good;
}

TEST(PassphraseStrength, SaysWhatKindOfPartsAndNotWhich) {
  auto refused = check("dragon2012");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().exit, Exit::kUsage);
  EXPECT_NE(refused.error().what.find("common words or names"), std::string::npos);
  EXPECT_NE(refused.error().what.find("dates"), std::string::npos);
  EXPECT_NE(refused.error().todo.find("at random"), std::string::npos);
  EXPECT_EQ((refused.error().what + refused.error().todo).find("dragon"), std::string::npos);
  EXPECT_EQ((refused.error().what + refused.error().todo).find("2012"), std::string::npos);
}

TEST(PassphraseStrength, LongOnesAreNoTrouble) {
  EXPECT_FALSE(check(std::string(60000, 'x')));
  Secret long_one(60000);
  for (size_t i = 0; i < long_one.size(); ++i) long_one.data()[i] = static_cast<uint8_t>('!' + (i * i + i / 7) % 90);
  EXPECT_TRUE(check_new_passphrase(long_one));
}

}  // namespace
}  // namespace coffer::cli
