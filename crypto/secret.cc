#include "crypto/secret.h"

#include <sodium.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <utility>

#include "crypto/require.h"

namespace coffer {

Result<void> crypto_init() {
  if (sodium_init() < 0) return fail(Code::kInternal, "libsodium does not start");
  return {};
}

Result<void> harden_process() {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail(errno_error("prctl(PR_SET_DUMPABLE)", errno));
  rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) return fail(errno_error("setrlimit(RLIMIT_CORE)", errno));
  return {};
}

Secret::Secret(size_t size) : size_(size) {
  if (size == 0) return;
  data_ = static_cast<uint8_t*>(sodium_malloc(size));
  internal::require(data_ != nullptr, "no locked memory for a secret");
  sodium_memzero(data_, size);
}

Secret::Secret(BytesView copy) : Secret(copy.size()) {
  if (!copy.empty()) std::memcpy(data_, copy.data(), copy.size());
}

Secret::Secret(Secret&& o) noexcept : data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)) {}

Secret& Secret::operator=(Secret&& o) noexcept {
  if (this != &o) {
    sodium_free(data_);
    data_ = std::exchange(o.data_, nullptr);
    size_ = std::exchange(o.size_, 0);
  }
  return *this;
}

Secret::~Secret() { sodium_free(data_); }

Secret Secret::random(size_t size) {
  Secret s(size);
  if (size != 0) randombytes_buf(s.data_, size);
  return s;
}

Secret Secret::clone() const { return Secret(view()); }

bool Secret::equal(const Secret& other) const {
  return size_ == other.size_ && (size_ == 0 || sodium_memcmp(data_, other.data_, size_) == 0);
}

void wipe(MutableBytes bytes) {
  if (!bytes.empty()) sodium_memzero(bytes.data(), bytes.size());
}

}  // namespace coffer
