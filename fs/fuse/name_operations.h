// Operations on names.
#pragma once

#include "fs/fuse/reply.h"

namespace coffer::fuse {

Result<EntryReply> lookup(FileSystem&, fuse_req_t, fuse_ino_t parent, const char* name);
Result<Noted> forget(FileSystem&, fuse_req_t, fuse_ino_t id, uint64_t count);
Result<Noted> forget_many(FileSystem&, fuse_req_t, size_t n, fuse_forget_data* forgets);
Result<EntryReply> mknod(FileSystem&, fuse_req_t, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev);
Result<EntryReply> mkdir(FileSystem&, fuse_req_t, fuse_ino_t parent, const char* name, mode_t mode);
Result<EntryReply> symlink(FileSystem&, fuse_req_t, const char* target, fuse_ino_t parent, const char* name);
Result<CreateReply> create(FileSystem&, fuse_req_t, fuse_ino_t parent, const char* name, mode_t mode,
                           fuse_file_info* file);
Result<EntryReply> link(FileSystem&, fuse_req_t, fuse_ino_t id, fuse_ino_t parent, const char* name);
Result<Done> unlink(FileSystem&, fuse_req_t, fuse_ino_t parent, const char* name);
Result<Done> rmdir(FileSystem&, fuse_req_t, fuse_ino_t parent, const char* name);
Result<Done> rename(FileSystem&, fuse_req_t, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                    const char* new_name, unsigned flags);
Result<TargetReply> readlink(FileSystem&, fuse_req_t, fuse_ino_t id);

// A directory's entries; `readdirplus` also tells what each leads to, which counts as a lookup of it.
Result<ListingReply> readdir(FileSystem&, fuse_req_t, fuse_ino_t id, size_t size, off_t offset, fuse_file_info*);
Result<ListingReply> readdirplus(FileSystem&, fuse_req_t, fuse_ino_t id, size_t size, off_t offset, fuse_file_info*);
Result<OpenReply> opendir(FileSystem&, fuse_req_t, fuse_ino_t id, fuse_file_info* file);

}  // namespace coffer::fuse
