// The table of callbacks that libfuse calls.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

namespace coffer::fuse {

// For a session whose user data is a FileSystem. What is not in it libfuse answers with ENOSYS, which the kernel takes as
// "not here, and do not ask again": flush (close promises nothing), access (default_permissions), locks (they are the
// kernel's, and do not span machines), copy_file_range (the kernel then copies by itself), O_TMPFILE, ioctl, poll.
const fuse_lowlevel_ops& operations();

}  // namespace coffer::fuse
