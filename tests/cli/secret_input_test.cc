#include "fs/cli/secret_input.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/cli/temporary.h"

namespace coffer::cli {
namespace {

std::string text_of(const Secret& secret) { return std::string(as_string(secret.view())); }

TEST(SecretInput, OneNewlineAtTheEndGoes) {
  TemporaryDirectory dir;
  for (auto [content, expected] : {std::pair<std::string, std::string>{"pass\n", "pass"},
                                   {"pass", "pass"},
                                   {"pass\r\n", "pass"},
                                   {"two\nlines\n\n", "two\nlines\n"},
                                   {" blanks stay \n", " blanks stay "}}) {
    std::string path = dir.write("p", content);
    ::chmod(path.c_str(), 0600);
    auto secret = secret_from_file(path);
    ASSERT_TRUE(secret);
    EXPECT_EQ(text_of(*secret), expected);
  }
}

TEST(SecretInput, TooLongIsRefused) {
  TemporaryDirectory dir;
  EXPECT_FALSE(secret_from_file(dir.write("p", std::string(kPassphraseMax + 1, 'x'))).has_value());
  EXPECT_TRUE(secret_from_file(dir.write("p", std::string(kPassphraseMax, 'x'))).has_value());
}

TEST(SecretInput, ACommandsOutputCounts) {
  auto secret = secret_from_command("printf 'a b\\n'");
  ASSERT_TRUE(secret);
  EXPECT_EQ(text_of(*secret), "a b");
}

TEST(SecretInput, AFailingCommandFails) {
  EXPECT_FALSE(secret_from_command("echo x; exit 3").has_value());
  EXPECT_FALSE(secret_from_command("/no/such/program").has_value());
}

TEST(SecretInput, AnEmptyPassphraseIsRefused) {
  TemporaryDirectory dir;
  VolumeSettings settings;
  settings.passphrase_file = dir.write("p", "\n");
  auto secret = get_passphrase(settings);
  ASSERT_FALSE(secret);
  EXPECT_EQ(secret.error().exit, Exit::kUsage);
}

}  // namespace
}  // namespace coffer::cli
