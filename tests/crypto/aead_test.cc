#include "crypto/aead.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <algorithm>
#include <set>

#include "crypto/associated_data.h"
#include "crypto/bulk_aead.h"
#include "vectors.h"

namespace coffer {
namespace {

using testing::bytes_of;
using testing::counting;
using testing::filled;

// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
TEST(Aead, PublishedVector) {
  AeadKey key(Secret(BytesView(counting(0x80, 32))));
  Bytes sealed = counting(0x40, 24);
  Bytes body = bytes_of(
      "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216"
      "cb9"
      "6b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52"
      "e"
      "c0875924c1c7987947deafd8780acf49");
  sealed.insert(sealed.end(), body.begin(), body.end());
  auto plain = key.open(bytes_of("50515253c0c1c2c3c4c5c6c7"), sealed);
  ASSERT_TRUE(plain);
  EXPECT_EQ(as_string(*plain),
            "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen "
            "would be it.");
}

TEST(Aead, EveryWayOfSealingOpens) {
  AeadKey key(filled(32, 1));
  for (size_t size : {0, 1, 15, 16, 17, 64, 4096, 65536}) {
    Bytes plain = counting(7, size), ad = counting(1, size % 50);
    Bytes sealed = key.seal(ad, plain);
    ASSERT_EQ(sealed.size(), size + kSealOverhead);
    EXPECT_EQ(key.open(ad, sealed).value(), plain);

    Bytes into(size + kSealOverhead);
    key.seal(ad, plain, into);
    EXPECT_EQ(key.open(ad, into).value(), plain);

    std::fill(into.begin(), into.end(), 0);
    std::copy(plain.begin(), plain.end(), into.begin() + 24);
    key.seal_in_place(ad, into);
    EXPECT_EQ(key.open(ad, into).value(), plain);

    ASSERT_TRUE(key.open(ad, into, MutableBytes(into).subspan(24, size)));
    EXPECT_TRUE(std::equal(plain.begin(), plain.end(), into.begin() + 24));
  }
}

TEST(Aead, EveryFlippedBitIsCorruptAndLeavesNoPlaintext) {
  AeadKey key(filled(32, 1));
  Bytes ad = to_bytes("place"), plain = to_bytes("some plaintext that must not leak");
  const Bytes sealed = key.seal(ad, plain);
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    Bytes bad = sealed;
    bad[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    Bytes out(plain.size(), 0xee);
    auto r = key.open(ad, bad, out);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code(), Code::kCorrupt);
    EXPECT_EQ(out, Bytes(plain.size(), 0));
  }
  for (size_t size = 0; size < sealed.size(); ++size) {
    auto r = key.open(ad, BytesView(sealed).first(size));
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code(), Code::kCorrupt);
  }
  EXPECT_EQ(key.open(to_bytes("plate"), sealed).error().code(), Code::kCorrupt);
  EXPECT_EQ(AeadKey(filled(32, 2)).open(ad, sealed).error().code(), Code::kCorrupt);

  Bytes out(8, 0xee);  // too short to be sealed at all: nothing is left as it was
  EXPECT_FALSE(key.open(ad, BytesView(sealed).first(39), out));
  EXPECT_EQ(out, Bytes(8, 0));
}

// Long messages are OpenSSL's, short ones libsodium's: the bytes are the same on both sides of the border, both ways.
TEST(Aead, LongMessagesAreWhatLibsodiumMakesOfThem) {
  const Bytes key_bits = counting(1, 32), nonce = counting(9, 24);
  AeadKey key(Secret{BytesView(key_bits)});
  for (size_t size : {size_t{0}, internal::kBulkMin - 1, internal::kBulkMin, internal::kBulkMin + 1, size_t{4096},
                      size_t{65535}, size_t{65536}, size_t{65537}, size_t{1} << 20}) {
    const Bytes plain = counting(3, size), ad = counting(1, size % 61);
    Bytes by_sodium(size + kSealOverhead);
    std::copy(nonce.begin(), nonce.end(), by_sodium.begin());
    crypto_aead_xchacha20poly1305_ietf_encrypt(by_sodium.data() + 24, nullptr, plain.data(), size, ad.data(), ad.size(),
                                               nullptr, nonce.data(), key_bits.data());
    auto opened = key.open(ad, by_sodium);
    ASSERT_TRUE(opened) << size;
    EXPECT_EQ(*opened, plain) << size;

    const Bytes sealed = key.seal(ad, plain);
    Bytes back(size);
    EXPECT_EQ(crypto_aead_xchacha20poly1305_ietf_decrypt(back.data(), nullptr, nullptr, sealed.data() + 24, size + 16,
                                                         ad.data(), ad.size(), sealed.data(), key_bits.data()),
              0)
        << size;
    EXPECT_EQ(back, plain) << size;
    if (size < internal::kBulkMin) continue;
    Bytes bulk(size + 16);  // and it is really OpenSSL that does it
    ASSERT_EQ(internal::seal_bulk(key_bits, nonce, ad, plain, bulk), internal::BulkResult::kDone);
    EXPECT_TRUE(std::equal(bulk.begin(), bulk.end(), by_sodium.begin() + 24)) << size;
  }
}

TEST(Aead, AForgedLongMessageLeavesNoPlaintext) {
  AeadKey key(filled(32, 1));
  const Bytes ad = to_bytes("place"), plain = counting(1, 5000), sealed = key.seal(ad, plain);
  for (size_t bit = 0; bit < sealed.size() * 8; bit += 37) {
    Bytes bad = sealed, out(plain.size(), 0xee);
    bad[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    auto r = key.open(ad, bad, out);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code(), Code::kCorrupt);
    EXPECT_EQ(out, Bytes(plain.size(), 0));
    ASSERT_FALSE(key.open(ad, bad, MutableBytes(bad).subspan(24, plain.size())));  // in place
    EXPECT_TRUE(std::all_of(bad.begin() + 24, bad.end() - 16, [](uint8_t b) { return b == 0; }));
  }
  EXPECT_FALSE(key.open(to_bytes("plate"), sealed));
  EXPECT_FALSE(AeadKey(filled(32, 2)).open(ad, sealed));
  EXPECT_FALSE(key.open(ad, BytesView(sealed).first(sealed.size() - 1)));
}

TEST(Aead, NoncesDiffer) {
  AeadKey key(filled(32, 1));
  std::set<Bytes> nonces;
  for (int i = 0; i < 2000; ++i) {
    Bytes sealed = key.seal({}, {});
    sealed.resize(24);
    EXPECT_TRUE(nonces.insert(sealed).second);
  }
}

TEST(AeadDeathTest, ContractIsChecked) {
  EXPECT_DEATH(AeadKey(filled(31, 1)), "not 32 bytes");
  AeadKey key(filled(32, 1));
  Bytes small(39);
  EXPECT_DEATH(key.seal({}, {}, small), "wrong size");
  EXPECT_DEATH(key.seal_in_place({}, small), "wrong size");
  Bytes sealed(50);
  EXPECT_DEATH((void)key.open({}, sealed, small), "wrong size");
}

TEST(AssociatedData, GoldenBytes) {
  ObjectId object = testing::golden_object();
  EXPECT_EQ(associated_data(Sealed::kFrame, testing::golden_volume(), 3, object.view(), 0x0102030405060708),
            testing::vector("ad.frame"));
  EXPECT_EQ(associated_data(Sealed::kRow, testing::golden_volume(), 1, ObjectId{}.view(), 0, as_bytes("row key")),
            testing::vector("ad.row"));
}

}  // namespace
}  // namespace coffer
