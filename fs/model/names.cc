// Making, linking, removing, renaming and listing names.
#include <utility>

#include "fs/model/entries.h"
#include "fs/model/tree.h"

namespace coffer::model {
namespace {

Result<void> check_length(std::string_view name) {
  if (name.size() > kNameMax) return fail(Code::kNameTooLong, "the name is too long");
  return {};
}

Result<void> check_name(std::string_view name) {
  TRYV(check_length(name));
  if (!valid_name(name)) return fail(Code::kInvalid, "not a name");
  return {};
}

Result<void> check_directory(const Inode& inode) {
  if (!inode.is_directory()) return fail(Code::kNotDirectory, "not a directory");
  if (inode.nlink == 0) return fail(Code::kStale, "the directory was removed");
  return {};
}

void touch_directory(Inode& dir, WallTime now) { dir.mtime = dir.ctime = now; }

Result<FoundEntry> require_entry(const ReadRows& rows, Ino dir, std::string_view name) {
  TRYV(check_length(name));
  TRY(std::optional<FoundEntry> found, find_entry(rows, dir, name));
  if (!found) return fail(Code::kNotFound, "no such name");
  return std::move(*found);
}

// Takes the last link, or one of several, of what `found` leads to.
Result<Unlinked> drop(Rows& rows, Ino dir, Inode& dir_inode, const FoundEntry& found, Inode& inode, WallTime now) {
  TRYV(remove_entry(rows, dir, dir_inode, found, inode));
  if (inode.is_directory()) inode.nlink = 0;
  inode.ctime = now;
  return Unlinked{found.entry.ino, inode.nlink == 0};
}

Result<void> check_replaceable(const ReadRows& rows, const Inode& what, Ino replaced_ino, const Inode& replaced) {
  if (what.is_directory() && !replaced.is_directory()) return fail(Code::kNotDirectory, "not a directory");
  if (!what.is_directory() && replaced.is_directory()) return fail(Code::kIsDirectory, "is a directory");
  if (replaced.is_directory()) {
    TRY(bool empty, is_empty(rows, replaced_ino));
    if (!empty) return fail(Code::kNotEmpty, "the directory is not empty");
  }
  return {};
}

// Makes an entry lead to `to` instead. The caller sees to the links of both inodes.
void redirect(Rows& rows, Ino dir, const FoundEntry& found, Ino to, FileType type) {
  rows.put(entry_key(dir, found.cookie), encode(Entry{found.entry.name, to, type}));
}

// `ino` had its link at one place and has it at another now.
void move_link(Rows& rows, Ino ino, Inode& inode, const EntryPlace& from, const EntryPlace& to) {
  if (inode.parent == from.dir && inode.cookie == from.cookie) {
    inode.parent = to.dir;
    inode.cookie = to.cookie;
  } else {
    rows.erase(link_key(ino, from.dir, from.cookie));
    rows.put(link_key(ino, to.dir, to.cookie), {});
  }
}

struct Side {
  Ino dir;
  Inode* dir_inode;
  FoundEntry found;
  Inode* inode;
  EntryPlace place() const { return {dir, found.cookie}; }
};

Result<void> exchange(Rows& rows, const Side& a, const Side& b) {
  if (a.inode->is_directory()) {
    TRY(bool inside, is_within(rows, b.dir, a.found.entry.ino));
    if (inside) return fail(Code::kInvalid, "a directory cannot go below itself");
  }
  if (b.inode->is_directory()) {
    TRY(bool inside, is_within(rows, a.dir, b.found.entry.ino));
    if (inside) return fail(Code::kInvalid, "a directory cannot go below itself");
  }
  redirect(rows, a.dir, a.found, b.found.entry.ino, b.inode->type);
  redirect(rows, b.dir, b.found, a.found.entry.ino, a.inode->type);
  move_link(rows, a.found.entry.ino, *a.inode, a.place(), b.place());
  move_link(rows, b.found.entry.ino, *b.inode, b.place(), a.place());
  if (a.dir != b.dir && a.inode->is_directory() != b.inode->is_directory()) {
    Inode* loses = a.inode->is_directory() ? a.dir_inode : b.dir_inode;
    Inode* gains = a.inode->is_directory() ? b.dir_inode : a.dir_inode;
    --loses->nlink;
    ++gains->nlink;
  }
  return {};
}

}  // namespace

Result<Node> lookup(const ReadRows& rows, Ino dir, std::string_view name) {
  TRYV(check_length(name));
  TRY(std::optional<FoundEntry> found, find_entry(rows, dir, name));
  if (!found) {
    TRY(Inode inode, get_inode(rows, dir));
    if (!inode.is_directory()) return fail(Code::kNotDirectory, "not a directory");
    return fail(Code::kNotFound, "no such name");
  }
  TRY(Inode inode, get_inode(rows, found->entry.ino));
  return Node{found->entry.ino, std::move(inode)};
}

Result<Node> make(Rows& rows, Ino dir, std::string_view name, const NewInode& what, Ino fresh_ino, Version fresh,
                  WallTime now) {
  TRYV(check_name(name));
  if (what.type == FileType::kSymlink) {
    if (what.target.size() > kTargetMax) return fail(Code::kNameTooLong, "the target of the link is too long");
    if (what.target.empty() || what.target.find('\0') != std::string::npos)
      return fail(Code::kInvalid, "not a target of a link");
  }
  TRY(Inode parent, get_inode(rows, dir));
  TRYV(check_directory(parent));
  TRY(std::optional<Bytes> taken, rows.get(name_key(dir, name)));
  if (taken) return fail(Code::kExists, "the name exists");

  Inode inode;
  inode.type = what.type;
  inode.mode = what.mode & 07777;
  inode.uid = what.uid;
  inode.gid = what.gid;
  if (parent.mode & 02000) {
    inode.gid = parent.gid;
    if (what.type == FileType::kDirectory) inode.mode |= 02000;
  }
  inode.atime = inode.mtime = inode.ctime = inode.btime = now;
  switch (what.type) {
    case FileType::kRegular:
      inode.version = fresh;
      break;
    case FileType::kDirectory:
      inode.nlink = 2;
      inode.next_cookie = kFirstCookie;
      break;
    case FileType::kSymlink:
      inode.target = what.target;
      inode.size = what.target.size();
      break;
    case FileType::kCharDevice:
    case FileType::kBlockDevice:
      inode.rdev = what.rdev;
      break;
    default:
      break;
  }
  add_entry(rows, dir, parent, name, fresh_ino, inode);
  touch_directory(parent, now);
  put_inode(rows, fresh_ino, inode);
  put_inode(rows, dir, parent);
  return Node{fresh_ino, std::move(inode)};
}

Result<Node> link(Rows& rows, Ino ino, Ino dir, std::string_view name, WallTime now) {
  TRYV(check_name(name));
  TRY(Inode parent, get_inode(rows, dir));
  TRYV(check_directory(parent));
  TRY(Inode inode, get_inode(rows, ino));
  if (inode.is_directory()) return fail(Code::kNotPermitted, "a directory has one name");
  if (inode.nlink == 0) return fail(Code::kStale, "the file was removed");
  if (inode.nlink >= kLinkMax) return fail(Code::kTooManyLinks, "too many links");
  TRY(std::optional<Bytes> taken, rows.get(name_key(dir, name)));
  if (taken) return fail(Code::kExists, "the name exists");
  add_entry(rows, dir, parent, name, ino, inode);
  inode.ctime = now;
  touch_directory(parent, now);
  put_inode(rows, ino, inode);
  put_inode(rows, dir, parent);
  return Node{ino, std::move(inode)};
}

Result<Unlinked> unlink(Rows& rows, Ino dir, std::string_view name, WallTime now) {
  InodeSet inodes(rows);
  TRY(Inode * parent, inodes.get(dir));
  TRYV(check_directory(*parent));
  TRY(FoundEntry found, require_entry(rows, dir, name));
  if (found.entry.type == FileType::kDirectory) return fail(Code::kIsDirectory, "is a directory");
  TRY(Inode * inode, inodes.get(found.entry.ino));
  TRY(Unlinked unlinked, drop(rows, dir, *parent, found, *inode, now));
  touch_directory(*parent, now);
  inodes.flush();
  return unlinked;
}

Result<Unlinked> rmdir(Rows& rows, Ino dir, std::string_view name, WallTime now) {
  InodeSet inodes(rows);
  TRY(Inode * parent, inodes.get(dir));
  TRYV(check_directory(*parent));
  TRY(FoundEntry found, require_entry(rows, dir, name));
  if (found.entry.type != FileType::kDirectory) return fail(Code::kNotDirectory, "not a directory");
  TRY(bool empty, is_empty(rows, found.entry.ino));
  if (!empty) return fail(Code::kNotEmpty, "the directory is not empty");
  TRY(Inode * inode, inodes.get(found.entry.ino));
  TRY(Unlinked unlinked, drop(rows, dir, *parent, found, *inode, now));
  touch_directory(*parent, now);
  inodes.flush();
  return unlinked;
}

Result<std::optional<Unlinked>> rename(Rows& rows, Ino dir, std::string_view name, Ino new_dir,
                                       std::string_view new_name, RenameMode mode, WallTime now) {
  TRYV(check_name(new_name));
  InodeSet inodes(rows);
  TRY(Inode * from_dir, inodes.get(dir));
  TRYV(check_directory(*from_dir));
  TRY(Inode * to_dir, inodes.get(new_dir));
  TRYV(check_directory(*to_dir));
  TRY(FoundEntry from, require_entry(rows, dir, name));
  TRY(std::optional<FoundEntry> to, find_entry(rows, new_dir, new_name));
  if (to && mode == RenameMode::kNoReplace) return fail(Code::kExists, "the name exists");
  if (!to && mode == RenameMode::kExchange) return fail(Code::kNotFound, "no such name");
  if (to && to->entry.ino == from.entry.ino) return std::nullopt;  // POSIX: links of one file, nothing happens
  TRY(Inode * what, inodes.get(from.entry.ino));
  if (what->is_directory() && dir != new_dir) {
    TRY(bool inside, is_within(rows, new_dir, from.entry.ino));
    if (inside) return fail(Code::kInvalid, "a directory cannot go below itself");
  }

  std::optional<Unlinked> unlinked;
  Inode* replaced = nullptr;
  if (to) {
    TRY(replaced, inodes.get(to->entry.ino));
  }
  if (mode == RenameMode::kExchange) {
    TRYV(exchange(rows, {dir, from_dir, from, what}, {new_dir, to_dir, *to, replaced}));
    replaced->ctime = now;
  } else {
    if (to) {
      TRYV(check_replaceable(rows, *what, to->entry.ino, *replaced));
      TRY(unlinked, drop(rows, new_dir, *to_dir, *to, *replaced, now));
    }
    if (dir == new_dir) {
      rename_entry(rows, dir, from, new_name);
    } else {
      TRYV(remove_entry(rows, dir, *from_dir, from, *what));
      add_entry(rows, new_dir, *to_dir, new_name, from.entry.ino, *what);
    }
  }
  what->ctime = now;
  touch_directory(*from_dir, now);
  touch_directory(*to_dir, now);
  inodes.flush();
  return unlinked;
}

Result<std::vector<ListedEntry>> list(const ReadRows& rows, Ino dir, uint64_t after, size_t max) {
  std::vector<ListedEntry> out;
  const std::string prefix = entry_prefix(dir);
  std::string at = entry_key(dir, after).bytes;
  while (out.size() < max) {
    TRY(std::optional<Row> row, rows.next(prefix, at));
    if (!row) break;
    TRY(EntryPlace place, parse_entry_key(row->key));
    TRY(Entry entry, decode_entry(row->value));
    out.push_back({place.cookie, std::move(entry)});
    at = std::move(row->key);
  }
  return out;
}

Result<std::vector<Name>> names_of(const ReadRows& rows, Ino ino) {
  std::vector<Name> names;
  TRY(Inode inode, get_inode(rows, ino));
  if (inode.parent == 0) return names;  // the root, or unlinked
  auto add = [&](const EntryPlace& place) -> Result<void> {
    TRY(std::optional<Bytes> row, rows.get(entry_key(place.dir, place.cookie)));
    if (!row) return fail(Code::kCorrupt, "an entry is missing");
    TRY(Entry entry, decode_entry(*row));
    names.push_back({place.dir, std::move(entry.name)});
    return {};
  };
  TRYV(add({inode.parent, inode.cookie}));
  const std::string prefix = link_prefix(ino);
  for (std::string at = prefix;;) {
    TRY(std::optional<Row> row, rows.next(prefix, at));
    if (!row) return names;
    TRY(EntryPlace place, parse_link_key(row->key));
    TRYV(add(place));
    at = std::move(row->key);
  }
}

}  // namespace coffer::model
