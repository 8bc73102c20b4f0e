// Byte strings, and the one way in which coffer writes and reads structures: little-endian fixed integers, LEB128
// varints, and length-prefixed strings. Reading never trusts a length.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace coffer {

using Bytes = std::vector<uint8_t>;
using BytesView = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

inline BytesView as_bytes(std::string_view s) { return {reinterpret_cast<const uint8_t*>(s.data()), s.size()}; }
inline std::string_view as_string(BytesView b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }
inline Bytes to_bytes(BytesView b) { return Bytes(b.begin(), b.end()); }
inline Bytes to_bytes(std::string_view s) { return to_bytes(as_bytes(s)); }

std::string hex(BytesView bytes);
// Lower- or upper-case hex of even length; kInvalid otherwise.
Result<Bytes> unhex(std::string_view text);

// A fixed-size identifier or digest: a value that compares, hashes (std::hash) and prints as hex.
template <size_t N, typename Tag>
struct FixedBytes {
  std::array<uint8_t, N> bytes{};

  static constexpr size_t kSize = N;
  static FixedBytes from(BytesView view) {  // view.size() must be N
    FixedBytes id;
    std::memcpy(id.bytes.data(), view.data(), N);
    return id;
  }
  BytesView view() const { return bytes; }
  bool is_zero() const {
    for (uint8_t b : bytes)
      if (b != 0) return false;
    return true;
  }
  std::string str() const { return hex(bytes); }
  auto operator<=>(const FixedBytes&) const = default;
};

// Appends fields to a byte string.
class Writer {
 public:
  explicit Writer(Bytes& out) : out_(out) {}

  void u8(uint8_t v) { out_.push_back(v); }
  void u16(uint16_t v) { fixed(v); }
  void u32(uint32_t v) { fixed(v); }
  void u64(uint64_t v) { fixed(v); }
  void varint(uint64_t v) {
    while (v >= 0x80) {
      out_.push_back(static_cast<uint8_t>(v) | 0x80);
      v >>= 7;
    }
    out_.push_back(static_cast<uint8_t>(v));
  }
  // Zig-zag, for values that are small in either direction.
  void svarint(int64_t v) { varint((static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63)); }
  void raw(BytesView b) { out_.insert(out_.end(), b.begin(), b.end()); }
  void bytes(BytesView b) {
    varint(b.size());
    raw(b);
  }
  void string(std::string_view s) { bytes(as_bytes(s)); }
  template <size_t N, typename Tag>
  void id(const FixedBytes<N, Tag>& v) {
    raw(v.view());
  }

 private:
  template <typename T>
  void fixed(T v) {
    for (size_t i = 0; i < sizeof(T); ++i) out_.push_back(static_cast<uint8_t>(v >> (8 * i)));
  }
  Bytes& out_;
};

// Reads fields back. After the first field that does not fit, ok() is false for good and every further field reads as
// zero or empty, so a decoder may read a whole structure and check once, but must check ok() before it loops on a count.
class Reader {
 public:
  explicit Reader(BytesView in) : in_(in) {}

  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && in_.empty(); }
  size_t remaining() const { return in_.size(); }

  uint8_t u8() { return static_cast<uint8_t>(fixed<uint8_t>()); }
  uint16_t u16() { return fixed<uint16_t>(); }
  uint32_t u32() { return fixed<uint32_t>(); }
  uint64_t u64() { return fixed<uint64_t>(); }
  uint64_t varint();  // rejects encodings longer than needed
  int64_t svarint() {
    uint64_t v = varint();
    return static_cast<int64_t>(v >> 1) ^ -static_cast<int64_t>(v & 1);
  }
  BytesView raw(size_t n) {
    if (!ok_ || n > in_.size()) {
      ok_ = false;
      in_ = {};
      return {};
    }
    BytesView r = in_.first(n);
    in_ = in_.subspan(n);
    return r;
  }
  BytesView bytes() { return raw(checked_size(varint())); }
  std::string string() { return std::string(as_string(bytes())); }
  template <typename Id>
  Id id() {
    BytesView b = raw(Id::kSize);
    return ok_ ? Id::from(b) : Id{};
  }
  // A count of things of which each takes at least `min_bytes` of what remains; anything larger fails.
  size_t count(size_t min_bytes) {
    uint64_t n = varint();
    if (ok_ && n > in_.size() / min_bytes) ok_ = false;
    return ok_ ? static_cast<size_t>(n) : 0;
  }
  void fail() { ok_ = false; }

 private:
  size_t checked_size(uint64_t n) {
    if (n > in_.size()) {
      ok_ = false;
      return 0;
    }
    return static_cast<size_t>(n);
  }
  template <typename T>
  T fixed() {
    BytesView b = raw(sizeof(T));
    T v = 0;
    for (size_t i = 0; i < b.size(); ++i) v = static_cast<T>(v | (static_cast<T>(b[i]) << (8 * i)));
    return v;
  }
  BytesView in_;
  bool ok_ = true;
};

}  // namespace coffer

template <size_t N, typename Tag>
struct std::hash<coffer::FixedBytes<N, Tag>> {
  size_t operator()(const coffer::FixedBytes<N, Tag>& id) const noexcept {
    static_assert(N >= sizeof(size_t));
    size_t h;  // ids are random or digests: their first bytes are as good as any hash
    std::memcpy(&h, id.bytes.data(), sizeof h);
    return h;
  }
};
