// What a mount needs of the system beyond being served: rights that the process with the keys had better be without.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace coffer {

struct MountPlace {
  std::string directory;     // the mount point: exists, is empty or at least a directory
  std::string source;        // what /proc/mounts shows as the device, e.g. "coffer:s3://bucket"
  bool allow_other = false;  // everybody on the machine may use it, as modes and ACLs allow (which are always checked)
  bool read_only = false;
  std::vector<std::string> fuse_options;  // passed through (-o)
};

// Mounts one place, and takes that mount away. Thread-safe after mount().
class Mounter {
 public:
  virtual ~Mounter() = default;

  // Once. The open device by which the mount is served. kBusy: already a mount point; kUnsupported: no /dev/fuse; kDenied.
  virtual Result<Fd> mount() = 0;
  // kBusy when files are open and not `lazy`; with it, whoever has files open is cut off. Ok when nothing is mounted any
  // more.
  virtual Result<void> unmount(bool lazy) = 0;
  // Has the kernel send what it has not written back yet, to whoever serves the mount: when this returns, all of those
  // writes have been taken up.
  virtual void send_written() = 0;
};

// Does it in this process.
std::unique_ptr<Mounter> make_mounter(MountPlace place);

// Does it in a process of its own, which lives until the Mounter or this process ends, ignores the terminal's signals,
// and serves nothing but these three requests for this one place: so this process can then do without privileges, and
// without setuid programs such as fusermount3. Forks: call it before there are threads, and before there are secrets.
Result<std::unique_ptr<Mounter>> start_mounter(MountPlace place);

}  // namespace coffer
