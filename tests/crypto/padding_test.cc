#include "crypto/padding.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

namespace coffer {
namespace {

TEST(Padding, KnownSizes) {
  EXPECT_EQ(padded_size(0), 4096u);
  EXPECT_EQ(padded_size(4096), 4096u);
  EXPECT_EQ(padded_size(4097), 4096u + 256);  // exponent 12 takes 4 bits: 8 bits below are cleared
  EXPECT_EQ(padded_size(65535), 65536u);
  EXPECT_EQ(padded_size(65536), 65536u);
  EXPECT_EQ(padded_size(65537), 65536u + 2048);  // 16 takes 5 bits
  EXPECT_EQ(padded_size((1u << 20) + 1), (1u << 20) + (1u << 15));
}

TEST(Padding, BoundsHold) {
  std::set<size_t> sizes;
  size_t last = 0;
  for (size_t n = 0; n < 300'000; ++n) {
    size_t p = padded_size(n);
    ASSERT_GE(p, n);
    ASSERT_GE(p, last);  // monotone
    if (n > kPaddingFloor) {
      ASSERT_LT(static_cast<double>(p - n), 0.12 * static_cast<double>(n));
    }
    ASSERT_EQ(padded_size(p), p);
    sizes.insert(p);
    last = p;
  }
  EXPECT_LT(sizes.size(), 200u);
}

TEST(Padding, HugeSizesDoNotWrap) {
  constexpr size_t kMax = std::numeric_limits<size_t>::max();
  for (size_t n : {kMax, kMax - 1, kMax / 2, kMax / 2 + 2, kMax - (kMax >> 6)}) EXPECT_GE(padded_size(n), n);
}

}  // namespace
}  // namespace coffer
