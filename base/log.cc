#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <ctime>

namespace coffer {
namespace {
std::atomic<LogLevel> least_level{LogLevel::kInfo};  // process-wide by nature, like stderr itself
}

void set_log_level(LogLevel least) { least_level = least; }

void log_line(LogLevel level, std::string_view text) {
  if (level < least_level.load()) return;
  static constexpr const char* kNames[] = {"debug", "info", "warning", "error"};
  time_t now = time(nullptr);
  tm parts;
  gmtime_r(&now, &parts);
  char stamp[32];
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ ", &parts);
  std::string line = stamp;
  line += kNames[static_cast<int>(level)];
  line += ": ";
  line += text;
  line += '\n';
  [[maybe_unused]] ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace coffer
