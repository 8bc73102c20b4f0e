// What a command ends with when it did not do what it was asked: an exit code, what happened, and what to do about it.
#pragma once

#include <expected>
#include <string>

#include "base/result.h"
#include "fs/cli/exit_codes.h"

namespace coffer::cli {

struct Failure {
  Exit exit = Exit::kGeneral;
  std::string what;  // what happened, to what: no trailing period, never a secret
  std::string todo;  // a sentence; empty when there is nothing to advise

  Failure(Exit code, std::string happened, std::string advice = "")
      : exit(code), what(std::move(happened)), todo(std::move(advice)) {}
  // Implicit, so that TRY passes errors of the layers below on; the exit code and the advice follow from the code.
  Failure(const Error& error);  // NOLINT(google-explicit-constructor)

  Failure in(std::string_view context) const { return Failure(exit, std::string(context) + ": " + what, todo); }
};

template <typename T>
using Outcome = std::expected<T, Failure>;

inline std::unexpected<Failure> give_up(Exit exit, std::string what, std::string todo = "") {
  return std::unexpected(Failure(exit, std::move(what), std::move(todo)));
}
inline std::unexpected<Failure> give_up(Failure failure) { return std::unexpected(std::move(failure)); }

// "coffer: WHAT" and the advice, to stderr. Returns the exit code as main returns it.
int report(const Failure& failure);

}  // namespace coffer::cli
