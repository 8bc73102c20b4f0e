// Operations on attributes, extended attributes, and the file system as a whole.
#pragma once

#include <optional>

#include "fs/fuse/reply.h"

namespace coffer::fuse {

Result<AttributesReply> getattr(FileSystem&, fuse_req_t, fuse_ino_t id, fuse_file_info*);
Result<AttributesReply> setattr(FileSystem&, fuse_req_t, fuse_ino_t id, struct stat* wanted, int which,
                                fuse_file_info*);
Result<SpaceReply> statfs(FileSystem&, fuse_req_t, fuse_ino_t);

Result<Later> getxattr(FileSystem&, fuse_req_t, fuse_ino_t id, const char* name, size_t size);
Result<Later> listxattr(FileSystem&, fuse_req_t, fuse_ino_t id, size_t size);
Result<Done> setxattr(FileSystem&, fuse_req_t, fuse_ino_t id, const char* name, const char* value, size_t size,
                      int flags);
Result<Done> removexattr(FileSystem&, fuse_req_t, fuse_ino_t id, const char* name);

// Clears set-user-id, and set-group-id of what the group may execute, if they are set: as a write, a truncate or a change
// of owner must. With `group`, the caller's, set-group-id of a file of another group as well. True: something was cleared.
Result<bool> kill_privileges(FileSystem& fs, Ino ino, std::optional<gid_t> group = {});

}  // namespace coffer::fuse
