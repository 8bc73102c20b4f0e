// Inodes as the kernel is told of them: counted, with a node id and attributes that belong together.
#pragma once

#include "fs/fuse/reply.h"

namespace coffer::fuse {

// Counts a lookup of the inode of `node`, whose attributes were read after `ticket` was taken; reads them again when an
// inode was superseded meanwhile. kStale: it is gone.
Result<fuse_entry_param> entry_of(FileSystem& fs, model::Node node, uint64_t ticket);

}  // namespace coffer::fuse
