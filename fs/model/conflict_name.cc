#include <charconv>
#include <chrono>
#include <cstdio>

#include "fs/model/apply.h"
#include "fs/model/family.h"

namespace coffer::model {
namespace {

constexpr size_t kDeviceMax = 64;     // bytes of a host name in a conflict name
constexpr size_t kExtensionMax = 32;  // what is longer is no extension
constexpr std::string_view kMark = " (conflict, ";

// The longest prefix of at most `max` bytes that does not cut a UTF-8 sequence.
std::string_view cut(std::string_view s, size_t max) {
  if (s.size() <= max) return s;
  size_t n = max;
  while (n > 0 && max - n < 4 && (static_cast<uint8_t>(s[n]) & 0xc0) == 0x80) --n;
  // Bytes that are no UTF-8 are cut anywhere.
  if (n == 0 || (static_cast<uint8_t>(s[n]) & 0xc0) == 0x80) n = max;
  return s.substr(0, n);
}

std::string date(WallTime when) {
  using namespace std::chrono;
  year_month_day d(floor<days>(sys_time<nanoseconds>(nanoseconds(when.ns))));
  char text[16];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u", static_cast<int>(d.year()), static_cast<unsigned>(d.month()),
                static_cast<unsigned>(d.day()));
  return text;
}

// Takes ", TEXT" off the end.
std::optional<std::string_view> take_last(std::string_view& list) {
  size_t comma = list.rfind(", ");
  if (comma == std::string_view::npos) return std::nullopt;
  std::string_view last = list.substr(comma + 2);
  list = list.substr(0, comma);
  return last;
}

bool is_date(std::string_view s) {
  if (s.size() != 10) return false;
  for (size_t i = 0; i < s.size(); ++i)
    if (i == 4 || i == 7 ? s[i] != '-' : s[i] < '0' || s[i] > '9') return false;
  return true;
}

}  // namespace

std::string conflict_name(std::string_view name, std::string_view device, WallTime when, unsigned attempt) {
  std::string host(cut(device, kDeviceMax));
  for (char& c : host)
    if (c == '/' || static_cast<unsigned char>(c) < ' ') c = '-';
  if (host.empty()) host = "unknown";
  std::string mark = std::string(kMark) + host + ", " + date(when);
  if (attempt > 1) mark += ", " + std::to_string(attempt);
  mark += ")";

  std::string_view stem = name.substr(0, name.size() - companion_suffix(name).size());
  if (size_t dot = stem.rfind('.'); dot != std::string_view::npos && dot > 0 && stem.size() - dot <= kExtensionMax)
    stem = stem.substr(0, dot);
  std::string_view extension = name.substr(stem.size());  // and what SQLite adds to the name of a database
  std::string out(cut(stem, kNameMax - mark.size() - extension.size()));
  out += mark;
  out += extension;
  return out;
}

std::optional<ConflictName> parse_conflict_name(std::string_view name) {
  const size_t mark = name.rfind(kMark), end = name.rfind(')');
  if (mark == std::string_view::npos || mark == 0 || end == std::string_view::npos || end < mark) return std::nullopt;
  std::string_view extension = name.substr(end + 1);
  // (An x stands for the original, so that "-wal" alone is a suffix of something.)
  const std::string with_stem = "x" + std::string(extension);
  const std::string_view proper = extension.substr(0, extension.size() - companion_suffix(with_stem).size());
  if (!proper.empty() && (proper[0] != '.' || proper.size() > kExtensionMax)) return std::nullopt;
  std::string_view inside = name.substr(mark + kMark.size(), end - mark - kMark.size());
  ConflictName out;
  auto last = take_last(inside);
  if (!last) return std::nullopt;
  if (!is_date(*last)) {
    auto [stopped, error] = std::from_chars(last->data(), last->data() + last->size(), out.attempt);
    if (error != std::errc() || stopped != last->data() + last->size() || out.attempt < 2) return std::nullopt;
    last = take_last(inside);
  }
  if (!last || !is_date(*last) || inside.empty()) return std::nullopt;
  out.original = std::string(name.substr(0, mark)) + std::string(extension);
  out.device = inside;
  out.date = *last;
  return out;
}

Result<std::string> free_conflict_name(const ReadRows& rows, Ino dir, std::string_view name, std::string_view device,
                                       WallTime when, unsigned& attempt) {
  for (;;) {
    std::string other = conflict_name(name, device, when, ++attempt);
    TRY(std::optional<Bytes> taken, rows.get(name_key(dir, other)));
    if (!taken) return other;
  }
}

}  // namespace coffer::model
