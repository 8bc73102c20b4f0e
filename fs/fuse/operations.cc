#include "fs/fuse/operations.h"

#include <algorithm>

#include "fs/fuse/attribute_operations.h"
#include "fs/fuse/content_operations.h"
#include "fs/fuse/handler.h"
#include "fs/fuse/name_operations.h"

namespace coffer::fuse {

namespace {

// Requests that nobody waits for: readahead, writeback, and among them the reads that are parked. These must never be so
// many that writeback, and so fsync, waits for the network.
constexpr unsigned kMaxBackground = 4096;

// The first request of a mount: what the kernel can do, and what we want of it.
void init(void* user_data, fuse_conn_info* conn) noexcept {
  FileSystem& fs = *static_cast<FileSystem*>(user_data);
  auto can = [conn](unsigned capability) { return (conn->capable & capability) != 0; };
  // Not FUSE_CAP_ATOMIC_O_TRUNC: where opening needs no upcall, nobody would hear of the truncation.
  // Not FUSE_CAP_ASYNC_DIO: a direct read would wait where no signal reaches it, and Ctrl-C is to free every reader.
  // Not FUSE_CAP_AUTO_INVAL_DATA: times that go back and forth must not cost the page cache; news comes by node ids.
  unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
                    FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPORT_SUPPORT |
                    FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT | FUSE_CAP_EXPIRE_ONLY;
  fs.acls = can(FUSE_CAP_POSIX_ACL) && can(FUSE_CAP_DONT_MASK);
  if (fs.acls) wanted |= FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK;
  conn->want = conn->capable & wanted;
  conn->max_background = kMaxBackground;
  conn->congestion_threshold = kMaxBackground / 4 * 3;
  conn->time_gran = 1;
  fs.writeback = can(FUSE_CAP_WRITEBACK_CACHE);
  fs.no_open = can(FUSE_CAP_NO_OPEN_SUPPORT);
  fs.no_opendir = can(FUSE_CAP_NO_OPENDIR_SUPPORT);
}

}  // namespace

const fuse_lowlevel_ops& operations() {
  static const fuse_lowlevel_ops ops = [] {
    fuse_lowlevel_ops o{};
    o.init = init;
    o.lookup = handle<Upcall::kLookup, lookup>;
    o.forget = handle<Upcall::kForget, forget>;
    o.forget_multi = handle<Upcall::kForget, forget_many>;
    o.getattr = handle<Upcall::kGetattr, getattr>;
    o.setattr = handle<Upcall::kSetattr, setattr>;
    o.readlink = handle<Upcall::kReadlink, readlink>;
    o.mknod = handle<Upcall::kMknod, mknod>;
    o.mkdir = handle<Upcall::kMkdir, mkdir>;
    o.unlink = handle<Upcall::kUnlink, unlink>;
    o.rmdir = handle<Upcall::kRmdir, rmdir>;
    o.symlink = handle<Upcall::kSymlink, symlink>;
    o.rename = handle<Upcall::kRename, rename>;
    o.link = handle<Upcall::kLink, link>;
    o.open = handle<Upcall::kOpen, open>;
    o.read = handle<Upcall::kRead, read>;
    o.write = handle<Upcall::kWrite, write>;
    o.fsync = handle<Upcall::kFsync, fsync>;
    o.opendir = handle<Upcall::kOpendir, opendir>;
    o.readdir = handle<Upcall::kReaddir, readdir>;
    o.readdirplus = handle<Upcall::kReaddirplus, readdirplus>;
    o.fsyncdir = handle<Upcall::kFsyncdir, fsyncdir>;
    o.statfs = handle<Upcall::kStatfs, statfs>;
    o.setxattr = handle<Upcall::kSetxattr, setxattr>;
    o.getxattr = handle<Upcall::kGetxattr, getxattr>;
    o.listxattr = handle<Upcall::kListxattr, listxattr>;
    o.removexattr = handle<Upcall::kRemovexattr, removexattr>;
    o.create = handle<Upcall::kCreate, create>;
    o.fallocate = handle<Upcall::kFallocate, fallocate>;
    o.copy_file_range = handle<Upcall::kCopyFileRange, copy_file_range>;
    o.lseek = handle<Upcall::kLseek, lseek>;
    return o;
  }();
  return ops;
}

}  // namespace coffer::fuse
