// What all operations of one mount share.
#pragma once

#include <optional>

#include "fs/fuse/active_writes.h"
#include "fs/fuse/batched_syncs.h"
#include "fs/fuse/helpers.h"
#include "fs/fuse/kernel_caches.h"
#include "fs/fuse/mount.h"
#include "fs/fuse/nodes.h"
#include "fs/fuse/parked_calls.h"
#include "fs/fuse/parked_reads.h"
#include "fs/fuse/read_buffers.h"
#include "fs/fuse/upcall_meter.h"

namespace coffer::fuse {

// Thread-safe: members are constant, or thread-safe themselves. No lock of ours is ever held while the kernel is told
// something.
struct FileSystem {
  FileSystem(Replica& the_replica, Fetcher& the_fetcher, MountOptions the_options)
      : replica(the_replica), fetcher(the_fetcher), options(std::move(the_options)) {}

  Replica& replica;
  Fetcher& fetcher;
  const MountOptions options;

  // What the kernel agreed to; set by the first request, before any other.
  bool writeback = false;  // it keeps sizes and times of regular files
  bool acls = false;       // it leaves ACLs and the umask to us
  bool no_open = false;    // it can do without open and release
  bool no_opendir = false;
  bool extended_setxattr = false;  // its requests say more than libfuse knows of
  KernelCaches* kernel = nullptr;  // of the session that serves us

  const std::shared_ptr<Nodes> shared_nodes = std::make_shared<Nodes>();  // the invalidator may outlive us by a call
  Nodes& nodes = *shared_nodes;
  UpcallMeter meter;
  ReadBuffers buffers;
  ActiveWrites active_writes;
  ParkedReads parked{replica, nodes, fetcher, buffers, meter};
  ParkedCalls calls{fetcher};
  Helpers helpers;
  std::optional<BatchedSyncs> remote_syncs;  // under fsync=remote

  // The kernel took `count` lookups of a node id back, or never got them.
  void release(NodeId id, uint64_t count) {
    if (auto ino = nodes.release(id, count)) replica.forget(*ino);
  }
  // The inode whose contents are to be changed when somebody changes what he knows by this node id. Under hold_news().
  Result<Ino> writable(NodeId id) {
    Ino ino = nodes.resolve(id).ino;
    TRY(Ino now, replica.writable(ino));
    if (now != ino) {
      nodes.rebind(ino, now);
      replica.forget(ino);
    }
    return now;
  }
  // An inode lost its last link.
  void unlinked(const model::Unlinked& what) {
    if (what.last && !nodes.mark_unlinked(what.ino)) replica.forget(what.ino);
  }
};

}  // namespace coffer::fuse
