// Operations on the contents of files.
#pragma once

#include "fs/fuse/reply.h"

namespace coffer::fuse {

Result<OpenReply> open(FileSystem&, fuse_req_t, fuse_ino_t id, fuse_file_info* file);
Result<Later> read(FileSystem&, fuse_req_t, fuse_ino_t id, size_t size, off_t offset, fuse_file_info*);
Result<WrittenReply> write(FileSystem&, fuse_req_t, fuse_ino_t id, const char* data, size_t size, off_t offset,
                           fuse_file_info*);
Result<Later> fsync(FileSystem&, fuse_req_t, fuse_ino_t id, int data_only, fuse_file_info*);
Result<Later> fsyncdir(FileSystem&, fuse_req_t, fuse_ino_t id, int data_only, fuse_file_info*);
// Plain and keep-size (which reserves nothing: what is allocated is not promised), punch-hole, zero-range.
Result<Done> fallocate(FileSystem&, fuse_req_t, fuse_ino_t id, int mode, off_t offset, off_t length, fuse_file_info*);
// Shares what is sealed; the kernel has written back both ranges.
Result<WrittenReply> copy_file_range(FileSystem&, fuse_req_t, fuse_ino_t from, off_t from_offset, fuse_file_info*,
                                     fuse_ino_t to, off_t to_offset, fuse_file_info*, size_t length, int flags);
Result<Later> lseek(FileSystem&, fuse_req_t, fuse_ino_t id, off_t offset, int whence, fuse_file_info*);

}  // namespace coffer::fuse
