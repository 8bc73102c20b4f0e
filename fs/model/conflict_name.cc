#include <chrono>
#include <cstdio>

#include "fs/model/apply.h"

namespace coffer::model {
namespace {

constexpr size_t kDeviceMax = 64;     // bytes of a host name in a conflict name
constexpr size_t kExtensionMax = 32;  // what is longer is no extension

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

}  // namespace

std::string conflict_name(std::string_view name, std::string_view device, WallTime when, unsigned attempt) {
  std::string host(cut(device, kDeviceMax));
  for (char& c : host)
    if (c == '/' || static_cast<unsigned char>(c) < ' ') c = '-';
  if (host.empty()) host = "unknown";
  std::string mark = " (conflict, " + host + ", " + date(when);
  if (attempt > 1) mark += ", " + std::to_string(attempt);
  mark += ")";

  std::string_view stem = name, extension;
  if (size_t dot = name.rfind('.'); dot != std::string_view::npos && dot > 0 && name.size() - dot <= kExtensionMax) {
    stem = name.substr(0, dot);
    extension = name.substr(dot);
  }
  std::string out(cut(stem, kNameMax - mark.size() - extension.size()));
  out += mark;
  out += extension;
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
