// What the daemon can still do once it has started: so that whoever takes it over, by a flaw in what reads the store's or the
// kernel's bytes, gets no further than the volume that it serves.
#pragma once

#include <string>
#include <vector>

#include "fs/cli/failure.h"

namespace coffer::cli {

// What the process goes on needing of the file system. Places that are not there are skipped.
struct Needs {
  std::vector<std::string> write;  // files, and directories with all that is below them
  std::vector<std::string> read;   // the same, where people's own files are
  bool programs = false;           // it starts programs of the user's choice; they would be confined, too
};

// What holds from now on.
struct Confinement {
  bool system_calls = false;  // seccomp: what a file server never needs is refused
  bool files = false;         // Landlock: no more of the file system than Needs says
  std::string why_not_files;  // for a person, when files is false
};

// Confines this process for the rest of its life, its threads and children included: nothing gives new privileges
// (PR_SET_NO_NEW_PRIVS); no tracing, mounting, loading, new namespaces, kernel keyrings or unusual sockets; no programs are
// started unless `programs`; and with Landlock, files are written in `write` only, read there, in `read`, and outside
// the directories at the root that hold people's files (home, root, media, mnt, srv, tmp, and where $HOME is). Call it
// while there is only one thread. A kernel without Landlock or seccomp gives what it can; an error is what should have
// worked.
Outcome<Confinement> confine(const Needs& needs);

}  // namespace coffer::cli
