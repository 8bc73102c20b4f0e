// Becoming a daemon, with a parent that stays until it is clear how that went.
#pragma once

#include <optional>
#include <string>

#include "base/fd.h"
#include "fs/cli/failure.h"

namespace coffer::cli {

// Forks before there are threads, locked memory (its locks do not survive a fork) or LMDB. The child does everything,
// prompts and error messages included, at the parent's terminal; the parent only waits.
class DaemonStart {
 public:
  // In the parent: returns what to exit with, once the child is ready (0) or has ended (its code). In the child:
  // nullopt.
  Outcome<std::optional<int>> fork();
  // In the child: leaves the terminal, gives stderr to `log`, and lets the parent go.
  void ready(const Fd& log);

 private:
  Fd to_parent_;
};

}  // namespace coffer::cli
