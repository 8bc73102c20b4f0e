#include "fs/replica/write_buffer.h"

#include <gtest/gtest.h>

#include <random>

#include "cache/frame.h"

namespace coffer {
namespace {

// The same as a flat array with a flag for each byte.
struct Reference {
  std::vector<int> bytes = std::vector<int>(400'000, -1);
};

void expect_same(const WriteBuffer& buffer, const Reference& reference) {
  size_t count = 0;
  for (int b : reference.bytes) count += b >= 0;
  ASSERT_EQ(buffer.bytes(), count);
  std::vector<int> seen(reference.bytes.size(), -1);
  for (const auto& c : buffer.copy(0, seen.size()))
    for (size_t i = 0; i < c.bytes.size(); ++i) seen[c.offset + i] = c.bytes[i];
  ASSERT_EQ(seen, reference.bytes);
  std::vector<int> pieces(reference.bytes.size(), -1);
  for (const auto& p : buffer.pieces(true)) {
    ASSERT_LE(p.bytes.size(), kFrameMax);
    ASSERT_EQ(p.offset / kFrameMax, (p.offset + p.bytes.size() - 1) / kFrameMax);
    for (size_t i = 0; i < p.bytes.size(); ++i) pieces[p.offset + i] = p.bytes[i];
  }
  ASSERT_EQ(pieces, reference.bytes);
}

TEST(WriteBuffer, AgreesWithAFlatArray) {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 rng(seed);
    WriteBuffer buffer;
    Reference reference;
    for (int step = 0; step < 60; ++step) {
      size_t offset = rng() % 300'000, length = 1 + rng() % (rng() % 4 == 0 ? 90'000 : 300);
      if (rng() % 3 == 0) offset = offset / 4096 * 4096;
      if (rng() % 5 == 0) {
        buffer.erase(offset, length);
        std::fill_n(reference.bytes.begin() + offset, length, -1);
      } else if (rng() % 20 == 0) {
        buffer.truncate(offset);
        std::fill(reference.bytes.begin() + offset, reference.bytes.end(), -1);
      } else {
        Bytes data(length);
        for (auto& b : data) b = static_cast<uint8_t>(rng());
        buffer.write(offset, data);
        std::copy(data.begin(), data.end(), reference.bytes.begin() + offset);
      }
      if (step % 10 == 9) expect_same(buffer, reference);
    }
  }
}

TEST(WriteBuffer, KeepsBackTheFrameThatIsNotFull) {
  WriteBuffer buffer;
  buffer.write(0, Bytes(kFrameMax + 10, 7));
  auto pieces = buffer.pieces(false);
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].bytes.size(), kFrameMax);
  EXPECT_EQ(buffer.pieces(true).size(), 2u);
}

}  // namespace
}  // namespace coffer
