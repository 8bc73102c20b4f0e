// Inodes, their attributes and extended attributes.
#include <algorithm>

#include "fs/model/remains.h"
#include "fs/model/tree.h"

namespace coffer::model {
namespace {

// More would leave no room for others in one row.
Result<void> check_total(const std::vector<Xattr>& list) {
  size_t total = 0;
  for (const Xattr& x : list) total += x.name.size() + x.value.size();
  if (total > kXattrTotalMax) return fail(Code::kTooLarge, "too many extended attributes");
  return {};
}

std::vector<Xattr>::iterator find_xattr(std::vector<Xattr>& list, std::string_view name) {
  return std::lower_bound(list.begin(), list.end(), name,
                          [](const Xattr& x, std::string_view n) { return x.name < n; });
}

Result<std::vector<Xattr>> xattrs_of(const ReadRows& rows, Ino ino, const Inode& inode) {
  if (!inode.has_xattrs) return std::vector<Xattr>{};
  TRY(std::optional<Bytes> row, rows.get(xattr_key(ino)));
  if (!row) return fail(Code::kCorrupt, "extended attributes are missing");
  return decode_xattrs(*row);
}

}  // namespace

void make_root(Rows& rows, uint32_t mode, uint32_t uid, uint32_t gid, WallTime now) {
  Inode root;
  root.type = FileType::kDirectory;
  root.mode = mode;
  root.uid = uid;
  root.gid = gid;
  root.nlink = 2;
  root.atime = root.mtime = root.ctime = root.btime = now;
  root.next_cookie = kFirstCookie;
  put_inode(rows, kRootIno, root);
}

Result<Inode> get_inode(const ReadRows& rows, Ino ino) {
  TRY(std::optional<Bytes> row, rows.get(inode_key(ino)));
  if (!row) return fail(Code::kStale, "no such inode");
  return decode_inode(*row);
}

void put_inode(Rows& rows, Ino ino, const Inode& inode) { rows.put(inode_key(ino), encode(inode)); }

Result<void> erase_inode(Rows& rows, Ino ino, bool keep_tombstone) {
  TRY(Inode inode, get_inode(rows, ino));
  if (inode.nlink != 0) return {};  // it came back in the meantime
  TRY(std::optional<Tombstone> there, get_tombstone(rows, ino));
  if (keep_tombstone || there) return bury(rows, ino, inode);
  TRYV(erase_extents(rows, ino, inode));
  if (inode.has_xattrs) rows.erase(xattr_key(ino));
  rows.erase(inode_key(ino));
  return {};
}

Result<Inode> set_attributes(Rows& rows, Ino ino, const SetAttributes& what, WallTime now) {
  TRY(Inode inode, get_inode(rows, ino));
  if (what.mode) inode.mode = *what.mode & 07777;
  if (what.uid) inode.uid = *what.uid;
  if (what.gid) inode.gid = *what.gid;
  if (what.atime) inode.atime = *what.atime;
  if (what.mtime) inode.mtime = *what.mtime;
  inode.ctime = what.ctime.value_or(now);
  put_inode(rows, ino, inode);
  return inode;
}

Result<Bytes> get_xattr(const ReadRows& rows, Ino ino, std::string_view name) {
  TRY(std::vector<Xattr> list, list_xattrs(rows, ino));
  auto it = find_xattr(list, name);
  if (it == list.end() || it->name != name) return fail(Code::kNoData, "no such extended attribute");
  return std::move(it->value);
}

Result<std::vector<Xattr>> list_xattrs(const ReadRows& rows, Ino ino) {
  TRY(Inode inode, get_inode(rows, ino));
  return xattrs_of(rows, ino, inode);
}

Result<void> set_xattr(Rows& rows, Ino ino, std::string_view name, BytesView value, XattrMode mode, WallTime now) {
  if (!valid_xattr_name(name)) return fail(Code::kInvalid, "not a name of an extended attribute");
  if (value.size() > kXattrValueMax) return fail(Code::kTooLarge, "the extended attribute is too long");
  TRY(Inode inode, get_inode(rows, ino));
  TRY(std::vector<Xattr> list, xattrs_of(rows, ino, inode));
  auto it = find_xattr(list, name);
  const bool there = it != list.end() && it->name == name;
  if (there && mode == XattrMode::kCreate) return fail(Code::kExists, "the extended attribute exists");
  if (!there && mode == XattrMode::kReplace) return fail(Code::kNoData, "no such extended attribute");
  if (there)
    it->value = to_bytes(value);
  else
    list.insert(it, Xattr{std::string(name), to_bytes(value)});
  TRYV(check_total(list));
  rows.put(xattr_key(ino), encode(list));
  inode.has_xattrs = true;
  inode.ctime = now;
  put_inode(rows, ino, inode);
  return {};
}

Result<void> remove_xattr(Rows& rows, Ino ino, std::string_view name, WallTime now) {
  TRY(Inode inode, get_inode(rows, ino));
  TRY(std::vector<Xattr> list, xattrs_of(rows, ino, inode));
  auto it = find_xattr(list, name);
  if (it == list.end() || it->name != name) return fail(Code::kNoData, "no such extended attribute");
  list.erase(it);
  put_xattrs(rows, ino, inode, list);
  inode.ctime = now;
  put_inode(rows, ino, inode);
  return {};
}

void put_xattrs(Rows& rows, Ino ino, Inode& inode, const std::vector<Xattr>& list) {
  if (!list.empty())
    rows.put(xattr_key(ino), encode(list));
  else if (inode.has_xattrs)
    rows.erase(xattr_key(ino));
  inode.has_xattrs = !list.empty();
}

}  // namespace coffer::model
