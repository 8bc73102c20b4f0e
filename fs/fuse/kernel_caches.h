// What the kernel keeps of a mount, as something that can be told to.
#pragma once

#include <cstdint>
#include <string>

#include "fs/fuse/nodes.h"

namespace coffer::fuse {

// The kernel's caches of one mount, as far as they can be told something. Failure needs no answer: what is not cached
// needs no telling. Thread-safe. Calls that name a directory wait for its lock in the kernel, so for every operation on
// it that is under way.
class KernelCaches {
 public:
  virtual ~KernelCaches() = default;
  // The name leads elsewhere, or nowhere, or somewhere.
  virtual void drop_name(NodeId dir, const std::string& name) = 0;
  // The same, gently: the kernel asks again before it uses the name, and keeps all that it has below when the answer is
  // what it was (a working directory there stays one).
  virtual void expire_name(NodeId dir, const std::string& name) = 0;
  // Returns when no lookup or readdir in the directory is under way that began before the call.
  virtual void wait_for_lookups(NodeId dir) = 0;
  virtual void drop_attributes(NodeId id) = 0;
  // The directory's attributes, and the listing that the kernel keeps.
  virtual void drop_listing(NodeId dir) = 0;
  // Has everything written that the kernel holds of a file from this offset on, and drops those pages. Waits for writes
  // and reads of them that are under way, so never to be called by who has to answer these.
  virtual void write_back(NodeId id, uint64_t from) = 0;
};

}  // namespace coffer::fuse
