// Random bytes from the kernel's generator, by libsodium. For ids, nonces and salts: what is small comes from a store
// of the thread's that lies in ordinary memory. Keys come from Secret::random().
#pragma once

#include "base/bytes.h"

namespace coffer {

// Thread-safe. No byte is handed out twice, also after fork(); a machine resumed twice from one snapshot of its memory
// gets different bytes.
void random_bytes(MutableBytes out);
uint64_t random_u64();
template <typename Id>
Id random_id() {
  Id id;
  random_bytes(id.bytes);
  return id;
}

}  // namespace coffer
