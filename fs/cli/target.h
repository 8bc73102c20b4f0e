// From what a person said to one store and the settings that go with it.
#pragma once

#include <memory>
#include <string>

#include "fs/cli/failure.h"
#include "fs/cli/options.h"
#include "fs/cli/settings.h"
#include "remote/open_store.h"

namespace coffer::cli {

struct Target {
  VolumeSettings settings;  // of the command line, the environment and config.toml, in this order; paths are absolute
  StoreConfig store;
  std::string canonical;  // equal for equal stores: what the state directory remembers the volume by
  std::string state_root;
};

// `arguments.operands[0]` is STORE or NAME. Absolute paths, since a daemon has no current directory.
Outcome<Target> resolve_target(const Arguments& arguments);

// Lower case where that does not matter, no trailing slash, no default port; the endpoint goes with an s3:// URL.
Outcome<std::string> canonical_store(const StoreConfig& config);

std::string absolute_path(const std::string& path);

}  // namespace coffer::cli
