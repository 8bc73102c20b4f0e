#include "remote/netrc.h"

#include <strings.h>

#include <cstdlib>

#include "base/fd.h"

namespace coffer {
namespace {

constexpr size_t kMostFileBytes = 1 << 20;

class Words {
 public:
  explicit Words(std::string_view text) : rest_(text) {}

  std::optional<std::string> next() {
    for (;;) {
      while (!rest_.empty() && is_blank(rest_.front())) {
        line_begins_ = line_begins_ || rest_.front() == '\n';
        rest_.remove_prefix(1);
      }
      if (rest_.empty()) return std::nullopt;
      if (rest_.front() != '#' || !line_begins_) break;
      skip_past("\n");
    }
    line_begins_ = false;
    std::string word;
    bool quoted = rest_.front() == '"';
    if (quoted) rest_.remove_prefix(1);
    while (!rest_.empty() && (quoted ? rest_.front() != '"' : !is_blank(rest_.front()))) {
      if (quoted && rest_.front() == '\\' && rest_.size() > 1) rest_.remove_prefix(1);
      word.push_back(rest_.front());
      rest_.remove_prefix(1);
    }
    if (quoted && !rest_.empty()) rest_.remove_prefix(1);
    return word;
  }
  // A macro ends at an empty line.
  void skip_macro() { skip_past("\n\n"); }

 private:
  static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
  void skip_past(std::string_view mark) {
    size_t at = rest_.find(mark);
    rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at + mark.size());
    line_begins_ = true;
  }

  std::string_view rest_;
  bool line_begins_ = true;
};

}  // namespace

std::string netrc_path() {
  if (const char* path = std::getenv("NETRC"); path != nullptr && *path != '\0') return path;
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') return std::string(home) + "/.netrc";
  return "";
}

std::optional<NetrcEntry> find_in_netrc(std::string_view text, std::string_view host) {
  Words words(text);
  std::string wanted(host);
  std::optional<NetrcEntry> entry;  // set while we are in the entry that serves
  while (auto word = words.next()) {
    if (*word == "machine") {
      if (entry) return entry;
      auto machine = words.next();
      if (machine && ::strcasecmp(machine->c_str(), wanted.c_str()) == 0) entry.emplace();
    } else if (*word == "default") {
      if (entry) return entry;
      entry.emplace();
    } else if (*word == "macdef") {
      words.skip_macro();
    } else if (*word == "login" || *word == "password" || *word == "account") {
      auto value = words.next();
      if (entry && value && *word == "login") entry->login = *value;
      if (entry && value && *word == "password") entry->password = *value;
    }
  }
  return entry;
}

Result<std::optional<NetrcEntry>> read_netrc(const std::string& path, const std::string& host) {
  if (path.empty()) return std::nullopt;
  auto text = read_file(path, kMostFileBytes);
  if (text) return find_in_netrc(as_string(*text), host);
  if (text.error().code() == Code::kNotFound) return std::nullopt;
  return fail(Code::kDenied, "netrc: " + text.error().what());
}

}  // namespace coffer
