#include "fs/cli/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace coffer::cli {

Outcome<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return give_up(Failure(errno_error("pipe", errno)));
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

Outcome<pid_t> start_program(const char* file, std::vector<std::string> arguments, const Fd* in, const Fd* out) {
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  pid_t child = ::fork();
  if (child < 0) return give_up(Failure(errno_error("fork", errno)));
  if (child > 0) return child;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if ((in != nullptr && ::dup2(in->get(), STDIN_FILENO) < 0) ||
      (out != nullptr && ::dup2(out->get(), STDOUT_FILENO) < 0))
    _exit(kProgramNotThere);
  ::execvp(file, argv.data());
  _exit(kProgramNotThere);
}

int wait_for_program(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace coffer::cli
