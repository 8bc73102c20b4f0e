#include <map>

#include "fs/model/apply_state.h"
#include "fs/model/entries.h"

namespace coffer::model {

// What the author did to this file, or only saw of it, is not on top of what is here.
Result<bool> ApplyState::changed_elsewhere(const InodeChange& c) const {
  const bool removed = c.kind == InodeChange::Kind::kRemoved;
  const Version seen = removed ? c.removed_version : c.content->base;
  TRY(Followed followed, follow(c.ino, seen));
  if (followed.way.size() > 1) return true;  // what he means is at a conflict name already
  TRY(std::optional<Inode> inode, find(followed.ino()));
  if (!inode) {
    TRY(std::optional<Bytes> tombstone, rows.get(tombstone_key(followed.ino())));
    return !removed && tombstone.has_value();
  }
  if (!inode->is_regular() || inode->version == seen) return false;
  if (!removed && !c.only_seen()) {
    if (inode->version == c.content->version) return false;
    TRY(std::optional<Displaced> known, get_displaced(rows, followed.ino(), c.content->version));
    if (known) return false;
  }
  TRY(bool present, is_present(rows, followed.ino(), *inode, seen));
  return !present;
}

Result<void> ApplyState::find_families() {
  struct Changes {
    std::vector<const InodeChange*> inodes;
    std::set<std::string> names;  // of what is there, and of what the author did
  };
  std::map<Family, Changes> families;
  std::unordered_map<Ino, const InodeChange*> made;
  for (const InodeChange& c : changes.inodes) {
    if (c.type != FileType::kRegular) continue;
    if (c.kind == InodeChange::Kind::kMade) {
      made.emplace(c.ino, &c);
      continue;
    }
    if (c.kind == InodeChange::Kind::kChanged && !c.content) continue;
    TRY(Ino ino, resolve_alias(rows, c.ino));
    TRY(std::optional<Inode> inode, find(ino));
    if (inode) {
      TRY(std::optional<Family> family, family_of(rows, *inode));
      if (family) families[std::move(*family)].inodes.push_back(&c);
    } else {
      TRY(std::optional<Tombstone> t, get_tombstone(rows, ino));
      if (!t) continue;
      Changes& family = families[family_of(t->inode.parent, t->name)];
      family.inodes.push_back(&c);
      family.names.insert(t->name);
    }
  }
  // What is new begins a family when it has the name of a companion, and belongs to one by any name of it.
  std::map<Family, std::vector<const EntryChange*>> made_names;
  for (const EntryChange& e : changes.entries) {
    if (e.after == 0 || e.type != FileType::kRegular) continue;
    TRY(Ino dir, resolve_alias(rows, e.dir));
    Family family = family_of(dir, e.name);
    if (!companion_suffix(e.name).empty()) families.try_emplace(family);
    if (made.contains(e.after)) made_names[std::move(family)].push_back(&e);
  }
  if (families.empty()) return {};

  std::unordered_set<Ino> told;
  auto tell = [this, &told](Ino ino) -> Result<void> {
    if (ino == 0) return {};
    TRY(ino, resolve_alias(rows, ino));
    told.insert(ino);
    return {};
  };
  for (const InodeChange& c : changes.inodes) TRYV(tell(c.ino));
  for (const EntryChange& e : changes.entries) {
    TRYV(tell(e.before));
    TRYV(tell(e.after));
  }
  for (auto& [family, changed] : families) {
    bool elsewhere = false;
    for (std::string_view member : kMembers) {
      TRY(std::optional<FoundEntry> found, find_entry(rows, family.dir, family.stem + std::string(member)));
      if (!found || found->entry.type != FileType::kRegular) continue;
      changed.names.insert(found->entry.name);
      elsewhere = elsewhere || !told.contains(found->entry.ino);  // its author did not see that
    }
    const std::vector<const EntryChange*>& names = made_names[family];
    for (const EntryChange* e : names) changed.names.insert(e->name);
    if (changed.names.size() < 2) continue;
    for (const InodeChange* c : changed.inodes) {
      if (elsewhere) break;
      TRY(elsewhere, changed_elsewhere(*c));
    }
    for (const EntryChange* e : names) {
      if (elsewhere) break;
      TRY(std::optional<FoundEntry> taken, find_entry(rows, family.dir, e->name));
      TRY(Ino before, resolve_alias(rows, e->before));
      TRY(Ino after, resolve_alias(rows, e->after));
      elsewhere = taken && taken->entry.ino != before && taken->entry.ino != after;
    }
    if (!elsewhere) continue;
    families_.insert(family);
    for (const InodeChange* c : changed.inodes) aside_.insert(c->ino);
    for (const EntryChange* e : names) aside_.insert(e->after);
  }
  return {};
}

}  // namespace coffer::model
