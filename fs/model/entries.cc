#include "fs/model/entries.h"

#include "fs/model/tree.h"

namespace coffer::model {

Result<Inode*> InodeSet::get(Ino ino) {
  for (std::optional<Slot>& slot : slots_) {
    if (slot) {
      if (slot->ino == ino) return &slot->inode;
      continue;
    }
    TRY(Inode inode, get_inode(rows_, ino));
    slot.emplace(Slot{ino, std::move(inode)});
    return &slot->inode;
  }
  return fail(Code::kInternal, "an operation on too many inodes");
}

Inode* InodeSet::add(Ino ino, Inode inode) {
  for (std::optional<Slot>& slot : slots_) {
    if (slot && slot->ino != ino) continue;
    slot.emplace(Slot{ino, std::move(inode)});
    return &slot->inode;
  }
  return nullptr;
}

void InodeSet::flush() {
  for (const std::optional<Slot>& slot : slots_)
    if (slot) put_inode(rows_, slot->ino, slot->inode);
}

Result<std::optional<FoundEntry>> find_entry(const ReadRows& rows, Ino dir, std::string_view name) {
  TRY(std::optional<Bytes> number, rows.get(name_key(dir, name)));
  if (!number) return std::nullopt;
  TRY(uint64_t cookie, decode_number(*number));
  TRY(std::optional<Bytes> row, rows.get(entry_key(dir, cookie)));
  if (!row) return fail(Code::kCorrupt, "a name leads to an entry that is missing");
  TRY(Entry entry, decode_entry(*row));
  if (entry.name != name) return fail(Code::kCorrupt, "a name leads to another's entry");
  return FoundEntry{cookie, std::move(entry)};
}

Result<bool> is_empty(const ReadRows& rows, Ino dir) {
  const std::string prefix = entry_prefix(dir);
  TRY(std::optional<Row> first, rows.next(prefix, prefix));
  return !first.has_value();
}

void add_entry(Rows& rows, Ino dir, Inode& dir_inode, std::string_view name, Ino ino, Inode& inode) {
  const uint64_t cookie = dir_inode.next_cookie++;
  rows.put(entry_key(dir, cookie), encode(Entry{std::string(name), ino, inode.type}));
  rows.put(name_key(dir, name), encode_number(cookie));
  if (inode.is_directory()) {
    ++dir_inode.nlink;
  } else if (inode.nlink++ > 0) {
    rows.put(link_key(ino, dir, cookie), {});
    return;
  }
  inode.parent = dir;
  inode.cookie = cookie;
}

Result<void> remove_entry(Rows& rows, Ino dir, Inode& dir_inode, const FoundEntry& found, Inode& inode) {
  const Ino ino = found.entry.ino;
  rows.erase(entry_key(dir, found.cookie));
  rows.erase(name_key(dir, found.entry.name));
  const bool home = inode.parent == dir && inode.cookie == found.cookie;
  if (inode.is_directory()) {
    if (dir_inode.nlink > 0) --dir_inode.nlink;
    inode.parent = 0;
    inode.cookie = 0;
    return {};
  }
  if (inode.nlink > 0) --inode.nlink;
  if (!home) {
    rows.erase(link_key(ino, dir, found.cookie));
  } else if (inode.nlink == 0) {
    inode.parent = 0;
    inode.cookie = 0;
  } else {
    const std::string prefix = link_prefix(ino);
    TRY(std::optional<Row> link, rows.next(prefix, prefix));
    if (!link) return fail(Code::kCorrupt, "a link of an inode is missing");
    TRY(EntryPlace place, parse_link_key(link->key));
    rows.erase(link_key(ino, place.dir, place.cookie));
    inode.parent = place.dir;
    inode.cookie = place.cookie;
  }
  return {};
}

void rename_entry(Rows& rows, Ino dir, const FoundEntry& found, std::string_view new_name) {
  rows.put(entry_key(dir, found.cookie), encode(Entry{std::string(new_name), found.entry.ino, found.entry.type}));
  rows.erase(name_key(dir, found.entry.name));
  rows.put(name_key(dir, new_name), encode_number(found.cookie));
}

Result<bool> is_within(const ReadRows& rows, Ino dir, Ino above) {
  for (Ino at = dir;;) {
    if (at == above) return true;
    if (at == kRootIno || at == 0) return false;
    TRY(Inode inode, get_inode(rows, at));
    at = inode.parent;
  }
}

}  // namespace coffer::model
