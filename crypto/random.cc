#include "crypto/random.h"

#include <pthread.h>
#include <sodium.h>

#include <algorithm>
#include <atomic>
#include <ctime>

#include "crypto/require.h"

namespace coffer {
namespace {

// Counts forks, seen from the child, so that a child's threads drop what they inherited. A process-wide fact, hence the
// one mutable global of this layer.
constinit std::atomic<uint64_t> forks{0};

constexpr size_t kLargestFromPool = 64;

// One thread's store of random bytes: a nonce takes a copy instead of a system call. Each byte is handed out once.
struct Pool {
  std::array<uint8_t, 1024> bytes;
  size_t left;  // unused bytes are bytes[0, left)
  uint64_t generation;

  void refill() {
    static const int registered = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1); });
    internal::require(registered == 0, "pthread_atfork failed");
    generation = forks.load();
    randombytes_buf(bytes.data(), bytes.size());
    left = bytes.size();
  }

  void take(MutableBytes out) {
    if (left < out.size() || generation != forks.load(std::memory_order_relaxed)) refill();
    left -= out.size();
    std::memcpy(out.data(), bytes.data() + left, out.size());
    std::memset(bytes.data() + left, 0, out.size());

    // A virtual machine resumed twice from one snapshot has this pool twice, and a repeated nonce would be fatal. The
    // time parts the two; uniform bytes stay uniform whatever independent value is added to them.
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ns = static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
    for (size_t i = 0; i < std::min(out.size(), sizeof ns); ++i) out[i] ^= static_cast<uint8_t>(ns >> (8 * i));
  }
};

constinit thread_local Pool pool{};

}  // namespace

void random_bytes(MutableBytes out) {
  if (out.empty()) return;
  if (out.size() <= kLargestFromPool) {
    pool.take(out);
  } else {
    randombytes_buf(out.data(), out.size());
  }
}

uint64_t random_u64() {
  uint64_t v;
  random_bytes({reinterpret_cast<uint8_t*>(&v), sizeof v});
  return v;
}

}  // namespace coffer
