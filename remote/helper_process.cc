#include "remote/helper_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/fd.h"

extern char** environ;

namespace coffer {
namespace {

constexpr int kLookMilliseconds = 50;  // how long a stop request or the timeout may go unnoticed

class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0)
      if (errno != EINTR) break;
    pid_ = 0;
    return status;
  }
  // Whether it has ended; then `status` is set.
  bool ended(int& status) {
    if (::waitpid(pid_, &status, WNOHANG) == 0) return false;
    pid_ = 0;
    return true;
  }

 private:
  pid_t pid_;
};

}  // namespace

Result<std::vector<std::string>> split_command(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    char c = line[i];
    if (quote == '\'') {
      if (c == '\'')
        quote = 0;
      else
        word.push_back(c);
    } else if (c == '\\' && i + 1 < line.size()) {
      char next = line[++i];
      if (quote == '"' && next != '"' && next != '\\') word.push_back(c);
      word.push_back(next);
      in_word = true;
    } else if (quote == '"') {
      if (c == '"')
        quote = 0;
      else
        word.push_back(c);
    } else if (c == '\'' || c == '"') {
      quote = c;
      in_word = true;
    } else if (c == ' ' || c == '\t') {
      if (in_word) words.push_back(std::move(word));
      word.clear();
      in_word = false;
    } else {
      word.push_back(c);
      in_word = true;
    }
  }
  if (quote != 0) return fail(Code::kInvalid, "command with an open quote");
  if (in_word) words.push_back(std::move(word));
  if (words.empty()) return fail(Code::kInvalid, "empty command");
  return words;
}

Result<std::string> run_helper(const std::vector<std::string>& command, size_t limit, Nanos timeout,
                               std::stop_token stop) {
  const std::string& program = command.front();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno_error("pipe", errno));
  Fd out(ends[0]), in(ends[1]);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, in.get(), 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = -1;
  int started = ::posix_spawnp(&pid, program.c_str(), &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (started != 0) return fail(Code::kUnavailable, program + " cannot be started: " + std::strerror(started));
  Child child(pid);
  in.reset();

  const Nanos deadline = Clock::system().monotonic() + timeout;
  auto given_up = [&]() -> Result<void> {
    if (stop.stop_requested()) return fail(Code::kCancelled, program + ": cancelled");
    if (Clock::system().monotonic() > deadline) return fail(Code::kTimedOut, program + " does not finish");
    return {};
  };
  std::string text;
  for (;;) {
    TRYV(given_up());
    pollfd poll_fd{out.get(), POLLIN, 0};
    if (::poll(&poll_fd, 1, kLookMilliseconds) <= 0) continue;
    char buffer[4096];
    ssize_t n = ::read(out.get(), buffer, sizeof buffer);
    if (n < 0 && errno != EINTR) return fail(errno_error("reading from " + program, errno));
    if (n == 0) break;
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
    if (text.size() > limit) return fail(Code::kTooLarge, program + " prints too much");
  }
  int status = 0;
  while (!child.ended(status)) {  // it closed stdout, but may go on
    TRYV(given_up());
    ::poll(nullptr, 0, kLookMilliseconds);
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return fail(Code::kUnavailable,
                program + (WIFEXITED(status) ? " ended with status " + std::to_string(WEXITSTATUS(status))
                                             : " was killed by signal " + std::to_string(WTERMSIG(status))));
  return text;
}

}  // namespace coffer
