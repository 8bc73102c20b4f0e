// Whether a failed request reached a server: what a person can do differs.
#pragma once

#include <charconv>
#include <optional>

#include "base/result.h"

namespace coffer {

// Begins what an error says of an answer by its status.
inline constexpr std::string_view kServerAnswers = "the server answers ";

// The HTTP status by which a server refused; nullopt: no server answered, or the store has none.
inline std::optional<int> answered_status(const Error& error) {
  std::string_view text = error.what();
  const size_t at = text.find(kServerAnswers);
  if (at == std::string_view::npos) return std::nullopt;
  text.remove_prefix(at + kServerAnswers.size());
  int status = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), status).ec != std::errc()) return std::nullopt;
  return status;
}

}  // namespace coffer
