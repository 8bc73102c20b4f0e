#include "fs/cli/line_channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace coffer::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

Result<void> wait_for(int fd, short events, steady_clock::time_point end) {
  for (;;) {
    auto left = std::chrono::duration_cast<milliseconds>(end - steady_clock::now()).count();
    if (left < 0) return fail(Code::kTimedOut, "no answer in time");
    pollfd wait{fd, events, 0};
    int n = ::poll(&wait, 1, static_cast<int>(left));
    if (n > 0) return {};
    if (n < 0 && errno != EINTR) return fail(errno_error("poll", errno));
  }
}

}  // namespace

LineChannel::LineChannel(Fd socket, size_t line_max) : socket_(std::move(socket)), line_max_(line_max) {
  ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
}

Result<std::optional<std::string>> LineChannel::read_line(milliseconds timeout) {
  auto end = steady_clock::now() + timeout;
  for (;;) {
    if (size_t newline = buffer_.find('\n'); newline != std::string::npos) {
      std::string line = buffer_.substr(0, newline);
      buffer_.erase(0, newline + 1);
      return line;
    }
    if (buffer_.size() > line_max_) return fail(Code::kTooLarge, "a line is too long");
    char piece[4096];
    ssize_t n = ::read(socket_.get(), piece, sizeof piece);
    if (n == 0) return std::nullopt;
    if (n > 0) {
      buffer_.append(piece, static_cast<size_t>(n));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      TRYV(wait_for(socket_.get(), POLLIN, end));
    } else if (errno == ECONNRESET) {
      return std::nullopt;
    } else if (errno != EINTR) {
      return fail(errno_error("read", errno));
    }
  }
}

Result<void> LineChannel::write_line(const std::string& line, milliseconds timeout) {
  auto end = steady_clock::now() + timeout;
  std::string text = line + "\n";
  for (size_t done = 0; done < text.size();) {
    ssize_t n = ::send(socket_.get(), text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (n >= 0)
      done += static_cast<size_t>(n);
    else if (errno == EAGAIN || errno == EWOULDBLOCK)
      TRYV(wait_for(socket_.get(), POLLOUT, end));
    else if (errno != EINTR)
      return fail(errno_error("send", errno));
  }
  return {};
}

}  // namespace coffer::cli
