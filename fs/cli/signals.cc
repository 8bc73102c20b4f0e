#include "fs/cli/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

namespace coffer::cli {

SignalFd::SignalFd() {
  sigset_t ours;
  sigemptyset(&ours);
  for (int s : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&ours, s);
  pthread_sigmask(SIG_BLOCK, &ours, &before_);
  fd_ = Fd(::signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
}

SignalFd::~SignalFd() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

int SignalFd::take() {
  signalfd_siginfo info;
  return ::read(fd_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

}  // namespace coffer::cli
