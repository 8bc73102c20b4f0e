#include "crypto/hash.h"

#include <gtest/gtest.h>

#include "vectors.h"

namespace coffer {
namespace {

using testing::bytes_of;

TEST(Hash, Blake2b256) {
  EXPECT_EQ(blake2b(as_bytes("abc")).str(), "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
  EXPECT_EQ(blake2b({}).str(), "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
}

TEST(Hash, PiecesAreTheWhole) {
  Bytes data = testing::counting(0, 1000);
  for (size_t cut : {0, 1, 127, 128, 129, 999, 1000}) {
    Hasher h;
    h.update(BytesView(data).first(cut)).update({}).update(BytesView(data).subspan(cut));
    EXPECT_EQ(h.finish(), blake2b(data)) << cut;
  }
}

TEST(HashDeathTest, FinishesOnce) {
  Hasher h;
  h.finish();
  EXPECT_DEATH(h.finish(), "finished twice");
}

// FIPS 180-2 and RFC 4231, test cases 1, 2 and 6.
TEST(Hash, Sha256AndHmac) {
  EXPECT_EQ(hex(sha256(as_bytes("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(hmac_sha256(Bytes(20, 0x0b), as_bytes("Hi There"))),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hex(hmac_sha256(as_bytes("Jefe"), as_bytes("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hex(hmac_sha256(Bytes(131, 0xaa), as_bytes("Test Using Larger Than Block-Size Key - Hash Key First"))),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

}  // namespace
}  // namespace coffer
