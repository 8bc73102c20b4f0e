// The command line.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "fs/cli/settings.h"

namespace coffer::cli {

// Which version of a conflict stays: of the original's name, the copy, this device's, the other's, or both.
enum class Keep { kOriginal, kCopy, kMine, kOthers, kBoth };

// Of coffer key, and some of init.
struct KeyArguments {
  std::string label;
  bool recovery_key = false;                                // add: a recovery key, no passphrase
  std::string new_passphrase_file, new_passphrase_command;  // add, change
  std::string new_recovery_key_file;                        // add, change
  bool weak_passphrase = false;                             // init, add, change: take any
  bool rewrite = false;                                     // rotate: and seal old data anew
};

// Of coffer check.
struct CheckArguments {
  unsigned sample = 100;  // percent of the packs
  bool restart = false, repair = false;
  std::string rebuild;  // a directory to be made
};

struct Arguments {
  std::string command;                // "init", "mount", "key list", ...; one of commands.h
  std::vector<std::string> operands;  // STORE, NAME, DIR, PATH..., as the command takes them
  VolumeSettings settings;            // what the options said
  KeyArguments key;
  bool keep_added = false, revoke_added = false;  // device revoke
  CheckArguments check;
  std::string code_file;                // device add
  bool json = false;                    // status, ls, conflicts, gc, key list, device list, check
  bool watch = false;                   // status
  bool now = false, lazy = false;       // unmount
  bool foreground = false;              // mount
  bool no_recovery_key = false;         // init
  bool quiet = false;                   // no progress
  std::optional<Keep> keep;             // conflicts
  bool all = false;                     // conflicts
  Nanos grace = std::chrono::days(30);  // gc
  bool dry_run = false;                 // gc
};

// There is nothing to run: help or version was asked for, or the command line makes no sense. The text is printed.
struct Finished {
  int exit = 0;
};

// Understands `coffer COMMAND ...`; as mount.coffer or mount.fuse.coffer (the name it was called by), or when the first
// operand is a store, the command line of mount(8): STORE DIR [-o OPTIONS].
std::variant<Arguments, Finished> parse_arguments(int argc, const char* const* argv);

}  // namespace coffer::cli
