#include "fs/fuse/dead_mount.h"

#include <sys/statfs.h>

#include <cerrno>

#include "fs/fuse/mount_points.h"

namespace coffer {

bool is_dead_mount(const std::string& directory) {
  auto path = fuse::canonical(directory);
  if (!path) return false;
  auto mount = fuse::mount_point_at(*path);
  if (!mount || !*mount || (*mount)->type != fuse::kMountType) return false;
  // Not stat: the kernel may still answer that from its cache.
  struct statfs space;
  return ::statfs(path->c_str(), &space) != 0 && errno == ENOTCONN;
}

Result<void> clear_dead_mount(const std::string& directory) {
  if (!is_dead_mount(directory)) return fail(Code::kInvalid, "not a dead mount of coffer");
  TRY(std::string path, fuse::canonical(directory));
  return fuse::unmount_directory(path, true, false);
}

}  // namespace coffer
