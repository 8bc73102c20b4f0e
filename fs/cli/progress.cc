#include "fs/cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "fs/cli/format.h"

namespace coffer::cli {
namespace {

constexpr Nanos kBarInterval = std::chrono::milliseconds(100);
constexpr Nanos kLineInterval = std::chrono::seconds(5);
constexpr size_t kBarWidth = 24;

double fraction(const ProgressSample& s) {
  if (s.total_bytes == 0) return s.waiting_files == 0 ? 1 : 0;
  return std::min(1.0, static_cast<double>(s.done_bytes) / static_cast<double>(s.total_bytes));
}

size_t terminal_width(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 80;
  return size.ws_col;
}

}  // namespace

std::string progress_text(const ProgressSample& s) {
  std::string text = std::to_string(static_cast<int>(fraction(s) * 100)) + " %, " + format_bytes(s.done_bytes) +
                     " of " + format_bytes(s.total_bytes);
  if (s.waiting_files != 0) text += ", " + format_count(s.waiting_files, "file", "files") + " waiting";
  if (!s.online || !s.trouble.empty()) return text + ", " + (s.trouble.empty() ? "store not reached" : s.trouble);
  if (s.rate > 0) {
    text += ", " + format_rate(s.rate);
    uint64_t left = s.total_bytes - std::min(s.done_bytes, s.total_bytes);
    if (left != 0) text += ", " + format_duration(static_cast<double>(left) / s.rate) + " left";
  }
  return text;
}

std::string progress_bar(const ProgressSample& s, size_t width) {
  size_t full = static_cast<size_t>(fraction(s) * kBarWidth);
  std::string line = "[" + std::string(full, '#') + std::string(kBarWidth - full, '.') + "] " + progress_text(s);
  if (line.size() > width) line.resize(width);
  return line;
}

ProgressView::ProgressView(int fd, Style style, const Clock& clock)
    : fd_(fd),
      style_(style),
      clock_(clock),
      last_(clock.monotonic() - (style == Style::kBar ? kBarInterval : Nanos(0))) {}

ProgressView ProgressView::on_stderr(bool quiet) {
  return ProgressView(STDERR_FILENO, quiet ? Style::kNone : ::isatty(STDERR_FILENO) ? Style::kBar : Style::kLines);
}

ProgressView::~ProgressView() {
  if (drawn_) write("\n");
}

void ProgressView::show(const ProgressSample& sample) {
  if (style_ == Style::kNone) return;
  Nanos now = clock_.monotonic();
  if (now - last_ < (style_ == Style::kBar ? kBarInterval : kLineInterval)) return;
  last_ = now;
  if (style_ == Style::kLines) return write(progress_text(sample) + "\n");
  write("\r" + progress_bar(sample, terminal_width(fd_) - 1) + "\x1b[K");
  drawn_ = true;
}

void ProgressView::clear() {
  if (drawn_) write("\r\x1b[K");
  drawn_ = false;
}

void ProgressView::write(const std::string& text) {
  [[maybe_unused]] ssize_t n = ::write(fd_, text.data(), text.size());
}

}  // namespace coffer::cli
