// The program's own messages: one line each, to stderr or, once daemonized, to a file. Never secrets, keys, plaintext or
// the names of the user's files.
#pragma once

#include <string>
#include <string_view>

namespace coffer {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

void set_log_level(LogLevel least);
// Thread-safe; one write(2) per line.
void log_line(LogLevel level, std::string_view text);

}  // namespace coffer
