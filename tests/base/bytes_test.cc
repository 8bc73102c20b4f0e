#include "base/bytes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <random>
#include <unordered_set>

namespace coffer {
namespace {

using Id = FixedBytes<16, struct BytesTestTag>;

Bytes written(const std::function<void(Writer&)>& write) {
  Bytes out;
  Writer w(out);
  write(w);
  return out;
}

Bytes varint(uint64_t v) {
  return written([v](Writer& w) { w.varint(v); });
}

TEST(Hex, BothWays) {
  Bytes all(256);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint8_t>(i);
  EXPECT_EQ(unhex(hex(all)).value(), all);
  EXPECT_EQ(unhex("DeadBEEF").value(), (Bytes{0xde, 0xad, 0xbe, 0xef}));
  EXPECT_EQ(unhex("").value(), Bytes{});
  for (std::string_view bad : {"a", "0g", "g0", " 0", "0x00", "\xff\xff", "0-"})
    EXPECT_EQ(unhex(bad).error().code(), Code::kInvalid) << bad;
}

TEST(FixedBytes, IsAValue) {
  Id a = Id::from(Bytes(16, 1)), b = a;
  EXPECT_EQ(a, b);
  b.bytes[15] = 2;
  EXPECT_LT(a, b);
  EXPECT_EQ(a.str(), "01010101010101010101010101010101");
  EXPECT_TRUE(Id{}.is_zero());
  EXPECT_FALSE(b.is_zero());
  std::unordered_set<Id> set{a, b, a};
  EXPECT_EQ(set.size(), 2u);
}

TEST(Writer, GoldenBytes) {
  Bytes out = written([](Writer& w) {
    w.u8(0x01);
    w.u16(0x0203);
    w.u32(0x04050607);
    w.u64(0x08090a0b0c0d0e0f);
    w.varint(300);
    w.svarint(-1);
    w.bytes(Bytes{0xaa, 0xbb});
    w.string("hi");
    w.id(Id::from(Bytes(16, 0xcc)));
    w.raw(Bytes{0xdd});
  });
  EXPECT_EQ(hex(out), "010302070605040f0e0d0c0b0a0908ac020102aabb026869" + std::string(32, 'c') + "dd");
}

TEST(Reader, RoundTrip) {
  Bytes in = written([](Writer& w) {
    w.u8(0xff);
    w.u16(0xfffe);
    w.u32(0xfffffffd);
    w.u64(0xfffffffffffffffc);
    w.string("a\0b");
    w.string("");
    w.id(Id::from(Bytes(16, 9)));
    w.bytes(Bytes(300, 7));
  });
  Reader r(in);
  EXPECT_EQ(r.u8(), 0xff);
  EXPECT_EQ(r.u16(), 0xfffe);
  EXPECT_EQ(r.u32(), 0xfffffffd);
  EXPECT_EQ(r.u64(), 0xfffffffffffffffc);
  EXPECT_EQ(r.string(), "a");
  EXPECT_EQ(r.string(), "");
  EXPECT_EQ(r.id<Id>(), Id::from(Bytes(16, 9)));
  EXPECT_EQ(r.bytes().size(), 300u);
  EXPECT_TRUE(r.at_end());
}

TEST(Reader, VarintsAtTheirEdges) {
  for (int shift = 0; shift < 64; ++shift) {
    for (uint64_t v : {uint64_t{1} << shift, (uint64_t{1} << shift) - 1, ~uint64_t{0} >> shift}) {
      Bytes in = varint(v);
      Reader r(in);
      EXPECT_EQ(r.varint(), v);
      EXPECT_TRUE(r.at_end());
      for (size_t n = 0; n < in.size(); ++n) {
        Reader cut(BytesView(in).first(n));
        EXPECT_EQ(cut.varint(), 0u);
        EXPECT_FALSE(cut.ok());
      }
    }
  }
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min(), kMax = std::numeric_limits<int64_t>::max();
  for (int64_t v : {int64_t{0}, int64_t{1}, int64_t{-1}, int64_t{63}, int64_t{-64}, kMin, kMin + 1, kMax}) {
    Bytes in = written([v](Writer& w) { w.svarint(v); });
    Reader r(in);
    EXPECT_EQ(r.svarint(), v);
    EXPECT_TRUE(r.at_end());
  }
}

TEST(Reader, OneEncodingOfANumber) {
  for (std::string_view bad : {"8000", "ff00", "808000", "80808080808080808002", "ffffffffffffffffff02",
                               "ffffffffffffffffffff01", "80808080808080808000", "ffffffffffffffffff81"}) {
    Bytes in = unhex(bad).value();
    Reader r(in);
    EXPECT_EQ(r.varint(), 0u) << bad;
    EXPECT_FALSE(r.ok()) << bad;
  }
}

TEST(Reader, LengthsBeyondTheEnd) {
  for (uint64_t n : {uint64_t{4}, uint64_t{1} << 31, uint64_t{1} << 32, uint64_t{1} << 63, ~uint64_t{0}}) {
    Bytes in = varint(n);
    in.insert(in.end(), {1, 2, 3});
    Reader r(in);
    EXPECT_TRUE(r.bytes().empty());
    EXPECT_FALSE(r.ok());
    Reader s(in);
    EXPECT_EQ(s.string(), "");
    EXPECT_FALSE(s.ok());
    Reader c(in);
    EXPECT_EQ(c.count(1), 0u);
    EXPECT_FALSE(c.ok());
    Reader raw(in);
    EXPECT_TRUE(raw.raw(std::numeric_limits<size_t>::max()).empty());
    EXPECT_FALSE(raw.ok());
  }
}

TEST(Reader, CountsAreBoundedByWhatIsThere) {
  Bytes in = varint(3);
  in.resize(in.size() + 12);
  Reader fits(in);
  EXPECT_EQ(fits.count(4), 3u);
  EXPECT_TRUE(fits.ok());
  Reader does_not(in);
  EXPECT_EQ(does_not.count(5), 0u);
  EXPECT_FALSE(does_not.ok());
}

TEST(Reader, FailureIsForGood) {
  Bytes in(20, 1);
  auto expect_dead = [](Reader& r) {
    EXPECT_FALSE(r.ok());
    EXPECT_FALSE(r.at_end());
    EXPECT_EQ(r.u8(), 0);
    EXPECT_EQ(r.u16(), 0);
    EXPECT_EQ(r.u32(), 0u);
    EXPECT_EQ(r.u64(), 0u);
    EXPECT_EQ(r.varint(), 0u);
    EXPECT_EQ(r.svarint(), 0);
    EXPECT_TRUE(r.bytes().empty());
    EXPECT_EQ(r.string(), "");
    EXPECT_TRUE(r.id<Id>().is_zero());
    EXPECT_EQ(r.count(1), 0u);
    EXPECT_TRUE(r.raw(0).empty());
    EXPECT_FALSE(r.ok());
  };
  Reader told(in);
  told.fail();
  expect_dead(told);
  Reader ran_out(in);
  ran_out.raw(21);
  expect_dead(ran_out);
  Bytes two_hundred = varint(200);
  Reader count(two_hundred);
  count.count(1);
  expect_dead(count);
}

// A decoder of a made-up structure over random bytes: must end, and never reads past the end (sanitizers watch).
TEST(Reader, RandomInput) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  SCOPED_TRACE(seed);
  for (int round = 0; round < 20'000; ++round) {
    Bytes in(random() % 40);
    for (uint8_t& b : in) b = static_cast<uint8_t>(random() % (round % 2 ? 256 : 8));
    Reader r(in);
    size_t n = r.count(2), read = 0;
    for (size_t i = 0; i < n && r.ok(); ++i) read += r.bytes().size() + (r.svarint() != 0 ? 1 : 0);
    read += r.string().size();
    ASSERT_LE(read, in.size());
    ASSERT_TRUE(!r.at_end() || r.remaining() == 0);
  }
}

}  // namespace
}  // namespace coffer
