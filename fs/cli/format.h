// Numbers for people.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace coffer::cli {

// Digits of an id that are shown; more where they are needed to tell two apart.
inline constexpr size_t kShortId = 8;

std::string format_bytes(uint64_t bytes);     // "0 B", "999 B", "1.5 KiB", "12.0 GiB"
std::string format_rate(double per_second);   // "1.5 MiB/s"
std::string format_duration(double seconds);  // "4 s", "3 min 5 s", "2 h 10 min", "3 days"
std::string format_count(uint64_t n, const std::string& one, const std::string& many);  // "1 file", "2 files"
std::string format_time(WallTime t);                                                    // "2026-11-24T07:00:00Z"

}  // namespace coffer::cli
