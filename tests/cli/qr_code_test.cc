#include "fs/cli/qr_code.h"

#include <gtest/gtest.h>

namespace coffer::cli {
namespace {

// That it reads as what it should is seen by a reader of such codes: tests/integration/keys.sh.
TEST(QrCode, ARecoveryKeyFitsOnATerminal) {
  auto code = qr_code("00E7S-0NC1X-5RAZK-NK0TB-5Q7VP-9EZ85-ZQ1SN-M77XP-QVT21-9XAMZ-0F7WD-44444-0000W");
  ASSERT_TRUE(code);
  std::string text(as_string(code->view()));
  size_t lines = 0, columns = 0;
  for (size_t at = 0; at < text.size(); ++lines) {
    size_t end = text.find('\n', at);
    ASSERT_NE(end, std::string::npos);
    std::string line = text.substr(at, end - at);
    ASSERT_TRUE(line.starts_with("\x1b[30;47m") && line.ends_with("\x1b[0m")) << line;
    size_t here = 0;
    for (char c : line.substr(8, line.size() - 12)) here += (static_cast<uint8_t>(c) & 0xC0) != 0x80 ? 1 : 0;
    columns = columns == 0 ? here : columns;
    EXPECT_EQ(here, columns);
    at = end + 1;
  }
  EXPECT_EQ(lines, (columns + 1) / 2);
  EXPECT_LE(lines, 18u);  // and six lines of text: 24
  EXPECT_LE(columns, 80u);
}

TEST(QrCode, WhatIsTooLongIsAnError) { EXPECT_FALSE(qr_code(std::string(10000, 'A'))); }

}  // namespace
}  // namespace coffer::cli
