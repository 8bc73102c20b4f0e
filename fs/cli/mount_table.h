// Which coffer mounts there are, as the kernel tells it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fs/cli/failure.h"

namespace coffer::cli {

struct MountEntry {
  std::string mount_point;
  std::string type;
  std::string source;
  uint32_t user = 0;  // who mounted it (user_id=), for FUSE
};

// Parses /proc/self/mountinfo, in its order: later entries lie over earlier ones.
std::vector<MountEntry> parse_mountinfo(std::string_view text);
Outcome<std::vector<MountEntry>> read_mounts();

// The topmost coffer mount at or above `path` (absolute, without symbolic links before its last component).
const MountEntry* find_coffer_mount(const std::vector<MountEntry>& mounts, const std::string& path);

// An absolute path without symbolic links, also when the last component is a mount point whose daemon is dead.
Outcome<std::string> resolve_path(const std::string& path);

// True when `inner` is `outer` or lies below it.
bool is_within(const std::string& inner, const std::string& outer);

}  // namespace coffer::cli
