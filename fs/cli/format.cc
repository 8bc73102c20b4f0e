#include "fs/cli/format.h"

#include <cmath>
#include <cstdio>
#include <ctime>

namespace coffer::cli {

std::string format_bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  // 1023.95 would print as 1024.0.
  while (value >= 1023.95 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string format_rate(double per_second) {
  bool sensible = std::isfinite(per_second) && per_second > 0 && per_second < 0x1p62;
  return format_bytes(sensible ? static_cast<uint64_t>(per_second) : 0) + "/s";
}

std::string format_duration(double seconds) {
  if (!(seconds > 0)) return "0 s";
  if (seconds > 100.0 * 86400) return "more than 100 days";
  uint64_t s = static_cast<uint64_t>(std::ceil(seconds));
  if (s < 60) return std::to_string(s) + " s";
  if (s < 3600) return std::to_string(s / 60) + " min " + std::to_string(s % 60) + " s";
  if (s < 2 * 86400) return std::to_string(s / 3600) + " h " + std::to_string(s / 60 % 60) + " min";
  return std::to_string(s / 86400) + " days";
}

std::string format_count(uint64_t n, const std::string& one, const std::string& many) {
  return std::to_string(n) + " " + (n == 1 ? one : many);
}

std::string format_time(WallTime t) {
  time_t seconds = static_cast<time_t>(t.ns / 1'000'000'000 - (t.ns % 1'000'000'000 < 0 ? 1 : 0));
  tm parts;
  if (gmtime_r(&seconds, &parts) == nullptr) return "?";
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace coffer::cli
