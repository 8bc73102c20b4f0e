#include "loopback_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <stdexcept>

namespace coffer {
namespace {

bool readable(int fd, std::stop_token stop) {
  while (!stop.stop_requested()) {
    pollfd p{fd, POLLIN, 0};
    if (::poll(&p, 1, 20) > 0) return true;
  }
  return false;
}

std::optional<std::string> read_some(int fd, std::stop_token stop) {
  if (!readable(fd, stop)) return std::nullopt;
  std::string buffer(65536, '\0');
  ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
  if (n <= 0) return std::nullopt;
  buffer.resize(static_cast<size_t>(n));
  return buffer;
}

}  // namespace

ScriptedReply ScriptedReply::status(int status, std::string body, std::string headers) {
  ScriptedReply reply;
  reply.bytes = "HTTP/1.1 " + std::to_string(status) + " Scripted\r\n" + headers;
  if (status != 204 && status != 304) reply.bytes += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  reply.bytes += "\r\n" + body;
  return reply;
}

LoopbackServer::LoopbackServer(Handler handler, int read_delay_ms)
    : handler_(std::move(handler)), read_delay_ms_(read_delay_ms) {
  listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_.get(), 64) != 0 ||
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("no loopback socket");
  port_ = ntohs(address.sin_port);
  acceptor_ = std::jthread([this](std::stop_token stop) {
    while (readable(listener_.get(), stop)) {
      Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!connection) continue;
      ++accepted_;
      connections_.emplace_back(
          [this, c = std::move(connection)](std::stop_token s) mutable { serve(std::move(c), s); });
    }
  });
}

LoopbackServer::~LoopbackServer() {
  acceptor_.request_stop();
  acceptor_.join();
  for (std::jthread& connection : connections_) connection.request_stop();
}

std::vector<SeenRequest> LoopbackServer::seen() const {
  std::lock_guard lock(mutex_);
  return seen_;
}

size_t LoopbackServer::count(const std::string& method) const {
  size_t n = 0;
  for (const SeenRequest& request : seen()) n += request.method == method ? 1 : 0;
  return n;
}

void LoopbackServer::serve(Fd connection, std::stop_token stop) {
  std::string input;
  for (;;) {
    size_t end;
    while ((end = input.find("\r\n\r\n")) == std::string::npos) {
      auto more = read_some(connection.get(), stop);
      if (!more) return;
      input += *more;
    }
    SeenRequest request;
    std::string head = input.substr(0, end + 2);
    input.erase(0, end + 4);
    size_t line_end = head.find("\r\n");
    std::string first = head.substr(0, line_end);
    request.method = first.substr(0, first.find(' '));
    request.target = first.substr(request.method.size() + 1, first.rfind(' ') - request.method.size() - 1);
    for (size_t begin = line_end + 2; begin < head.size();) {
      size_t stop_at = head.find("\r\n", begin);
      std::string line = head.substr(begin, stop_at - begin);
      begin = stop_at + 2;
      size_t colon = line.find(':');
      if (colon == std::string::npos) continue;
      std::string name = line.substr(0, colon);
      for (char& c : name) c = static_cast<char>(std::tolower(c));
      request.headers[name] = line.substr(std::min(line.size(), line.find_first_not_of(' ', colon + 1)));
    }
    size_t length = 0;
    if (request.headers.contains("content-length")) length = std::stoul(request.headers["content-length"]);
    if (request.headers.contains("expect")) {
      static const std::string kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
      ::send(connection.get(), kContinue.data(), kContinue.size(), MSG_NOSIGNAL);
    }
    while (input.size() < length) {
      if (read_delay_ms_ > 0) ::poll(nullptr, 0, read_delay_ms_);
      auto more = read_some(connection.get(), stop);
      if (!more) return;
      input += *more;
    }
    request.body = input.substr(0, length);
    input.erase(0, length);
    {
      std::lock_guard lock(mutex_);
      request.index = seen_.size();
      seen_.push_back(request);
    }
    ScriptedReply reply = handler_(request);
    for (size_t sent = 0; sent < reply.bytes.size();) {
      ssize_t n = ::send(connection.get(), reply.bytes.data() + sent, reply.bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<size_t>(n);
    }
    if (reply.stall) {
      while (read_some(connection.get(), stop)) continue;
      return;
    }
    if (reply.close) return;
  }
}

}  // namespace coffer
