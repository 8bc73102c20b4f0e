// The daemon's end of the control socket.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <thread>

#include "base/fd.h"
#include "base/mutex.h"
#include "fs/cli/control_protocol.h"
#include "fs/cli/failure.h"

namespace coffer::cli {

// What requests come to. Called from threads of the server, several at once.
class ControlActions {
 public:
  using Report = std::function<void(const ProgressSample&)>;

  virtual ~ControlActions() = default;
  virtual nlohmann::json status() = 0;
  // `stop`: the asker has gone.
  virtual Outcome<nlohmann::json> sync(std::stop_token stop, const Report& report) = 0;
  virtual Outcome<nlohmann::json> collect(const CollectOptions& options, std::stop_token stop,
                                          const Report& report) = 0;
  virtual Outcome<nlohmann::json> let_in(const std::string& code) = 0;
  // Follows the work to its end; it goes on when the asker goes.
  virtual Outcome<nlohmann::json> rewrite(Epoch epoch, std::stop_token stop, const Report& report) = 0;
  // `hurry`: leave the rest for later, and unmount.
  virtual Outcome<nlohmann::json> unmount(const Request& how, std::stop_token stop, std::stop_token hurry,
                                          const Report& report) = 0;
};

// Owns its threads: one that accepts, and one for each of at most kConnectionsMax connections. Borrows the actions.
class ControlServer {
 public:
  static constexpr size_t kConnectionsMax = 16;

  ControlServer(Fd listener, ControlActions& actions);
  // Takes no more connections, and waits until those that there are have their answers.
  ~ControlServer();

 private:
  struct Connection {
    std::jthread thread;
    std::atomic<bool> done{false};
  };

  void accept_loop(std::stop_token stop);
  void serve(Fd socket);
  void reap(bool all);

  Fd listener_, wake_;
  ControlActions& actions_;
  std::list<std::unique_ptr<Connection>> connections_;  // only the accepting thread, and the destructor after it
  std::jthread acceptor_;
};

}  // namespace coffer::cli
