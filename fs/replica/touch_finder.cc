#include "fs/replica/touch_finder.h"

#include "fs/model/keys.h"
#include "fs/model/types.h"

namespace coffer {

using model::Ino;
using model::RowKind;

Result<void> TouchFinder::add(const ReadRows& before, const RowKey& key, const std::optional<Bytes>& value) {
  const auto kind = model::kind_of(key.bytes);
  if (kind != RowKind::kEntry && kind != RowKind::kInode && kind != RowKind::kXattrs) return {};
  TRY(auto old, before.get(key));
  if (old == value) return {};
  if (kind == RowKind::kEntry) {
    TRY(model::EntryPlace place, model::parse_entry_key(key.bytes));
    if (old) {
      TRY(model::Entry entry, model::decode_entry(*old));
      entries_[{place.dir, entry.name}].before = entry.ino;
    }
    if (value) {
      TRY(model::Entry entry, model::decode_entry(*value));
      entries_[{place.dir, entry.name}].after = entry.ino;
    }
    return {};
  }
  TRY(Ino ino, model::parse_first(*kind, key.bytes));
  if (kind == RowKind::kXattrs) {
    xattrs_.insert(ino);
    return {};
  }
  if (!old) return {};
  TRY(model::Inode a, model::decode_inode(*old));
  model::Inode b;
  if (value) {
    TRY(b, model::decode_inode(*value));
  }
  if (a.nlink == 0) {  // nobody but its holders knows it
    if (b.nlink > 0 && a.is_regular()) inodes_[ino] = Change::kRevived;
    return {};
  }
  if (b.nlink == 0) {
    inodes_[ino] = a.is_regular() ? Change::kRemoved : Change::kRemovedOther;
    return {};
  }
  const bool contents = a.is_regular() && (a.version != b.version || a.size != b.size || a.mtime != b.mtime);
  a.parent = b.parent, a.cookie = b.cookie, a.next_cookie = b.next_cookie;  // no business of the kernel's
  if (contents)
    inodes_[ino] = Change::kContents;
  else if (!(a == b))
    inodes_[ino] = Change::kAttributes;
  return {};
}

Result<void> TouchFinder::add_anew(const ReadRows& before, const RowKey& key, const std::optional<Bytes>& value,
                                   const std::optional<Bytes>& was) {
  const auto kind = model::kind_of(key.bytes);
  if (kind == RowKind::kInode) {
    TRY(Ino ino, model::parse_first(*kind, key.bytes));
    inodes_.erase(ino);
  } else if (kind == RowKind::kEntry) {
    TRY(model::EntryPlace place, model::parse_entry_key(key.bytes));
    TRY(auto now, before.get(key));
    for (const std::optional<Bytes>* row : std::initializer_list<const std::optional<Bytes>*>{&now, &value, &was}) {
      if (!*row) continue;
      TRY(model::Entry entry, model::decode_entry(**row));
      names_.emplace(place.dir, std::move(entry.name));
    }
    return {};
  }
  return add(before, key, value);
}

std::vector<Ino> TouchFinder::all(Change change) const {
  std::vector<Ino> out;
  for (const auto& [ino, what] : inodes_)
    if (what == change) out.push_back(ino);
  return out;
}

model::Touch TouchFinder::touch() const {
  model::Touch out;
  // An entry that only moved to another cookie leads where it led.
  for (const auto& [name, leads] : entries_)
    if (leads.before != leads.after && !names_.contains(name)) out.names.push_back({name.first, name.second});
  for (const auto& name : names_) out.names.push_back({name.first, name.second});
  out.contents = all(Change::kContents);
  for (const auto& [ino, what] : inodes_)
    if (what != Change::kContents && what != Change::kRevived) out.attributes.push_back(ino);
  out.attributes.insert(out.attributes.end(), xattrs_.begin(), xattrs_.end());
  return out;
}

}  // namespace coffer
