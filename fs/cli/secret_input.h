// Ways of getting something secret from a person or a program into locked memory, and nowhere else: not into arguments,
// not into the environment of children, not into ordinary memory.
#pragma once

#include <string>

#include "base/fd.h"
#include "crypto/secret.h"
#include "fs/cli/failure.h"
#include "fs/cli/settings.h"

namespace coffer::cli {

inline constexpr size_t kPassphraseMax = 64 << 10;  // bytes

// All that `fd` gives, up to kPassphraseMax, without one newline at its end.
Outcome<Secret> read_secret(const Fd& fd, const std::string& what);
// What `path` holds. Warns when others may read it.
Outcome<Secret> secret_from_file(const std::string& path);
// What `command` prints, run by sh; its stderr and stdin stay ours. Fails when the command fails.
Outcome<Secret> secret_from_command(const std::string& command);
// Asks on the terminal. kUsage when there is none, kCutShort on Ctrl-C: echo is on again then, and as the signal stays pending,
// the process dies of it where nobody blocks it, as a shell expects of what it is to break off.
enum class Echo { kOff, kOn };
Outcome<Secret> ask_secret(const std::string& prompt, Echo echo = Echo::kOff);

// The passphrase, by the first that is set: file, command, the systemd credential coffer.passphrase, terminal. Never
// empty.
Outcome<Secret> get_passphrase(const VolumeSettings& settings);
// A new one: file, command, or twice from the terminal, where it is asked for again while it is too easy to guess
// (passphrase_strength.h). `weak`: take any.
Outcome<Secret> get_new_passphrase(const std::string& file, const std::string& command, bool weak);

}  // namespace coffer::cli
