// What the tests of this layer share: a directory that goes away, and keys that are the same every time.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/ids.h"
#include "crypto/key_ring.h"
#include "crypto/keys.h"
#include "crypto/secret.h"

namespace coffer::test {

// ASSERT_OK(f()), EXPECT_OK(f()), EXPECT_CODE(Code::kX, f()) for a Result; they print the error.
#define ASSERT_OK(expr)                                               \
  do {                                                                \
    auto&& ok_result_ = (expr);                                       \
    ASSERT_TRUE(ok_result_.has_value()) << ok_result_.error().what(); \
  } while (0)
#define EXPECT_OK(expr)                                               \
  do {                                                                \
    auto&& ok_result_ = (expr);                                       \
    EXPECT_TRUE(ok_result_.has_value()) << ok_result_.error().what(); \
  } while (0)
#define EXPECT_CODE(expected, expr)                                                                          \
  do {                                                                                                       \
    auto&& code_result_ = (expr);                                                                            \
    EXPECT_FALSE(code_result_.has_value());                                                                  \
    if (!code_result_) {                                                                                     \
      EXPECT_EQ(to_string(code_result_.error().code()), to_string(expected)) << code_result_.error().what(); \
    }                                                                                                        \
  } while (0)
// TAKE(auto x, f()): declares x from a Result that must hold a value.
#define TAKE(lhs, expr) TAKE_(COFFER_CONCAT(take_result_, __COUNTER__), lhs, expr)
#define TAKE_(tmp, lhs, expr)                         \
  auto tmp = (expr);                                  \
  ASSERT_TRUE(tmp.has_value()) << tmp.error().what(); \
  lhs = std::move(*tmp)

class TempDir {
 public:
  TempDir() {
    const char* base = std::getenv("TMPDIR");
    std::string name = std::string(base != nullptr ? base : "/tmp") + "/coffer-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A secret of 32 equal bytes.
inline Secret fixed_secret(uint8_t byte) {
  Secret s(32);
  for (uint8_t& b : s.data()) b = byte;
  return s;
}

template <typename Id>
Id fixed_id(uint8_t byte) {
  Id id;
  id.bytes.fill(byte);
  return id;
}

inline Bytes noise(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  Bytes b(size);
  for (uint8_t& byte : b) byte = static_cast<uint8_t>(random());
  return b;
}

// Compresses to about a third.
inline Bytes text(size_t size, uint64_t seed) {
  static constexpr const char* kWords[] = {"the ",  "quick ", "brown ", "fox ", "jumps ",
                                           "over ", "a ",     "lazy ",  "dog\n"};
  std::mt19937_64 random(seed);
  Bytes b;
  while (b.size() < size)
    for (const char* c = kWords[random() % std::size(kWords)]; *c != 0 && b.size() < size; ++c)
      b.push_back(static_cast<uint8_t>(*c));
  return b;
}

inline Bytes slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

inline void spill(const std::string& path, BytesView content) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
}

// Whether any file under `dir` has `needle` in its bytes or its name.
inline bool found_under(const std::string& dir, BytesView needle) {
  for (const auto& e : std::filesystem::recursive_directory_iterator(dir)) {
    if (e.path().filename().string().find(as_string(needle)) != std::string::npos) return true;
    if (!e.is_regular_file()) continue;
    Bytes content = slurp(e.path());
    if (as_string(content).find(as_string(needle)) != std::string_view::npos) return true;
  }
  return false;
}

// Keys, ids and a directory; failpoints are disarmed when a test ends.
class CacheTest : public ::testing::Test {
 protected:
  CacheTest()
      : ring_(1, fixed_secret(0x11)), keys_(ring_.newest()), local_(fixed_secret(0x11), fixed_secret(0x22).view()) {}
  ~CacheTest() override { arm_failpoints(""); }

  TempDir dir_;
  const VolumeId volume_ = fixed_id<VolumeId>(0x33);
  KeyRing ring_;
  const EpochKeys& keys_;
  const LocalKeys local_;

 private:
  // Before any key is made.
  static inline const bool started_ = crypto_init().has_value();
};

}  // namespace coffer::test
