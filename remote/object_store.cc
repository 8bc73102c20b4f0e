#include "remote/object_store.h"

namespace coffer {
namespace {

constexpr size_t kMaxKeyBytes = 200;

bool key_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

Result<void> check_stop(std::string_view operation, const std::string& what, const std::stop_token& stop) {
  if (stop.stop_requested()) return fail(Code::kCancelled, std::string(operation) + " " + what + ": cancelled");
  return {};
}

}  // namespace

bool valid_key_component(std::string_view component) {
  if (component.empty() || component.front() == '.' || component.size() > kMaxKeyBytes) return false;
  for (char c : component)
    if (!key_character(c)) return false;
  return true;
}

bool valid_object_key(std::string_view key) {
  if (key.empty() || key.size() > kMaxKeyBytes) return false;
  for (;;) {
    size_t slash = key.find('/');
    if (!valid_key_component(key.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    key.remove_prefix(slash + 1);
  }
}

bool valid_list_prefix(std::string_view prefix) {
  return prefix.empty() || (prefix.back() == '/' && valid_object_key(prefix.substr(0, prefix.size() - 1)));
}

Result<void> check_key(std::string_view operation, const std::string& key, const std::stop_token& stop) {
  if (!valid_object_key(key)) return fail(Code::kInvalid, std::string(operation) + ": not a valid object key");
  return check_stop(operation, key, stop);
}

Result<void> check_prefix(const std::string& prefix, const std::stop_token& stop) {
  if (!valid_list_prefix(prefix)) return fail(Code::kInvalid, "list: not a valid prefix");
  return check_stop("list", prefix, stop);
}

}  // namespace coffer
