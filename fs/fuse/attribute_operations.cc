#include "fs/fuse/attribute_operations.h"

#include <sys/statvfs.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "fs/fuse/attributes.h"
#include "fs/fuse/posix_acl.h"
#include "fs/fuse/wire.h"

namespace coffer::fuse {

namespace {

uint32_t without_privileges(uint32_t mode) {
  mode &= ~uint32_t{S_ISUID};
  if ((mode & S_IXGRP) != 0) mode &= ~uint32_t{S_ISGID};
  return mode;
}

// Mode and access ACL say the same: a change of the one changes the other.
Result<void> follow_mode(FileSystem& fs, Ino ino, uint32_t mode) {
  auto bytes = fs.replica.get_xattr(ino, kAclAccess);
  if (!bytes && bytes.error().code() == Code::kNoData) return {};
  if (!bytes) return fail(bytes.error());
  TRY(PosixAcl acl, PosixAcl::decode(*bytes));
  acl.set_mode(mode);
  return fs.replica.set_xattr(ino, kAclAccess, acl.encode(), model::XattrMode::kAny);
}

Result<void> set_access_acl(FileSystem& fs, Ino ino, BytesView value) {
  TRY(PosixAcl acl, PosixAcl::decode(value));
  TRY(model::Inode inode, fs.replica.attributes(ino));
  if (acl.is_mode()) {
    auto removed = fs.replica.remove_xattr(ino, kAclAccess);
    if (!removed && removed.error().code() != Code::kNoData) return removed;
  } else {
    TRYV(fs.replica.set_xattr(ino, kAclAccess, value, model::XattrMode::kAny));
  }
  model::SetAttributes change;
  change.mode = (inode.mode & ~0777u) | acl.mode();
  if (request_kills_privileges()) *change.mode &= ~uint32_t{S_ISGID};
  TRYV(fs.replica.set_attributes(ino, change));
  return {};
}

// What is asked for, apart from the size; without `times`, apart from them as well.
Result<model::SetAttributes> requested(FileSystem& fs, Ino ino, const struct stat& wanted, int which, bool times) {
  model::SetAttributes change;
  if ((which & FUSE_SET_ATTR_MODE) != 0) change.mode = wanted.st_mode & 07777;
  if ((which & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
    if (fs.options.own_files) {
      bool other = ((which & FUSE_SET_ATTR_UID) != 0 && wanted.st_uid != fs.options.uid) ||
                   ((which & FUSE_SET_ATTR_GID) != 0 && wanted.st_gid != fs.options.gid);
      if (other) return fail(Code::kNotPermitted, "every file is the user's own on this mount");
    } else {
      if ((which & FUSE_SET_ATTR_UID) != 0) change.uid = wanted.st_uid;
      if ((which & FUSE_SET_ATTR_GID) != 0) change.gid = wanted.st_gid;
    }
    TRY(model::Inode inode, fs.replica.attributes(ino));
    uint32_t mode = change.mode.value_or(inode.mode);
    if (!inode.is_directory() && without_privileges(mode) != mode) change.mode = without_privileges(mode);
  }
  if (!times) return change;
  const WallTime now = Clock::system().wall();
  if ((which & FUSE_SET_ATTR_ATIME_NOW) != 0)
    change.atime = now;
  else if ((which & FUSE_SET_ATTR_ATIME) != 0)
    change.atime = to_wall_time(wanted.st_atim);
  if ((which & FUSE_SET_ATTR_MTIME_NOW) != 0)
    change.mtime = now;
  else if ((which & FUSE_SET_ATTR_MTIME) != 0)
    change.mtime = to_wall_time(wanted.st_mtim);
  if ((which & FUSE_SET_ATTR_CTIME) != 0) change.ctime = to_wall_time(wanted.st_ctim);
  return change;
}

bool says_anything(const model::SetAttributes& c) { return c.mode || c.uid || c.gid || c.atime || c.mtime || c.ctime; }

}  // namespace

Result<bool> kill_privileges(FileSystem& fs, Ino ino, std::optional<gid_t> group) {
  TRY(model::Inode inode, fs.replica.attributes(ino));
  uint32_t mode = without_privileges(inode.mode);
  if (group && *group != inode.gid) mode &= ~uint32_t{S_ISGID};
  if (mode == inode.mode) return false;
  model::SetAttributes change;
  change.mode = mode;
  TRYV(fs.replica.set_attributes(ino, change));
  return true;
}

Result<AttributesReply> getattr(FileSystem& fs, fuse_req_t, fuse_ino_t id, fuse_file_info*) {
  auto node = fs.nodes.resolve(id);
  TRY(model::Inode inode, fs.replica.attributes(node.ino));
  return AttributesReply{to_stat(node.number, inode, fs.options)};
}

Result<AttributesReply> setattr(FileSystem& fs, fuse_req_t, fuse_ino_t id, struct stat* wanted, int which,
                                fuse_file_info*) {
  auto hold = fs.replica.hold_news();
  auto [ino, number, superseded] = fs.nodes.resolve(id);
  TRY(model::SetAttributes change, requested(fs, ino, *wanted, which, !superseded));
  if ((which & FUSE_SET_ATTR_SIZE) != 0) {
    TRY(ino, fs.writable(id));
    if (wanted->st_size < 0) return fail(Code::kInvalid, "size");
    if (request_kills_privileges()) TRYV(kill_privileges(fs, ino));
    TRYV(fs.replica.truncate(ino, static_cast<uint64_t>(wanted->st_size)));
  }
  model::Inode inode;
  if (says_anything(change)) {
    TRY(inode, fs.replica.set_attributes(ino, change));
    if (change.mode && fs.acls && inode.has_xattrs) TRYV(follow_mode(fs, ino, *change.mode));
  } else {
    TRY(inode, fs.replica.attributes(ino));
  }
  return AttributesReply{to_stat(number, inode, fs.options)};
}

Result<SpaceReply> statfs(FileSystem& fs, fuse_req_t, fuse_ino_t) {
  SpaceReply reply;
  if (::statvfs(fs.options.state_directory.c_str(), &reply.space) != 0)
    return fail(errno_error("statvfs of the state directory", errno));
  reply.space.f_namemax = model::kNameMax;
  return reply;
}

Result<Later> getxattr(FileSystem& fs, fuse_req_t req, fuse_ino_t id, const char* name, size_t size) {
  TRY(Bytes value, fs.replica.get_xattr(fs.nodes.resolve(id).ino, name));
  if (size == 0)
    send(fs, req, SizeReply{value.size()});
  else if (value.size() > size)
    return fail(Code::kRange, "extended attribute");
  else
    send(fs, req, BytesReply{std::move(value)});
  return Later{};
}

Result<Later> listxattr(FileSystem& fs, fuse_req_t req, fuse_ino_t id, size_t size) {
  TRY(auto xattrs, fs.replica.list_xattrs(fs.nodes.resolve(id).ino));
  Bytes names;
  for (const model::Xattr& x : xattrs) {
    names.insert(names.end(), x.name.begin(), x.name.end());
    names.push_back(0);
  }
  if (size == 0)
    send(fs, req, SizeReply{names.size()});
  else if (names.size() > size)
    return fail(Code::kRange, "extended attributes");
  else
    send(fs, req, BytesReply{std::move(names)});
  return Later{};
}

Result<Done> setxattr(FileSystem& fs, fuse_req_t, fuse_ino_t id, const char* name, const char* value, size_t size,
                      int flags) {
  Ino ino = fs.nodes.resolve(id).ino;
  BytesView bytes(reinterpret_cast<const uint8_t*>(value), size);
  if (fs.acls && name == kAclAccess) {
    TRYV(set_access_acl(fs, ino, bytes));
    return Done{};
  }
  if (fs.acls && name == kAclDefault) TRYV(PosixAcl::decode(bytes));
  auto mode = model::XattrMode::kAny;
  if ((flags & XATTR_CREATE) != 0) mode = model::XattrMode::kCreate;
  if ((flags & XATTR_REPLACE) != 0) mode = model::XattrMode::kReplace;
  TRYV(fs.replica.set_xattr(ino, name, bytes, mode));
  return Done{};
}

Result<Done> removexattr(FileSystem& fs, fuse_req_t, fuse_ino_t id, const char* name) {
  TRYV(fs.replica.remove_xattr(fs.nodes.resolve(id).ino, name));
  return Done{};
}

}  // namespace coffer::fuse
