#include "vectors.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <fstream>
#include <map>
#include <string>

namespace coffer::testing {

Bytes bytes_of(std::string_view hex_text) {
  auto b = unhex(hex_text);
  EXPECT_TRUE(b) << hex_text;
  return b.value_or(Bytes{});
}

Bytes vector(std::string_view name) {
  static const std::map<std::string, std::string, std::less<>> all = [] {
    std::map<std::string, std::string, std::less<>> m;
    std::ifstream file(COFFER_VECTORS);
    for (std::string line; std::getline(file, line);) {
      size_t space = line.find(' ');
      if (!line.starts_with('#') && space != std::string::npos) m[line.substr(0, space)] = line.substr(space + 1);
    }
    return m;
  }();
  auto it = all.find(name);
  EXPECT_NE(it, all.end()) << name;
  return it == all.end() ? Bytes{} : bytes_of(it->second);
}

Bytes counting(uint8_t first, size_t n, int step) {
  Bytes b(n);
  for (size_t i = 0; i < n; ++i) b[i] = static_cast<uint8_t>(first + static_cast<int>(i) * step);
  return b;
}

Secret filled(size_t n, uint8_t value) { return Secret(BytesView(Bytes(n, value))); }

Secret secret_of(std::string_view text) { return Secret(as_bytes(text)); }

SigningKey signing_key(uint8_t seed_byte) {
  Secret seed = filled(32, seed_byte);
  Secret secret(64);
  PublicKey pub;
  crypto_sign_seed_keypair(pub.bytes.data(), secret.data().data(), seed.view().data());
  return SigningKey::from_secret(std::move(secret)).value();
}

VolumeId golden_volume() { return VolumeId::from(counting(0, 16)); }
DeviceId golden_device() { return DeviceId::from(counting(16, 16)); }
ObjectId golden_object() { return ObjectId::from(counting(32, 16)); }

VolumeSecrets golden_secrets() {
  SigningKey key = signing_key(0x33);
  VolumeSecrets s;
  s.volume = golden_volume();
  s.signing_public = key.public_key();
  s.signing_secret = std::move(key);
  s.epoch_keys.emplace(1, filled(32, 0x11));
  s.epoch_keys.emplace(2, filled(32, 0x22));
  return s;
}

void expect_same(const VolumeSecrets& a, const VolumeSecrets& b) {
  EXPECT_EQ(a.volume, b.volume);
  EXPECT_EQ(a.signing_public, b.signing_public);
  ASSERT_EQ(a.signing_secret.has_value(), b.signing_secret.has_value());
  if (a.signing_secret) {
    EXPECT_TRUE(a.signing_secret->secret().equal(b.signing_secret->secret()));
  }
  ASSERT_EQ(a.epoch_keys.size(), b.epoch_keys.size());
  for (const auto& [epoch, key] : a.epoch_keys) {
    auto it = b.epoch_keys.find(epoch);
    ASSERT_NE(it, b.epoch_keys.end());
    EXPECT_TRUE(key.equal(it->second));
  }
}

}  // namespace coffer::testing
