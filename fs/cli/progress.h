// How far something long has come: a bar on a terminal, a plain line now and then elsewhere.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace coffer::cli {

struct ProgressSample {
  uint64_t done_bytes = 0, total_bytes = 0;
  uint64_t waiting_files = 0;
  double rate = 0;  // bytes per second
  bool online = true;
  std::string trouble;  // what keeps it from going on; empty when nothing does
};

// At most `width` columns.
std::string progress_bar(const ProgressSample& sample, size_t width);
std::string progress_text(const ProgressSample& sample);

// Writes to one descriptor. Not thread-safe. Borrows the clock.
class ProgressView {
 public:
  enum class Style { kBar, kLines, kNone };

  ProgressView(int fd, Style style, const Clock& clock = Clock::system());
  // A bar when stderr is a terminal, lines when not, nothing when `quiet`.
  static ProgressView on_stderr(bool quiet);
  ~ProgressView();  // leaves the cursor on a line of its own

  // Cheap to call often: draws at most ten times a second, or a line every five seconds.
  void show(const ProgressSample& sample);
  // Takes the bar away, for an ordinary message to follow.
  void clear();

 private:
  void write(const std::string& text);

  const int fd_;
  const Style style_;
  const Clock& clock_;
  Nanos last_{0};
  bool drawn_ = false;
};

}  // namespace coffer::cli
