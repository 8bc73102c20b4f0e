// Fallible functions return Result<T>: a value, or an Error that says what kind of failure, of what, and why.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace coffer {

// What kind of failure. Only kUnavailable and kTimedOut are worth retrying unchanged.
enum class Code {
  // Outside trouble.
  kUnavailable,  // the other side cannot be reached or says "later"
  kTimedOut,     // no answer within the time allowed
  kCancelled,    // the caller gave up (signal, shutdown)
  kIo,           // the local disk or kernel failed
  kNoSpace,      // no room: local disk, quota, or a bounded table
  kDenied,       // credentials or permissions refuse it
  kUntrusted,    // the TLS peer did not verify
  kCorrupt,      // authentication failed, or bytes that nobody who holds the key would have written
  kUnsupported,  // this build or this store cannot do it
  kTooNew,       // a format version that this build does not know
  kBusy,         // somebody else holds it
  kInvalid,      // the request itself makes no sense
  kTooLarge,     // beyond a limit that is documented
  kInternal,     // our own fault
  // Names and files.
  kNotFound,
  kExists,
  kNotDirectory,
  kIsDirectory,
  kNotEmpty,
  kNameTooLong,
  kTooManyLinks,
  kNoData,        // no such extended attribute, or no data or hole beyond this offset
  kRange,         // the result does not fit the caller's buffer
  kNotPermitted,  // not allowed whoever asks (EPERM), as opposed to kDenied (EACCES)
  kStale,         // the thing existed, and is gone
  kCrossDevice,
  kLoop,
};

std::string_view to_string(Code code);

// A failure: its kind and one line for a person, outermost context first. Never holds secrets, file names of the user,
// or plaintext.
class Error {
 public:
  Error(Code code, std::string what) : code_(code), what_(std::move(what)) {}

  Code code() const { return code_; }
  const std::string& what() const { return what_; }
  bool retryable() const { return code_ == Code::kUnavailable || code_ == Code::kTimedOut; }

  // The same failure seen from one layer further out: "CONTEXT: what".
  Error in(std::string_view context) const { return Error(code_, std::string(context) + ": " + what_); }

 private:
  Code code_;
  std::string what_;
};

template <typename T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Code code, std::string what) {
  return std::unexpected(Error(code, std::move(what)));
}
inline std::unexpected<Error> fail(Error error) { return std::unexpected(std::move(error)); }

// Builds an Error from errno as left by a failed system call on `what`.
Error errno_error(std::string_view what, int err);

}  // namespace coffer

#define COFFER_CONCAT_(a, b) a##b
#define COFFER_CONCAT(a, b) COFFER_CONCAT_(a, b)

// TRY(auto x, f()): declares x from the value of a Result, or returns its error from the enclosing function.
#define TRY(lhs, expr) TRY_(COFFER_CONCAT(try_result_, __COUNTER__), lhs, expr)
#define TRY_(tmp, lhs, expr)                                \
  auto tmp = (expr);                                        \
  if (!tmp) return std::unexpected(std::move(tmp).error()); \
  lhs = std::move(*tmp)

// TRYV(f()): returns the error of a Result from the enclosing function, ignores its value.
#define TRYV(expr)                                                                                       \
  do {                                                                                                   \
    if (auto try_result_ = (expr); !try_result_) return std::unexpected(std::move(try_result_).error()); \
  } while (0)
