// Asked to end, as something to wait for.
#pragma once

#include <signal.h>

#include "base/fd.h"

namespace coffer::cli {

// While it lives, SIGINT, SIGTERM and SIGHUP do nothing to this thread, and to those that it starts, but make fd()
// readable. Made before the threads that it is for. They may nest.
class SignalFd {
 public:
  SignalFd();
  ~SignalFd();
  SignalFd(const SignalFd&) = delete;
  SignalFd& operator=(const SignalFd&) = delete;

  int fd() const { return fd_.get(); }
  // Takes one pending signal, 0 when there is none.
  int take();

 private:
  sigset_t before_;
  Fd fd_;
};

}  // namespace coffer::cli
