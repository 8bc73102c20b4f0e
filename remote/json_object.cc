#include "remote/json_object.h"

#include <cstdint>
#include <optional>

namespace coffer {
namespace {

constexpr int kMostLevels = 16;

// Recursive descent; every method returns false, or nothing, at the first thing that is not JSON.
class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : rest_(text) {}

  bool object(std::map<std::string, std::string>* members, int level) {
    if (level > kMostLevels || !eat('{')) return false;
    if (eat('}')) return true;
    do {
      skip_blanks();
      auto name = string();
      if (!name || !eat(':')) return false;
      skip_blanks();
      if (rest_.empty()) return false;
      if (rest_.front() == '"') {
        auto value = string();
        if (!value) return false;
        if (members) (*members)[*name] = *value;
      } else if (rest_.front() == '{' || rest_.front() == '[') {
        if (!nested(level + 1)) return false;
      } else {
        std::string_view value = word();
        if (value.empty()) return false;
        if (members) (*members)[*name] = std::string(value);
      }
    } while (eat(','));
    return eat('}');
  }

  bool at_end() {
    skip_blanks();
    return rest_.empty();
  }

 private:
  bool nested(int level) {
    if (rest_.front() == '{') return object(nullptr, level);
    if (level > kMostLevels || !eat('[')) return false;
    if (eat(']')) return true;
    do {
      skip_blanks();
      if (rest_.empty()) return false;
      bool good = rest_.front() == '"'                           ? string().has_value()
                  : rest_.front() == '{' || rest_.front() == '[' ? nested(level + 1)
                                                                 : !word().empty();
      if (!good) return false;
    } while (eat(','));
    return eat(']');
  }

  void skip_blanks() {
    size_t n = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(n == std::string_view::npos ? rest_.size() : n);
  }
  bool eat(char c) {
    skip_blanks();
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // A number, true, false or null: not looked into further.
  std::string_view word() {
    std::string_view w = rest_.substr(0, rest_.find_first_not_of("+-.0123456789abcdefghijklmnopqrstuvwxyzE"));
    rest_.remove_prefix(w.size());
    return w;
  }
  std::optional<uint32_t> unit() {
    uint32_t value = 0;
    if (rest_.size() < 4) return std::nullopt;
    for (char c : rest_.substr(0, 4)) {
      int digit = c >= '0' && c <= '9'   ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                         : -1;
      if (digit < 0) return std::nullopt;
      value = value * 16 + static_cast<uint32_t>(digit);
    }
    rest_.remove_prefix(4);
    return value;
  }
  static void append_utf8(std::string& out, uint32_t c) {
    auto byte = [&](uint32_t b) { out.push_back(static_cast<char>(b)); };
    if (c < 0x80) return byte(c);
    if (c < 0x800) {
      byte(0xc0 | c >> 6);
    } else if (c < 0x10000) {
      byte(0xe0 | c >> 12);
      byte(0x80 | (c >> 6 & 0x3f));
    } else {
      byte(0xf0 | c >> 18);
      byte(0x80 | (c >> 12 & 0x3f));
      byte(0x80 | (c >> 6 & 0x3f));
    }
    byte(0x80 | (c & 0x3f));
  }
  std::optional<std::string> string() {
    if (rest_.empty() || rest_.front() != '"') return std::nullopt;
    rest_.remove_prefix(1);
    std::string out;
    while (!rest_.empty()) {
      char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < 0x20) return std::nullopt;
      if (c != '\\') {
        out.push_back(c);
        continue;
      }
      if (rest_.empty()) return std::nullopt;
      c = rest_.front();
      rest_.remove_prefix(1);
      switch (c) {
        case '"':
        case '\\':
        case '/':
          out.push_back(c);
          break;
        case 'b':
          out.push_back('\b');
          break;
        case 'f':
          out.push_back('\f');
          break;
        case 'n':
          out.push_back('\n');
          break;
        case 'r':
          out.push_back('\r');
          break;
        case 't':
          out.push_back('\t');
          break;
        case 'u': {
          auto first = unit();
          if (!first) return std::nullopt;
          uint32_t code = *first;
          if (code >= 0xdc00 && code < 0xe000) return std::nullopt;
          if (code >= 0xd800 && code < 0xdc00) {  // the first of a surrogate pair
            if (!rest_.starts_with("\\u")) return std::nullopt;
            rest_.remove_prefix(2);
            auto second = unit();
            if (!second || *second < 0xdc00 || *second >= 0xe000) return std::nullopt;
            code = 0x10000 + ((code - 0xd800) << 10) + (*second - 0xdc00);
          }
          append_utf8(out, code);
          break;
        }
        default:
          return std::nullopt;
      }
    }
    return std::nullopt;
  }

  std::string_view rest_;
};

}  // namespace

Result<std::map<std::string, std::string>> read_json_object(std::string_view text) {
  std::map<std::string, std::string> members;
  JsonReader reader(text);
  if (!reader.object(&members, 0) || !reader.at_end()) return fail(Code::kInvalid, "not a JSON object");
  return members;
}

}  // namespace coffer
