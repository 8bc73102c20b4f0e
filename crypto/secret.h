// Memory for keys and passphrases: locked, guarded, excluded from core dumps, wiped when it goes (sodium_malloc).
#pragma once

#include <cstddef>

#include "base/bytes.h"
#include "base/result.h"

namespace coffer {

// Must be called once before anything else of this layer; idempotent. kInternal when libsodium cannot start.
Result<void> crypto_init();
// No core dumps, not ptraceable by others of the same user. Called by the program before it holds a secret.
Result<void> harden_process();

// Owns secret bytes. Moves, does not copy; no operator==, use equal(). A moved-from secret is empty.
class Secret {
 public:
  Secret() = default;
  explicit Secret(size_t size);     // zeroed; aborts when locked memory is not to be had
  explicit Secret(BytesView copy);  // the caller wipes his own
  Secret(Secret&& o) noexcept;
  Secret& operator=(Secret&& o) noexcept;
  ~Secret();

  static Secret random(size_t size);
  Secret clone() const;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  BytesView view() const { return {data_, size_}; }
  MutableBytes data() { return {data_, size_}; }
  bool equal(const Secret& other) const;  // constant time for equal sizes

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// Overwrites ordinary memory that held something secret for a moment.
void wipe(MutableBytes bytes);

}  // namespace coffer
