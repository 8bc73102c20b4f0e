#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "crypto/slot.h"
#include "vectors.h"

namespace coffer {
namespace {

std::string golden_text() { return std::string(as_string(testing::vector("recovery.text"))); }

TEST(RecoveryKey, GoldenText) {
  auto key = RecoveryKey::parse(golden_text());
  ASSERT_TRUE(key) << key.error().what();
  EXPECT_EQ(to_bytes(key->bits().view()), testing::counting(0, 32, 8));
  EXPECT_EQ(as_string(key->text().view()), golden_text());
  auto ones = RecoveryKey::parse(as_string(testing::vector("recovery.text.ones")));
  ASSERT_TRUE(ones);
  EXPECT_EQ(to_bytes(ones->bits().view()), Bytes(32, 0xff));
}

TEST(RecoveryKey, RoundTrip) {
  for (int i = 0; i < 50; ++i) {
    RecoveryKey key = RecoveryKey::generate();
    Secret text = key.text();
    ASSERT_EQ(text.size(), 77u);
    auto parsed = RecoveryKey::parse(as_string(text.view()));
    ASSERT_TRUE(parsed);
    EXPECT_TRUE(parsed->bits().equal(key.bits()));
  }
}

TEST(RecoveryKey, FormsOfWriting) {
  std::string text = golden_text();
  std::string lower = text, spaced = text, bare, lookalike = text;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::ranges::replace(spaced, '-', ' ');
  for (char c : text)
    if (c != '-') bare += c;
  std::ranges::replace(lookalike, '0', 'o');
  std::ranges::replace(lookalike, '1', 'l');
  for (const std::string& form : {lower, spaced, bare, lookalike, "  " + text + "\r\n"}) {
    auto key = RecoveryKey::parse(form);
    ASSERT_TRUE(key) << key.error().what();
    EXPECT_EQ(as_string(key->text().view()), text);
  }
}

void expect_wrong_group(std::string_view text, size_t group) {
  auto key = RecoveryKey::parse(text);
  ASSERT_FALSE(key) << text;
  EXPECT_EQ(key.error().code(), Code::kInvalid);
  EXPECT_NE(key.error().what().find("group " + std::to_string(group) + " "), std::string::npos)
      << key.error().what() << " for group " << group;
}

TEST(RecoveryKey, EveryWrongCharacterNamesItsGroup) {
  const std::string text = golden_text();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '-') continue;
    for (char c : std::string_view("0123456789ABCDEFGHJKMNPQRSTVWXYZU!")) {
      if (c == text[i]) continue;
      std::string bad = text;
      bad[i] = c;
      expect_wrong_group(bad, i / 6 + 1);
    }
  }
}

TEST(RecoveryKey, ExchangesAreFound) {
  const std::string text = golden_text();
  for (size_t g = 0; g < 13; ++g) {
    for (size_t i = g * 6; i < g * 6 + 5; ++i) {
      for (size_t j = i + 1; j < g * 6 + 5; ++j) {
        if (text[i] == text[j]) continue;
        std::string bad = text;
        std::swap(bad[i], bad[j]);
        expect_wrong_group(bad, g + 1);
      }
    }
    for (size_t h = g + 1; h < 13; ++h) {
      std::string bad = text;
      std::swap_ranges(bad.begin() + static_cast<long>(g * 6), bad.begin() + static_cast<long>(g * 6 + 5),
                       bad.begin() + static_cast<long>(h * 6));
      expect_wrong_group(bad, g + 1);
    }
  }
}

TEST(RecoveryKey, LengthsAreChecked) {
  const std::string text = golden_text();
  for (size_t n = 0; n < text.size(); ++n) expect_wrong_group(text.substr(0, n), (n + 1) / 6 + 1);
  EXPECT_EQ(RecoveryKey::parse(text + "0").error().code(), Code::kInvalid);
  EXPECT_EQ(RecoveryKey::parse(text + "-" + text).error().code(), Code::kInvalid);
}

// The last group is right by its check character, but holds a bit beyond the 256: 13 + 2*0 + 4*0 + 8*0 + 16*1 = 29.
TEST(RecoveryKey, SpareBitsAreZero) {
  std::string text = golden_text();
  text.resize(72);
  expect_wrong_group(text + "0001X", 13);
  EXPECT_TRUE(RecoveryKey::parse(text + "0000D"));
}

}  // namespace
}  // namespace coffer
