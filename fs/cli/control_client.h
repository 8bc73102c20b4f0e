// The asking end of the control socket.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "fs/cli/control_protocol.h"
#include "fs/cli/failure.h"
#include "fs/cli/registry.h"

namespace coffer::cli {

// The mount that DIR is on, or in.
struct FoundMount {
  std::string mount_point;
  uint32_t user = 0;  // whose it is
  Registration registration;
};

// Whether `operand`, which may also name a store, is in a coffer mount.
bool on_a_mount(const std::string& operand);

// kGeneral with a helpful sentence: not a coffer mount, or one whose daemon is dead.
Outcome<FoundMount> find_mount(const std::string& directory);

// Sends `request` and hands on progress until the answer comes. `interrupted` (may be empty) is called once on the
// first SIGINT or SIGTERM: returns the request to send then, or nullopt to give up with kCutShort.
Outcome<nlohmann::json> ask(const FoundMount& mount, const Request& request,
                            const std::function<void(const ProgressSample&)>& progress,
                            const std::function<std::optional<Request>()>& interrupted);

}  // namespace coffer::cli
