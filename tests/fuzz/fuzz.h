// A fuzz target is one file that defines run(): it decodes the input, and checks what must hold of whatever came out.
// Built for libFuzzer (preset fuzz) it is a fuzzer; otherwise replay.cc goes through its corpus and some mutations of it.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "crypto/keys.h"

namespace coffer::fuzz {

// Called again and again, in one thread; `input` is exactly its allocation. Must not keep anything between calls.
void run(BytesView input);

// Aborts with `what` when it does not hold.
void require(bool holds, std::string_view what);

// What must not fail for the target itself to make sense.
template <typename T>
T must(Result<T> r) {
  if (!r) require(false, r.error().what());
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

// The same in every run, so that inputs mean the same: what a former device knows.
const EpochKeys& epoch_keys();
const LocalKeys& local_keys();
const SigningKey& signing_key();

// Takes an input apart: choices from its front, the rest for a decoder.
class Input {
 public:
  explicit Input(BytesView bytes) : rest_(bytes) {}
  // 0 to 255; 0 at the end.
  uint8_t byte() {
    if (rest_.empty()) return 0;
    uint8_t b = rest_.front();
    rest_ = rest_.subspan(1);
    return b;
  }
  // A piece whose length (two bytes, little-endian) is in front, cut to what there is.
  BytesView piece() {
    size_t n = byte();
    n |= size_t{byte()} << 8;
    BytesView p = rest_.first(n < rest_.size() ? n : rest_.size());
    rest_ = rest_.subspan(p.size());
    return p;
  }
  BytesView rest() const { return rest_; }
  std::string_view text() const { return as_string(rest_); }
  bool empty() const { return rest_.empty(); }

 private:
  BytesView rest_;
};

}  // namespace coffer::fuzz
