// An HTTP server that does what a test tells it to, in plaintext on loopback.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"

namespace coffer {

struct SeenRequest {
  std::string method, target;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  size_t index = 0;  // counts from 0
};

// What goes back. By default a complete answer, after which the connection serves the next request.
struct ScriptedReply {
  std::string bytes;   // status line, headers, body: just as they are sent
  bool close = false;  // afterwards
  bool stall = false;  // afterwards: says nothing more until the server is destroyed or the client hangs up

  static ScriptedReply status(int status, std::string body = "", std::string headers = "");
};

// One thread accepts, one per connection serves. Thread-safe.
class LoopbackServer {
 public:
  using Handler = std::function<ScriptedReply(const SeenRequest&)>;

  explicit LoopbackServer(Handler handler, int read_delay_ms = 0);
  ~LoopbackServer();

  std::string authority() const { return "127.0.0.1:" + std::to_string(port_); }
  std::string url() const { return "http://" + authority(); }
  std::vector<SeenRequest> seen() const;
  size_t count(const std::string& method) const;
  size_t connections() const { return accepted_; }

 private:
  void serve(Fd connection, std::stop_token stop);

  const Handler handler_;
  const int read_delay_ms_;
  Fd listener_;
  uint16_t port_ = 0;
  mutable std::mutex mutex_;
  std::vector<SeenRequest> seen_;
  std::atomic<size_t> accepted_ = 0;
  std::vector<std::jthread> connections_;
  std::jthread acceptor_;
};

}  // namespace coffer
