#include "tests/fuzz/fuzz.h"

#include <cstdio>
#include <cstdlib>

namespace coffer::fuzz {
namespace {

Secret key_of(uint8_t filled) {
  require(crypto_init().has_value(), "libsodium does not start");
  return Secret(BytesView(Bytes(32, filled)));
}

}  // namespace

void require(bool holds, std::string_view what) {
  if (holds) [[likely]]
    return;
  std::fprintf(stderr, "does not hold: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

const EpochKeys& epoch_keys() {
  static const EpochKeys keys(1, key_of(1));
  return keys;
}

const LocalKeys& local_keys() {
  static const LocalKeys keys(key_of(1), Bytes(32, 2));
  return keys;
}

const SigningKey& signing_key() {
  // Seed and public half of the first test vector of RFC 8032.
  static const SigningKey key = [] {
    key_of(0);
    return must(
        SigningKey::from_secret(Secret(BytesView(*unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f"
                                                        "60d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f7"
                                                        "07511a")))));
  }();
  return key;
}

}  // namespace coffer::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Once, before anything: every target may use what needs it.
  static const bool ready = coffer::crypto_init().has_value();
  coffer::fuzz::require(ready, "libsodium does not start");
  coffer::fuzz::run({data, size});
  return 0;
}
