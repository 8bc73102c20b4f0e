// What the tests of this layer share.
#pragma once

#include <gtest/gtest.h>

#include "crypto/keys.h"
#include "fs/model/change_set.h"
#include "fs/sync/volume.h"
#include "tests/cache/fixture.h"

namespace coffer::test {

// Ed25519 keys from a seed, so that golden signatures can be.
SigningKey fixed_signing_key(uint8_t byte);

// A passphrase, and what costs little to guess it.
inline constexpr KdfCost kCheap{8 * 1024, 1};
inline Secret pass(std::string_view text) { return Secret(as_bytes(text)); }

// A record's worth of changes: one made file with `pieces` pieces, and its name.
model::ChangeSet some_changes(uint64_t seed);

class SyncUnitTest : public CacheTest {
 protected:
  SyncUnitTest() : signing_(fixed_signing_key(0x77)) {}

  DeviceIdentity make_device(uint8_t byte) const {
    SigningKey key = fixed_signing_key(byte);
    DeviceId id = fixed_id<DeviceId>(byte);
    auto certificate = DeviceCertificate::issue(signing_, volume_, id, key.public_key(), 1);
    return {id, "device" + std::to_string(byte), std::move(key), certificate};
  }
  // One that another device vouches for.
  DeviceIdentity make_device(uint8_t byte, const DeviceIdentity& by) const {
    SigningKey key = fixed_signing_key(byte);
    auto certificate = DeviceCertificate::vouch(by.certificate, by.key, volume_, key.public_key(), 1).value();
    return {certificate.device, "device" + std::to_string(byte), std::move(key), certificate};
  }

  const SigningKey signing_;
};

extern const char kGoldenHash[];

}  // namespace coffer::test
