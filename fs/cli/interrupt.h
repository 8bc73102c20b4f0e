// Ctrl-C as a stop token.
#pragma once

#include <stop_token>
#include <thread>

#include "fs/cli/signals.h"

namespace coffer::cli {

// While it lives, SIGINT, SIGTERM and SIGHUP stop token() instead of the process. Owns a thread.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  std::stop_token token() const { return source_.get_token(); }

 private:
  SignalFd signals_;
  std::stop_source source_;
  std::jthread thread_;
};

}  // namespace coffer::cli
