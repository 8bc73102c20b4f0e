#include "fs/cli/secret_input.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "fs/cli/child_process.h"
#include "fs/cli/passphrase_strength.h"
#include "fs/cli/signals.h"

namespace coffer::cli {
namespace {

Secret without_newline(const Secret& whole, size_t size) {
  BytesView view = whole.view().first(size);
  if (!view.empty() && view.back() == '\n') view = view.first(view.size() - 1);
  if (!view.empty() && view.back() == '\r') view = view.first(view.size() - 1);
  return view.empty() ? Secret() : Secret(view);
}

// Echo is off while this lives.
class EchoOff {
 public:
  explicit EchoOff(const Fd& terminal) : terminal_(terminal) {
    armed_ = tcgetattr(terminal_.get(), &before_) == 0;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    if (armed_) armed_ = tcsetattr(terminal_.get(), TCSAFLUSH, &quiet) == 0;
  }
  ~EchoOff() {
    if (armed_) tcsetattr(terminal_.get(), TCSAFLUSH, &before_);
  }
  EchoOff(const EchoOff&) = delete;
  EchoOff& operator=(const EchoOff&) = delete;

 private:
  const Fd& terminal_;
  termios before_{};
  bool armed_ = false;
};

void say(const Fd& terminal, const std::string& text) {
  [[maybe_unused]] ssize_t n = ::write(terminal.get(), text.data(), text.size());
}

// The file of the credential that a systemd unit may have been given for us (systemd.exec(5)); "" when there is none.
std::string systemd_credential() {
  const char* directory = std::getenv("CREDENTIALS_DIRECTORY");
  if (directory == nullptr || *directory != '/') return "";
  std::string path = std::string(directory) + "/coffer.passphrase";
  return ::access(path.c_str(), F_OK) == 0 ? path : "";
}

}  // namespace

Outcome<Secret> read_secret(const Fd& fd, const std::string& what) {
  Secret buffer(kPassphraseMax + 1);
  size_t size = 0;
  for (;;) {
    ssize_t n = ::read(fd.get(), buffer.data().data() + size, buffer.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return give_up(Failure(errno_error(what, errno)));
    if (n == 0) break;
    size += static_cast<size_t>(n);
    if (size > kPassphraseMax)
      return give_up(Exit::kUsage, what + ": more than " + std::to_string(kPassphraseMax) + " bytes");
  }
  return without_newline(buffer, size);
}

Outcome<Secret> secret_from_file(const std::string& path) {
  TRY(Fd fd, open_file(path, O_RDONLY));
  struct stat st;
  if (::fstat(fd.get(), &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) != 0)
    std::fprintf(stderr, "coffer: warning: others may read %s (chmod 600 it)\n", path.c_str());
  return read_secret(fd, path);
}

Outcome<Secret> secret_from_command(const std::string& command) {
  TRY(Pipe pipe, make_pipe());
  TRY(const pid_t child, start_program("/bin/sh", {"sh", "-c", command}, nullptr, &pipe.in));
  pipe.in.reset();
  auto secret = read_secret(pipe.out, "passphrase command");
  pipe.out.reset();
  const int status = wait_for_program(child);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return give_up(Exit::kGeneral, "the passphrase command failed",
                   "Run it by hand to see why: it must print the passphrase and exit 0.");
  return secret;
}

Outcome<Secret> ask_secret(const std::string& prompt, Echo echo) {
  auto opened = open_file("/dev/tty", O_RDWR | O_NOCTTY);
  if (!opened)
    return give_up(Exit::kUsage, "there is no terminal to ask for the passphrase",
                   "Give --passphrase-file or --passphrase-command.");
  Fd terminal = std::move(*opened);
  SignalFd signals;
  std::optional<EchoOff> echo_off;
  if (echo == Echo::kOff) echo_off.emplace(terminal);
  say(terminal, prompt);
  Secret line(4096);  // a terminal in canonical mode gives no longer lines
  for (;;) {
    pollfd wait[] = {{terminal.get(), POLLIN, 0}, {signals.fd(), POLLIN, 0}};
    if (::poll(wait, 2, -1) < 0 && errno != EINTR) return give_up(Failure(errno_error("poll", errno)));
    if (wait[1].revents != 0) {
      say(terminal, "\n");
      return give_up(Exit::kCutShort, "interrupted");
    }
    if (wait[0].revents == 0) continue;
    ssize_t n = ::read(terminal.get(), line.data().data(), line.size());
    if (n < 0 && errno == EINTR) continue;
    if (echo == Echo::kOff) say(terminal, "\n");
    if (n <= 0) return give_up(Exit::kUsage, "no passphrase was typed");
    return without_newline(line, static_cast<size_t>(n));
  }
}

Outcome<Secret> get_passphrase(const VolumeSettings& settings) {
  Secret passphrase;
  if (!settings.passphrase_file.empty()) {
    TRY(passphrase, secret_from_file(settings.passphrase_file));
  } else if (!settings.passphrase_command.empty()) {
    TRY(passphrase, secret_from_command(settings.passphrase_command));
  } else if (std::string credential = systemd_credential(); !credential.empty()) {
    TRY(passphrase, secret_from_file(credential));
  } else {
    TRY(passphrase, ask_secret("Passphrase: "));
  }
  if (passphrase.empty()) return give_up(Exit::kUsage, "the passphrase is empty");
  return passphrase;
}

Outcome<Secret> get_new_passphrase(const std::string& file, const std::string& command, bool weak) {
  if (!file.empty() || !command.empty()) {
    TRY(Secret passphrase, file.empty() ? secret_from_command(command) : secret_from_file(file));
    if (passphrase.empty()) return give_up(Exit::kUsage, "the passphrase is empty");
    if (weak) return passphrase;
    auto strong = check_new_passphrase(passphrase);
    if (strong) return passphrase;
    return give_up(strong.error().exit, strong.error().what,
                   strong.error().todo + " --weak-passphrase takes it all the same.");
  }
  for (;;) {
    TRY(Secret passphrase, ask_secret("New passphrase: "));
    if (passphrase.empty()) return give_up(Exit::kUsage, "the passphrase is empty");
    auto strong = weak ? Outcome<void>() : check_new_passphrase(passphrase);
    if (!strong) {
      report(strong.error());
      continue;
    }
    TRY(Secret again, ask_secret("Once more: "));
    if (passphrase.equal(again)) return passphrase;
    std::fputs("The two differ. Again, please.\n", stderr);
  }
}

}  // namespace coffer::cli
