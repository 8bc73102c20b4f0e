// Programs that are asked for a secret or given one: by pipes, never by arguments or the environment.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fd.h"
#include "fs/cli/failure.h"

namespace coffer::cli {

inline constexpr int kProgramNotThere = 127;  // the exit status when it could not be started

struct Pipe {
  Fd out, in;  // reading, writing; closed in programs that are started
};
Outcome<Pipe> make_pipe();

// Starts `file` (looked for in PATH when it has no slash) with no signal blocked; `in` and `out` become its standard input and
// output (null: ours).
Outcome<pid_t> start_program(const char* file, std::vector<std::string> arguments, const Fd* in, const Fd* out);
// Until it ends; the status as of waitpid(2).
int wait_for_program(pid_t child);

}  // namespace coffer::cli
