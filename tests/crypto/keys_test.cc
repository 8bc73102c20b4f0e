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

// A chain of members from the volume's key on; the last one's certificate is the golden one when there are two.
struct Member {
  SigningKey key;
  DeviceCertificate certificate;
};
std::vector<Member> chain_of(size_t length) {
  const VolumeId volume = testing::golden_volume();
  std::vector<Member> out;
  for (size_t i = 0; i < length; ++i) {
    SigningKey key = testing::signing_key(static_cast<uint8_t>(0x55 + 0x11 * i));
    auto certificate =
        i == 0 ? Result<DeviceCertificate>(DeviceCertificate::issue(testing::signing_key(0x33), volume,
                                                                    testing::golden_device(), key.public_key(), 2))
               : DeviceCertificate::vouch(out.back().certificate, out.back().key, volume, key.public_key(), 2);
    if (!certificate) break;
    out.push_back({std::move(key), std::move(*certificate)});
  }
  return out;
}

TEST(Keys, AMemberVouchesForAnother) {
  const PublicKey signing = testing::signing_key(0x33).public_key();
  const VolumeId volume = testing::golden_volume();
  auto members = chain_of(4);
  ASSERT_EQ(members.size(), 4u);
  Bytes second;
  Writer w(second);
  members[1].certificate.encode(w);
  EXPECT_EQ(second, testing::vector("voucher"));

  Bytes own, vouchers;
  Writer own_writer(own), voucher_writer(vouchers);
  members[3].certificate.encode(own_writer);
  members[3].certificate.encode_vouchers(voucher_writer);
  EXPECT_EQ(vouchers.size(), 1 + 3 * own.size());
  EXPECT_EQ(vouchers[0], 3);
  auto decode = [](BytesView own_bytes, BytesView voucher_bytes, bool whole = true) {
    Reader a(own_bytes), b(voucher_bytes);
    DeviceCertificate c = DeviceCertificate::decode(a);
    c.decode_vouchers(b);
    EXPECT_EQ(a.at_end() && b.at_end(), whole);
    return c;
  };
  DeviceCertificate decoded = decode(own, vouchers);
  EXPECT_TRUE(decoded.valid(signing, volume));
  EXPECT_EQ(decoded.device, device_id_of(members[3].key.public_key()));
  ASSERT_EQ(decoded.vouchers.size(), 3u);
  EXPECT_EQ(decoded.vouchers[0].device, testing::golden_device());
  EXPECT_EQ(decoded.vouchers[2].key, members[2].key.public_key());

  for (size_t i = 0; i < own.size(); ++i) {
    Bytes bad = own;
    bad[i] ^= 0x10;
    EXPECT_FALSE(decode(bad, vouchers).valid(signing, volume)) << i;
  }
  for (size_t i = 1; i < vouchers.size(); ++i) {
    Bytes bad = vouchers;
    bad[i] ^= 0x10;
    EXPECT_FALSE(decode(own, bad).valid(signing, volume)) << i;
  }
  for (size_t size = 0; size < vouchers.size(); ++size) decode(own, BytesView(vouchers).first(size), false);
  for (uint8_t count : {0, 17}) {
    Bytes bad = vouchers;
    bad[0] = count;
    decode(own, bad, false);
  }
}

TEST(Keys, AChainOfVouchersHasNoGapsAndAnEnd) {
  const PublicKey signing = testing::signing_key(0x33).public_key();
  const VolumeId volume = testing::golden_volume();
  const auto members = chain_of(20);
  EXPECT_EQ(members.size(), kMaxVouchers + 1);
  EXPECT_TRUE(members.back().certificate.valid(signing, volume));
  EXPECT_EQ(DeviceCertificate::vouch(members.back().certificate, members.back().key, volume, signing, 1).error().code(),
            Code::kInvalid);

  const DeviceCertificate& last = members[3].certificate;
  for (size_t i = 0; i < 3; ++i) {
    DeviceCertificate gap = last, moved = last;
    gap.vouchers.erase(gap.vouchers.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_FALSE(gap.valid(signing, volume)) << i;
    std::swap(moved.vouchers[i], moved.vouchers[(i + 1) % 3]);
    EXPECT_FALSE(moved.valid(signing, volume)) << i;
  }
  EXPECT_FALSE(last.valid(signing, VolumeId{}));
  // Somebody who is no member vouches with a certificate that is a member's.
  const SigningKey stranger = testing::signing_key(0x99), friend_of_his = testing::signing_key(0x9A);
  auto forged =
      DeviceCertificate::vouch(members[0].certificate, stranger, volume, friend_of_his.public_key(), 1).value();
  EXPECT_FALSE(forged.valid(signing, volume));
  // A member's own signature does not stand for the volume's, nor the other way round.
  DeviceCertificate bare = members[1].certificate;
  bare.vouchers.clear();
  EXPECT_FALSE(bare.valid(signing, volume));
  EXPECT_FALSE(bare.valid(members[0].key.public_key(), volume));
  DeviceCertificate by_volume =
      DeviceCertificate::issue(members[0].key, volume, device_id_of(stranger.public_key()), stranger.public_key(), 2);
  by_volume.vouchers = members[1].certificate.vouchers;
  EXPECT_FALSE(by_volume.valid(signing, volume));
}

TEST(Keys, NobodyVouchesInAnothersName) {
  const PublicKey signing = testing::signing_key(0x33).public_key();
  const VolumeId volume = testing::golden_volume();
  const auto members = chain_of(1);
  const SigningKey thief = testing::signing_key(0x99);
  auto honest = DeviceCertificate::vouch(members[0].certificate, members[0].key, volume, thief.public_key(), 2).value();
  ASSERT_TRUE(honest.valid(signing, volume));
  // The member signs, all the same, that the thief's key is of another device: of itself, say.
  Bytes message = to_bytes("coffer device voucher");
  Writer w(message);
  w.u8(0);
  w.id(volume);
  for (const DeviceId& id : {members[0].certificate.device, members[0].certificate.device}) w.id(id);
  w.id(thief.public_key());
  w.u32(2);
  DeviceCertificate in_its_name = honest;
  in_its_name.device = members[0].certificate.device;
  in_its_name.signature = members[0].key.sign(message);
  EXPECT_FALSE(in_its_name.valid(signing, volume));
}

TEST(KeysDeathTest, ContractIsChecked) {
  EXPECT_DEATH(EpochKeys(1, filled(16, 1)), "not 32 bytes");
  EXPECT_DEATH(LocalKeys(filled(32, 1), Bytes(16)), "not 32 bytes");
  EXPECT_DEATH(PrfKey(filled(33, 1)), "not 32 bytes");
}

}  // namespace
}  // namespace coffer
