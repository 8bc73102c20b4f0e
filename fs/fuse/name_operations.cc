#include "fs/fuse/name_operations.h"

#include <fcntl.h>
#include <linux/fs.h>

#include "fs/fuse/attributes.h"
#include "fs/fuse/entries.h"
#include "fs/fuse/posix_acl.h"

namespace coffer::fuse {

namespace {

constexpr uint32_t kModeBits = 07777;

// The default ACL of a directory, if it has one.
Result<std::optional<PosixAcl>> default_acl(FileSystem& fs, Ino dir) {
  auto bytes = fs.replica.get_xattr(dir, kAclDefault);
  if (!bytes && bytes.error().code() == Code::kNoData) return std::nullopt;
  if (!bytes) return fail(bytes.error());
  TRY(PosixAcl acl, PosixAcl::decode(*bytes));
  return acl;
}

Result<void> store_acl(FileSystem& fs, Ino ino, std::string_view name, const PosixAcl& acl) {
  return fs.replica.set_xattr(ino, name, acl.encode(), model::XattrMode::kAny);
}

// Makes an inode, owned by the caller, with the mode that umask or default ACL leave of `mode`.
Result<fuse_entry_param> make(FileSystem& fs, fuse_req_t req, fuse_ino_t parent, const char* name,
                              model::NewInode what) {
  const fuse_ctx* caller = fuse_req_ctx(req);
  Ino dir = fs.nodes.resolve(parent).ino;
  what.uid = fs.options.own_files ? fs.options.uid : caller->uid;
  what.gid = fs.options.own_files ? fs.options.gid : caller->gid;
  what.mode &= kModeBits;
  std::optional<PosixAcl> inherited;
  std::optional<PosixAcl> access;
  if (fs.acls && what.type != model::FileType::kSymlink) {
    TRY(inherited, default_acl(fs, dir));
    if (inherited) {
      access = inherited;
      what.mode = access->inherit(what.mode);
    } else {
      what.mode &= ~caller->umask;
    }
  }
  uint64_t ticket = fs.nodes.ticket();
  TRY(model::Node node, fs.replica.make(dir, name, what));
  if (access && !access->is_mode()) TRYV(store_acl(fs, node.ino, kAclAccess, *access));
  if (inherited && what.type == model::FileType::kDirectory) TRYV(store_acl(fs, node.ino, kAclDefault, *inherited));
  return entry_of(fs, std::move(node), ticket);
}

Result<EntryReply> make_and_reply(FileSystem& fs, fuse_req_t req, fuse_ino_t parent, const char* name,
                                  model::NewInode what) {
  EntryReply reply;
  TRY(reply.entry, make(fs, req, parent, name, std::move(what)));
  return reply;
}

}  // namespace

Result<EntryReply> lookup(FileSystem& fs, fuse_req_t, fuse_ino_t parent, const char* name) {
  Ino dir = fs.nodes.resolve(parent).ino;
  EntryReply reply;
  std::string_view wanted = name;
  uint64_t ticket = fs.nodes.ticket();
  if (wanted == "." || wanted == "..") {  // a file handle (open_by_handle_at, NFS) is being opened
    TRY(model::Inode inode, fs.replica.attributes(dir));
    model::Node node{dir, std::move(inode)};
    if (wanted == "..") {
      node.ino = dir == model::kRootIno ? dir : node.inode.parent;
      TRY(node.inode, fs.replica.attributes(node.ino));
    }
    TRY(reply.entry, entry_of(fs, std::move(node), ticket));
    return reply;
  }
  auto node = fs.replica.lookup(dir, wanted);
  if (!node && node.error().code() == Code::kNotFound) {
    reply.entry.entry_timeout = kForever;
    return reply;
  }
  if (!node) return fail(node.error());
  TRY(reply.entry, entry_of(fs, std::move(*node), ticket));
  return reply;
}

Result<Noted> forget(FileSystem& fs, fuse_req_t, fuse_ino_t id, uint64_t count) {
  fs.release(id, count);
  return Noted{};
}

Result<Noted> forget_many(FileSystem& fs, fuse_req_t, size_t n, fuse_forget_data* forgets) {
  for (size_t i = 0; i < n; ++i) fs.release(forgets[i].ino, forgets[i].nlookup);
  return Noted{};
}

Result<EntryReply> mknod(FileSystem& fs, fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
  auto type = type_of(mode);
  if (!type) return fail(Code::kInvalid, "file type");
  model::NewInode what;
  what.type = *type;
  what.mode = mode;
  if (*type == model::FileType::kCharDevice || *type == model::FileType::kBlockDevice) what.rdev = rdev;
  return make_and_reply(fs, req, parent, name, std::move(what));
}

Result<EntryReply> mkdir(FileSystem& fs, fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  model::NewInode what;
  what.type = model::FileType::kDirectory;
  what.mode = mode;
  return make_and_reply(fs, req, parent, name, std::move(what));
}

Result<EntryReply> symlink(FileSystem& fs, fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  model::NewInode what;
  what.type = model::FileType::kSymlink;
  what.mode = 0777;
  what.target = target;
  if (what.target.size() > model::kTargetMax) return fail(Code::kNameTooLong, "symbolic link");
  return make_and_reply(fs, req, parent, name, std::move(what));
}

Result<CreateReply> create(FileSystem& fs, fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
                           fuse_file_info* file) {
  model::NewInode what;
  what.mode = mode;
  CreateReply reply;
  auto entry = make(fs, req, parent, name, std::move(what));
  if (!entry) {
    // The kernel took the name for free, and it is not: news came in between. With ESTALE it looks again, and then opens
    // what is there with the usual checks.
    bool news = entry.error().code() == Code::kExists && (file->flags & O_EXCL) == 0;
    return fail(news ? Error(Code::kStale, "name is taken") : entry.error());
  }
  reply.entry = *entry;
  reply.file = *file;
  reply.file.keep_cache = 1;
  return reply;
}

Result<EntryReply> link(FileSystem& fs, fuse_req_t, fuse_ino_t id, fuse_ino_t parent, const char* name) {
  Ino ino = fs.nodes.resolve(id).ino;
  Ino dir = fs.nodes.resolve(parent).ino;
  EntryReply reply;
  uint64_t ticket = fs.nodes.ticket();
  TRY(model::Node node, fs.replica.link(ino, dir, name));
  TRY(reply.entry, entry_of(fs, std::move(node), ticket));
  return reply;
}

Result<Done> unlink(FileSystem& fs, fuse_req_t, fuse_ino_t parent, const char* name) {
  TRY(model::Unlinked gone, fs.replica.unlink(fs.nodes.resolve(parent).ino, name));
  fs.unlinked(gone);
  return Done{};
}

Result<Done> rmdir(FileSystem& fs, fuse_req_t, fuse_ino_t parent, const char* name) {
  TRY(model::Unlinked gone, fs.replica.rmdir(fs.nodes.resolve(parent).ino, name));
  fs.unlinked(gone);
  return Done{};
}

Result<Done> rename(FileSystem& fs, fuse_req_t, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                    const char* new_name, unsigned flags) {
  model::RenameMode mode;
  switch (flags) {
    case 0:
      mode = model::RenameMode::kReplace;
      break;
    case RENAME_NOREPLACE:
      mode = model::RenameMode::kNoReplace;
      break;
    case RENAME_EXCHANGE:
      mode = model::RenameMode::kExchange;
      break;
    default:
      return fail(Code::kInvalid, "rename flags");
  }
  TRY(auto gone,
      fs.replica.rename(fs.nodes.resolve(parent).ino, name, fs.nodes.resolve(new_parent).ino, new_name, mode));
  if (gone) fs.unlinked(*gone);
  return Done{};
}

Result<TargetReply> readlink(FileSystem& fs, fuse_req_t, fuse_ino_t id) {
  TRY(model::Inode inode, fs.replica.attributes(fs.nodes.resolve(id).ino));
  if (inode.type != model::FileType::kSymlink) return fail(Code::kInvalid, "not a symbolic link");
  return TargetReply{std::move(inode.target)};
}

}  // namespace coffer::fuse
