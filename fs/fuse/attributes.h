// Inodes as stat(2) shows them.
#pragma once

#include <sys/stat.h>

#include <optional>

#include "fs/fuse/mount.h"
#include "fs/model/types.h"

namespace coffer::fuse {

// S_IFREG and its like.
mode_t type_bits(model::FileType type);
// nullopt: none that a file system keeps.
std::optional<model::FileType> type_of(mode_t mode);

timespec to_timespec(WallTime t);
WallTime to_wall_time(timespec t);  // out of range: the nearest that fits

// `options` says whose files are shown as his own.
struct stat to_stat(model::Ino ino, const model::Inode& inode, const MountOptions& options);

}  // namespace coffer::fuse
