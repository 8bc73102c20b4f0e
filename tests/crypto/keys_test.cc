#include "crypto/keys.h"

#include <gtest/gtest.h>

#include "vectors.h"

namespace coffer {
namespace {

using testing::bytes_of;
using testing::filled;
using testing::signing_key;

// Whether `key` is the AEAD key of which the golden bytes are known.
bool is_golden(const AeadKey& key, std::string_view name) {
  Bytes golden = testing::vector(name);
  if (golden.size() != 32) return false;
  return AeadKey(Secret(BytesView(golden))).open({}, key.seal({}, as_bytes("x"))).has_value();
}

TEST(Keys, EpochSubKeys) {
  EpochKeys keys(1, filled(32, 0x11));
  EXPECT_EQ(keys.epoch(), 1u);
  EXPECT_TRUE(is_golden(keys.frames(), "key.frames"));
  EXPECT_TRUE(is_golden(keys.records(), "key.records"));
  EXPECT_TRUE(is_golden(keys.segments(), "key.segments"));
  EXPECT_FALSE(is_golden(keys.segments(), "key.frames"));
}

TEST(Keys, LocalSubKeys) {
  LocalKeys keys(filled(32, 0x11), Bytes(32, 0x44));
  EXPECT_TRUE(is_golden(keys.rows(), "key.local.rows"));
  EXPECT_TRUE(is_golden(keys.journal(), "key.local.journal"));
  EXPECT_TRUE(is_golden(keys.secrets(), "key.local.secrets"));
  EXPECT_EQ(to_bytes(keys.row_keys()(as_bytes("a name"))), testing::vector("prf.local.row_keys"));
  LocalKeys other(filled(32, 0x11), Bytes(32, 0x45));
  EXPECT_FALSE(is_golden(other.rows(), "key.local.rows"));
}

struct SignatureVector {
  const char *seed, *pub, *message, *signature;
};

// RFC 8032, section 7.1, tests 1 to 3.
constexpr SignatureVector kSignatures[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe246"
     "55"
     "141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb"
     "00"
     "d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc"
     "02"
     "7beceea1ec40a"},
};

TEST(Keys, PublishedSignatures) {
  for (const SignatureVector& v : kSignatures) {
    Bytes secret = bytes_of(std::string(v.seed) + v.pub), message = bytes_of(v.message);
    auto key = SigningKey::from_secret(Secret(BytesView(secret)));
    ASSERT_TRUE(key);
    EXPECT_EQ(key->public_key().str(), v.pub);
    Signature s = key->sign(message);
    EXPECT_EQ(s.str(), v.signature);
    EXPECT_TRUE(verify(key->public_key(), message, s));
    for (size_t i = 0; i < Signature::kSize; ++i) {
      Signature bad = s;
      bad.bytes[i] ^= 1;
      EXPECT_FALSE(verify(key->public_key(), message, bad));
    }
    message.push_back(0);
    EXPECT_FALSE(verify(key->public_key(), message, s));
  }
}

TEST(Keys, SigningKeysAreChecked) {
  EXPECT_NE(SigningKey::generate().public_key(), SigningKey::generate().public_key());
  SigningKey a = SigningKey::generate();
  EXPECT_TRUE(verify(a.public_key(), as_bytes("m"), a.sign(as_bytes("m"))));
  EXPECT_EQ(SigningKey::from_secret(filled(63, 1)).error().code(), Code::kInvalid);
  EXPECT_EQ(SigningKey::from_secret(filled(64, 1)).error().code(), Code::kInvalid);
  EXPECT_FALSE(verify(PublicKey{}, as_bytes("m"), Signature{}));  // a point of small order
}

TEST(Keys, Certificate) {
  SigningKey volume_signing = signing_key(0x33);
  PublicKey device_key = signing_key(0x55).public_key();
  EXPECT_EQ(to_bytes(volume_signing.public_key().view()), testing::vector("signing.public"));
  VolumeId volume = testing::golden_volume();
  auto cert = DeviceCertificate::issue(volume_signing, volume, testing::golden_device(), device_key, 2);
  Bytes encoded;
  Writer w(encoded);
  cert.encode(w);
  const Bytes golden = testing::vector("certificate");
  EXPECT_EQ(encoded, golden);

  Reader r(golden);
  auto decoded = DeviceCertificate::decode(r);
  ASSERT_TRUE(r.at_end());
  EXPECT_TRUE(decoded.valid(volume_signing.public_key(), volume));
  EXPECT_EQ(decoded.device, testing::golden_device());
  EXPECT_EQ(decoded.key, device_key);
  EXPECT_EQ(decoded.epoch, 2u);

  EXPECT_FALSE(decoded.valid(device_key, volume));
  EXPECT_FALSE(decoded.valid(volume_signing.public_key(), VolumeId{}));
  for (size_t i = 0; i < golden.size(); ++i) {
    Bytes bad = golden;
    bad[i] ^= 0x10;
    Reader bad_reader(bad);
    EXPECT_FALSE(DeviceCertificate::decode(bad_reader).valid(volume_signing.public_key(), volume)) << i;
    Reader short_reader(BytesView(golden).first(i));
    DeviceCertificate::decode(short_reader);
    EXPECT_FALSE(short_reader.ok());
  }
}

TEST(KeysDeathTest, ContractIsChecked) {
  EXPECT_DEATH(EpochKeys(1, filled(16, 1)), "not 32 bytes");
  EXPECT_DEATH(LocalKeys(filled(32, 1), Bytes(16)), "not 32 bytes");
  EXPECT_DEATH(PrfKey(filled(33, 1)), "not 32 bytes");
}

}  // namespace
}  // namespace coffer
