// What one run of the simulation consists of beside its machines.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "fs/sync/volume.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/store.h"
#include "tests/sim/versions.h"

namespace coffer::sim {

// What `--without` can leave out.
inline constexpr std::string_view kSwitches[] = {
    "crash", "restart", "offline", "clone", "restore", "join",  "skew",     "checkpoint", "slow", "fail",  "again",
    "late",  "hold",    "rename",  "link",  "remove",  "xattr", "truncate", "directory",  "big",  "ahead", "archive",
};

struct Options {
  uint64_t seed = 0;
  std::set<std::string> without;
  unsigned machines = 5;  // at most so many at the start
  unsigned bursts = 12;   // of work, for each machine
  bool trace = false;

  bool has(const std::string& what) const { return !without.contains(what); }
};

class World {
 public:
  explicit World(const Options& the_options);

  // A line of the trace, with the time. Also part of what two runs of one seed are compared by.
  void tell(const std::string& line);
  VolumeSecrets secrets() const;
  // Numbers for one purpose, which do not depend on who else draws how many.
  Random numbers(uint64_t purpose) const { return Random(Random(Random(options.seed).next() + purpose).next()); }
  Nanos now() const { return Scheduler::current()->now(); }

  const Options options;
  const std::shared_ptr<SharedStore> store;
  Versions versions;
  VolumeId volume;
  Secret key;
  SigningKey signing;
  std::string directory;  // in memory; the same for each run of one parent, which removes it
  uint64_t operations = 0;
};

// Runs one seed in this process: from an empty volume to the last comparison. What is wrong ends the process
// (give_up). Returns a line about what happened.
std::string run_seed(const Options& options);

}  // namespace coffer::sim
