#include "cache/frame.h"

#include "tests/cache/fixture.h"

namespace coffer {
namespace {

using namespace test;

class FrameTest : public CacheTest {
 protected:
  Bytes seal(BytesView plain, uint32_t offset = 4096) {
    Bytes out;
    seal_frame(keys_, volume_, pack_, offset, plain, out);
    return out;
  }
  Result<Bytes> open(BytesView sealed, size_t plain_size, uint32_t offset = 4096) {
    Bytes plain(plain_size, 0xee);
    auto r = open_frame(keys_, volume_, pack_, offset, sealed, plain);
    if (r) return plain;
    EXPECT_EQ(plain, Bytes(plain_size)) << "something is left after a failure";
    return fail(r.error());
  }
  const ObjectId pack_ = fixed_id<ObjectId>(0x44);
};

TEST_F(FrameTest, EverySizeComesBack) {
  for (size_t size : {1u, 2u, 127u, 128u, 129u, 4095u, 4096u, 16383u, 16384u, 16385u, 65535u, 65536u}) {
    for (const Bytes& plain : {noise(size, size), text(size, size), Bytes(size)}) {
      Bytes sealed = seal(plain);
      EXPECT_LE(sealed.size(), plain.size() + 1 + kSealOverhead);
      TAKE(Bytes back, open(sealed, size));
      EXPECT_EQ(back, plain);
    }
  }
}

TEST_F(FrameTest, CompressesWhatCompresses) {
  EXPECT_LT(seal(text(kFrameMax, 1)).size(), kFrameMax / 2);
  EXPECT_LT(seal(Bytes(kFrameMax)).size(), 200u);
  EXPECT_EQ(seal(noise(kFrameMax, 1)).size(), kSealedFrameMax);
  EXPECT_EQ(seal(Bytes(100)).size(), 100 + 1 + kSealOverhead) << "too small to try";
  // Compressible after an incompressible start.
  Bytes mixed = noise(8192, 2);
  Bytes rest = text(kFrameMax - mixed.size(), 3);
  mixed.insert(mixed.end(), rest.begin(), rest.end());
  EXPECT_LT(seal(mixed).size(), kFrameMax * 3 / 4);
}

TEST_F(FrameTest, AppendsToWhatIsThere) {
  Bytes out = to_bytes("before");
  seal_frame(keys_, volume_, pack_, 6, as_bytes("plain"), out);
  EXPECT_EQ(as_string(BytesView(out).first(6)), "before");
  TAKE(Bytes back, open(BytesView(out).subspan(6), 5, 6));
  EXPECT_EQ(as_string(back), "plain");
}

TEST_F(FrameTest, IsBoundToItsPlace) {
  Bytes plain = text(5000, 1), sealed = seal(plain), out(plain.size());
  EXPECT_CODE(Code::kCorrupt, open(sealed, plain.size(), 4097));
  EXPECT_CODE(Code::kCorrupt, open_frame(keys_, volume_, fixed_id<ObjectId>(0x45), 4096, sealed, out));
  EXPECT_CODE(Code::kCorrupt, open_frame(keys_, fixed_id<VolumeId>(0x34), pack_, 4096, sealed, out));
  EXPECT_CODE(Code::kCorrupt, open_frame(EpochKeys(2, fixed_secret(0x11)), volume_, pack_, 4096, sealed, out));
  EXPECT_CODE(Code::kCorrupt, open_frame(EpochKeys(1, fixed_secret(0x12)), volume_, pack_, 4096, sealed, out));
}

TEST_F(FrameTest, AnyBitFlipOrCutFails) {
  for (const Bytes& plain : {text(3000, 1), noise(300, 1)}) {
    const Bytes sealed = seal(plain);
    for (size_t i = 0; i < sealed.size() * 8; i += 37) {
      Bytes bad = sealed;
      bad[i / 8] ^= static_cast<uint8_t>(1 << i % 8);
      EXPECT_CODE(Code::kCorrupt, open(bad, plain.size()));
    }
    for (size_t n = 0; n < sealed.size(); n += 13)
      EXPECT_CODE(Code::kCorrupt, open(BytesView(sealed).first(n), plain.size()));
    Bytes longer = sealed;
    longer.push_back(0);
    EXPECT_CODE(Code::kCorrupt, open(longer, plain.size()));
  }
}

TEST_F(FrameTest, WrongExpectedLengthFails) {
  for (const Bytes& plain : {text(3000, 1), noise(300, 1), Bytes(1)}) {
    Bytes sealed = seal(plain);
    EXPECT_CODE(Code::kCorrupt, open(sealed, plain.size() + 1));
    EXPECT_CODE(Code::kCorrupt, open(sealed, plain.size() - 1));
    EXPECT_CODE(Code::kCorrupt, open(sealed, 0));
  }
}

// Sealed with the fixed keys of the fixture by the first version of this format. It must open for ever.
TEST_F(FrameTest, GoldenFramesOpen) {
  TAKE(Bytes stored,
       unhex("998744aa67dc70c6f747fa1980b1f5f0ddc3fbeb42b98ddc87535f82b52bf82c3dcee3694d2b6665e0ea4280dcafcd98"
             "1d3cd1330b"));
  TAKE(Bytes back, open(stored, 12));
  EXPECT_EQ(as_string(back), "golden frame");
  TAKE(Bytes packed,
       unhex("5f81c8d72f3810fe0887a7645afc7d66522a1ba39548ae1d80d772b9d4077a11235c282cd9dc4eb5e9508c5d820f3c28"
             "f8c3aad96a73c988530fc024"));
  TAKE(back, open(packed, 4096));
  EXPECT_EQ(back, Bytes(4096, 'g'));
}

}  // namespace
}  // namespace coffer
