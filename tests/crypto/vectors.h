// The golden bytes of tests/vectors/crypto.txt, and shorthands of these tests.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "crypto/keys.h"
#include "crypto/secret.h"

namespace coffer::testing {

Bytes vector(std::string_view name);  // fails the test and is empty when there is none
Bytes bytes_of(std::string_view hex_text);
Bytes counting(uint8_t first, size_t n, int step = 1);
Secret filled(size_t n, uint8_t value);
Secret secret_of(std::string_view text);
SigningKey signing_key(uint8_t seed_byte);

// The inputs that the vectors file names.
VolumeId golden_volume();
DeviceId golden_device();
ObjectId golden_object();
VolumeSecrets golden_secrets();  // of epochs 1 and 2

void expect_same(const VolumeSecrets& a, const VolumeSecrets& b);

}  // namespace coffer::testing
