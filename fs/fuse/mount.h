// The kernel side: a replica as a mounted file system, by libfuse3's low-level interface.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/fuse/mounter.h"
#include "fs/replica/fetcher.h"
#include "fs/replica/replica.h"

namespace coffer {

struct MountOptions {
  MountPlace place;
  std::shared_ptr<Mounter> mounter;  // of that place; none: this process does it itself
  std::string state_directory;       // statfs shows the free space of the file system that this directory is on
  bool own_files = false;            // mounted by an ordinary user: every file shows as his
  uint32_t uid = 0, gid = 0;         // whose
  std::function<Result<void>()> remote_sync;  // set under fsync=remote: fsync also waits for this
};

struct UpcallCount {
  std::string operation;  // "lookup", "create", ...
  uint64_t calls = 0;
  uint64_t cpu_ns = 0;
};

// Thread-safe after mount(). The replica and the fetcher outlive it.
class Mount {
 public:
  // Mounts; kBusy: already a mount point; kUnsupported: no /dev/fuse; kDenied. Requests are served only by serve().
  static Result<std::unique_ptr<Mount>> mount(Replica& replica, Fetcher& fetcher, MountOptions options);
  ~Mount();

  // Serves requests with several threads until unmounted (by unmount(), fusermount or umount). Blocks.
  Result<void> serve();
  // Unmounts; kBusy when files are open and not `lazy`. Any thread; serve() then returns.
  Result<void> unmount(bool lazy);

  // Counted per operation since the mount, for status --json.
  std::vector<UpcallCount> upcalls() const;

 private:
  struct Impl;
  explicit Mount(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace coffer
