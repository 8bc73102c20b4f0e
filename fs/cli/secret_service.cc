// The Secret Service is reached through secret-tool, a small program of libsecret: it takes and gives the secret by a pipe.
// So a daemon that runs for months has neither GLib nor a D-Bus connection in it.
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <vector>

#include "fs/cli/child_process.h"
#include "fs/cli/key_keeper.h"

namespace coffer::cli {
namespace {

constexpr size_t kMost = 16 * 1024;  // fits into a pipe, so that no side waits for the other
// A locked keyring asks its owner for his password.
constexpr auto kPatience = std::chrono::minutes(2);

// Up to kMost bytes, until the other side closes or time is up.
Outcome<Secret> read_output(const Fd& fd) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  Secret buffer(kMost);
  size_t size = 0;
  for (;;) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd wait{fd.get(), POLLIN, 0};
    int ready = left <= 0 ? 0 : ::poll(&wait, 1, static_cast<int>(left));
    if (ready == 0) return give_up(Exit::kGeneral, "the Secret Service does not answer");
    if (ready < 0 && errno == EINTR) continue;
    ssize_t n = ::read(fd.get(), buffer.data().data() + size, buffer.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return give_up(Failure(errno_error("secret-tool", errno)));
    if (n == 0) break;
    size += static_cast<size_t>(n);
    if (size == buffer.size()) return give_up(Exit::kGeneral, "the Secret Service holds something too large");
  }
  return size == 0 ? Secret() : Secret(buffer.view().first(size));
}

struct Answer {
  int status;  // of exit
  Secret output;
};

Outcome<Answer> secret_tool(std::vector<std::string> arguments, const Secret& input) {
  if (input.size() > kMost) return give_up(Exit::kGeneral, "the volume has too many epochs for the Secret Service");
  TRY(Pipe to_child, make_pipe());
  TRY(Pipe from_child, make_pipe());
  arguments.insert(arguments.begin(), "secret-tool");
  TRY(const pid_t child, start_program("secret-tool", std::move(arguments), &to_child.out, &from_child.in));
  to_child.out.reset();
  from_child.in.reset();
  if (!input.empty()) {
    // Broken off only when the child ended, which its status tells.
    [[maybe_unused]] ssize_t n = ::write(to_child.in.get(), input.view().data(), input.size());
  }
  to_child.in.reset();
  auto output = read_output(from_child.out);
  if (!output) ::kill(child, SIGKILL);
  const int status = wait_for_program(child);
  if (!output) return give_up(output.error());
  if (WIFEXITED(status) && WEXITSTATUS(status) == kProgramNotThere)
    return give_up(Exit::kGeneral, "there is no program secret-tool",
                   "Install it (Debian's package libsecret-tools), or keep the key in the keyring.");
  return Answer{WIFEXITED(status) ? WEXITSTATUS(status) : 128, std::move(*output)};
}

std::vector<std::string> with_attributes(std::vector<std::string> arguments, const VolumeId& volume) {
  for (std::string a : {std::string("application"), std::string("coffer"), std::string("volume"), volume.str()})
    arguments.push_back(std::move(a));
  return arguments;
}

class SecretService : public KeyKeeper {
 public:
  Outcome<void> keep(const VolumeId& volume, const Secret& text) override {
    TRY(Answer answer, secret_tool(with_attributes({"store", "--label=coffer volume " + volume.str()}, volume), text));
    if (answer.status != 0)
      return give_up(Exit::kGeneral, "the Secret Service did not take the key",
                     "secret-tool has said why, if it knew; is a keyring daemon running, and unlocked?");
    return {};
  }

  Outcome<std::optional<Secret>> find(const VolumeId& volume) override {
    TRY(Answer answer, secret_tool(with_attributes({"lookup"}, volume), Secret()));
    if (answer.status != 0 || answer.output.empty()) return std::nullopt;
    return std::move(answer.output);
  }

  Outcome<bool> forget(const VolumeId& volume) override {
    TRY(std::optional<Secret> kept, find(volume));
    if (!kept) return false;
    TRY(Answer answer, secret_tool(with_attributes({"clear"}, volume), Secret()));
    if (answer.status != 0) return give_up(Exit::kGeneral, "the Secret Service did not remove the key");
    return true;
  }

  std::string name() const override { return "the Secret Service"; }
};

}  // namespace

std::unique_ptr<KeyKeeper> make_secret_service() { return std::make_unique<SecretService>(); }

std::unique_ptr<KeyKeeper> make_key_keeper(const std::string& keep_key) {
  return keep_key == "keyring" ? make_kernel_keyring() : make_secret_service();
}

}  // namespace coffer::cli
