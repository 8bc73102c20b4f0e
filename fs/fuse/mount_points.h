// What the kernel has mounted where, and taking mounts away.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace coffer::fuse {

inline constexpr std::string_view kMountType = "fuse.coffer";

struct MountPoint {
  std::string directory;
  std::string type;    // kMountType, or another
  std::string device;  // "0:45"
};

// /proc/self/mountinfo, oldest first: of several mounts on one directory the last is seen.
std::vector<MountPoint> parse_mount_points(std::string_view mountinfo);
Result<std::vector<MountPoint>> mount_points();
// The mount that is seen at `directory` (as canonical() gives it), if it is a mount point.
Result<std::optional<MountPoint>> mount_point_at(const std::string& directory);

// Absolute and without symbolic links; the last component is not looked into, so it may be a mount that does not answer.
Result<std::string> canonical(const std::string& directory);

// Makes the mount there read-only, or writable; its other flags stay. kNotFound: nothing of coffer is mounted there;
// kBusy: somebody has a file open for writing; kDenied: only root may.
Result<void> remount_directory(const std::string& directory, bool read_only);

// umount(2) or, without the right to it, fusermount3. kBusy: in use, and not `lazy`; kNotFound: nothing is mounted there;
// kDenied. `abort` (as root, with lazy): ends the connection too, for whoever still has files open.
Result<void> unmount_directory(const std::string& directory, bool lazy, bool abort);

}  // namespace coffer::fuse
