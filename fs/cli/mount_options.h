// What follows -o, as mount(8) writes it: NAME or NAME=VALUE, separated by commas; "\," is a comma in a value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/cli/failure.h"
#include "fs/cli/settings.h"

namespace coffer::cli {

struct MountFlags {
  bool allow_other = false;
  bool read_only = false;
  bool remount = false;  // make what is mounted read-only, or not
  bool fsync_remote = false;
  std::optional<uint32_t> uid, gid;       // every file shows as theirs
  std::vector<std::string> fuse_options;  // for the kernel side as they are: noatime, nodev, ...
};

// Parses `text` into `flags` and, for what is also a setting (state_dir, passphrase_file, endpoint, ...), `settings`.
// Of two that contradict each other the later counts. What only mount(8), fstab and systemd care about is skipped; what
// nobody knows is a usage error.
Outcome<void> parse_mount_options(std::string_view text, MountFlags& flags, VolumeSettings& settings);

std::vector<std::string> split_mount_options(std::string_view text);

}  // namespace coffer::cli
