// Lines of text over a stream socket, with limits on size and time, since the other side may be anybody.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace coffer::cli {

// Not thread-safe.
class LineChannel {
 public:
  explicit LineChannel(Fd socket, size_t line_max);

  // Without its newline. nullopt when the other side closed; kTimedOut; kTooLarge for a line beyond the limit.
  Result<std::optional<std::string>> read_line(std::chrono::milliseconds timeout);
  Result<void> write_line(const std::string& line, std::chrono::milliseconds timeout);
  // Whether read_line has something without asking the socket.
  bool has_line() const { return buffer_.find('\n') != std::string::npos; }
  int fd() const { return socket_.get(); }

 private:
  Fd socket_;
  const size_t line_max_;
  std::string buffer_;
};

}  // namespace coffer::cli
