#include "fs/cli/recovery_key_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "crypto/random.h"
#include "fs/cli/qr_code.h"
#include "fs/cli/secret_input.h"

namespace coffer::cli {
namespace {

constexpr size_t kGroups = 13;
constexpr size_t kGroupSize = 5;
// The terminal's other screen: what was on it is gone when we leave, also from what can be scrolled back to.
constexpr std::string_view kEnterScreen = "\x1b[?1049h\x1b[2J\x1b[H";
constexpr std::string_view kLeaveScreen = "\x1b[2J\x1b[?1049l";

Outcome<void> write_all(const Fd& fd, BytesView rest, const std::string& what) {
  while (!rest.empty()) {
    ssize_t n = ::write(fd.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return give_up(Failure(errno_error(what, errno)));
    rest = rest.subspan(static_cast<size_t>(n));
  }
  return {};
}

Outcome<void> write_file(const std::string& path, const Secret& text) {
  auto file = open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!file) {
    // It could be the only key to another volume.
    if (file.error().code() == Code::kExists)
      return give_up(Exit::kUsage, path + " is there already", "Name a file that does not exist.");
    return give_up(Failure(file.error()).in("recovery key file"));
  }
  TRYV(write_all(*file, text.view(), path));
  TRYV(write_all(*file, as_bytes("\n"), path));
  if (::fsync(file->get()) != 0) return give_up(Failure(errno_error(path, errno)));
  return {};
}

// Shows the key on a screen of its own until somebody has written it down.
class KeyScreen {
 public:
  explicit KeyScreen(const Fd& terminal) : terminal_(terminal) { say(kEnterScreen); }
  ~KeyScreen() { say(kLeaveScreen); }
  KeyScreen(const KeyScreen&) = delete;
  KeyScreen& operator=(const KeyScreen&) = delete;

  Outcome<void> show(const Secret& text) {
    TRY(Secret code, qr_code(as_string(text.view())));
    TRYV(write_all(terminal_, code.view(), "terminal"));
    say("\n");
    constexpr size_t kInFirstLine = 7 * (kGroupSize + 1) - 1;
    TRYV(write_all(terminal_, text.view().first(kInFirstLine), "terminal"));
    say("\n");
    TRYV(write_all(terminal_, text.view().subspan(kInFirstLine + 1), "terminal"));
    say("\n\nThis recovery key opens the volume when the passphrase is forgotten. It is shown only now.\n"
        "Write it down, or photograph it with a camera that keeps its pictures to itself.\n");
    TRYV(ask_secret("Enter, when that is done: "));
    return {};
  }

 private:
  void say(std::string_view text) { (void)write_all(terminal_, as_bytes(text), "terminal"); }

  const Fd& terminal_;
};

// As a person may write it: letters in either case, O for 0, I and L for 1.
char plain(uint8_t c) {
  if (c >= 'a' && c <= 'z') c = static_cast<uint8_t>(c - 'a' + 'A');
  if (c == 'O') return '0';
  if (c == 'I' || c == 'L') return '1';
  return static_cast<char>(c);
}

Outcome<bool> group_is_typed(const Secret& text, size_t group) {
  TRY(Secret typed, ask_secret("Group " + std::to_string(group + 1) + " of the recovery key: ", Echo::kOn));
  BytesView expected = text.view().subspan(group * (kGroupSize + 1), kGroupSize);
  if (typed.size() != kGroupSize) return false;
  bool right = true;
  for (size_t i = 0; i < kGroupSize; ++i) right &= plain(typed.view()[i]) == static_cast<char>(expected[i]);
  return right;
}

Outcome<void> show_and_have_typed(const Secret& text) {
  TRY(Fd terminal, open_file("/dev/tty", O_RDWR | O_NOCTTY));
  for (;;) {
    TRYV(KeyScreen(terminal).show(text));
    size_t first = random_u64() % kGroups;
    size_t second = (first + 1 + random_u64() % (kGroups - 1)) % kGroups;
    TRY(bool right, group_is_typed(text, first));
    if (right) {
      TRY(right, group_is_typed(text, second));
    }
    if (right) return {};
    TRYV(ask_secret("That is not it. Enter shows the key again: "));
  }
}

}  // namespace

Outcome<void> can_hand_over(const std::string& file) {
  if (!file.empty() || ::isatty(STDOUT_FILENO) != 0) return {};
  return give_up(Exit::kUsage, "stdout is no terminal to show the recovery key on");
}

Outcome<void> hand_over(const RecoveryKey& key, const std::string& file) {
  Secret text = key.text();
  return file.empty() ? show_and_have_typed(text) : write_file(file, text);
}

}  // namespace coffer::cli
