#include "fs/cli/interrupt.h"

#include <poll.h>

#include "base/thread.h"

namespace coffer::cli {

Interrupt::Interrupt() {
  thread_ = start_thread("interrupt", [this](std::stop_token stop) {
    while (!stop.stop_requested()) {
      pollfd wait{signals_.fd(), POLLIN, 0};
      // Peeks only: a prompt, or whoever serves later, may want to see the signal as well.
      if (::poll(&wait, 1, 100) > 0) {
        source_.request_stop();
        return;
      }
    }
  });
}

Interrupt::~Interrupt() = default;

}  // namespace coffer::cli
