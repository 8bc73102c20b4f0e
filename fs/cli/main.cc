// coffer: the program.
#include <signal.h>

#include <cstdio>
#include <exception>
#include <map>

#include "crypto/secret.h"
#include "fs/cli/commands.h"
#include "fs/cli/failure.h"
#include "fs/cli/options.h"

namespace coffer::cli {
namespace {

Outcome<int> dispatch(const Arguments& arguments) {
  using Command = Outcome<void> (*)(const Arguments&);
  static const std::map<std::string, Command> kCommands = {
      {"init", run_init},
      {"unmount", run_unmount},
      {"sync", run_sync},
      {"status", run_status},
      {"ls", run_ls},
      {"cat", run_cat},
      {"export", run_export},
      {"check", run_check},
      {"gc", run_gc},
      {"key list", run_key_list},
      {"key add", run_key_add},
      {"key remove", run_key_remove},
      {"key change", run_key_change},
      {"key rotate", run_key_rotate},
      {"key forget", run_key_forget},
      {"device list", run_device_list},
      {"device add", run_device_add},
      {"device join", run_device_join},
      {"device revoke", run_device_revoke},
      {"conflicts", run_conflicts},
  };
  if (arguments.command == "mount") return run_mount(arguments);
  auto command = kCommands.find(arguments.command);
  if (command == kCommands.end())
    return give_up(Exit::kUnsupported, "'" + arguments.command + "' is not there yet in this version",
                   "README.md and coffer(1) list what is.");
  TRYV(command->second(arguments));
  return 0;
}

int run(int argc, char** argv) {
  // Before anything secret exists.
  if (auto hardened = harden_process(); !hardened) return report(Failure(hardened.error()));
  ::signal(SIGPIPE, SIG_IGN);
  auto parsed = parse_arguments(argc, argv);
  if (auto* finished = std::get_if<Finished>(&parsed)) return finished->exit;
  if (auto started = crypto_init(); !started) return report(Failure(started.error()));
  auto outcome = dispatch(std::get<Arguments>(parsed));
  return outcome ? *outcome : report(outcome.error());
}

}  // namespace
}  // namespace coffer::cli

int main(int argc, char** argv) {
  try {
    return coffer::cli::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "coffer: internal error: %s\n", e.what());
    return 1;
  }
}
