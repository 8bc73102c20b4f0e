#include "fs/cli/daemon_start.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace coffer::cli {

Outcome<std::optional<int>> DaemonStart::fork() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return give_up(Failure(errno_error("pipe", errno)));
  Fd from_child(ends[0]);
  to_parent_ = Fd(ends[1]);
  std::fflush(nullptr);
  pid_t child = ::fork();
  if (child < 0) return give_up(Failure(errno_error("fork", errno)));
  if (child == 0) return std::nullopt;

  to_parent_.reset();
  // Ctrl-C goes to the child as well, which cleans up and says so; its code is then ours.
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGQUIT, SIG_IGN);
  char byte = 0;
  ssize_t n;
  while ((n = ::read(from_child.get(), &byte, 1)) < 0 && errno == EINTR) {
  }
  if (n == 1) return 0;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  if (WTERMSIG(status) != SIGINT)
    std::fprintf(stderr, "coffer: the daemon died of signal %d before the mount was ready\n", WTERMSIG(status));
  return 128 + WTERMSIG(status);
}

void DaemonStart::ready(const Fd& log) {
  ::setsid();
  [[maybe_unused]] int moved = ::chdir("/");
  if (auto null = open_file("/dev/null", O_RDWR)) {
    ::dup2(null->get(), STDIN_FILENO);
    ::dup2(null->get(), STDOUT_FILENO);
  }
  ::dup2(log.get(), STDERR_FILENO);
  char byte = 1;
  [[maybe_unused]] ssize_t n = ::write(to_parent_.get(), &byte, 1);
  to_parent_.reset();
}

}  // namespace coffer::cli
