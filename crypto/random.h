// Random bytes from the kernel's generator, by libsodium.
#pragma once

#include "base/bytes.h"

namespace coffer {

void random_bytes(MutableBytes out);
uint64_t random_u64();
template <typename Id>
Id random_id() {
  Id id;
  random_bytes(id.bytes);
  return id;
}

}  // namespace coffer
