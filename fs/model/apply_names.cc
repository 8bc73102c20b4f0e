#include <algorithm>
#include <tuple>

#include "fs/model/apply_state.h"
#include "fs/model/entries.h"

namespace coffer::model {
namespace {

template <typename Map, typename Key>
bool has(const Map& map, const Key& key) {
  return map.find(key) != map.end();
}

bool is_attached(Ino ino, const Inode& inode) {
  return ino == kRootIno || (inode.is_directory() ? inode.parent != 0 : inode.nlink > 0);
}

}  // namespace

Result<void> NameApplier::run() {
  TRYV(find_removals());
  TRYV(match());
  TRYV(detach_all());
  TRYV(remove_directories());
  TRY(std::vector<size_t> order, in_order());
  for (size_t i : order) TRYV(attach(steps_[i]));
  TRYV(place_loose());
  return place_copies();
}

// A file whose contents its remover did not see is not removed. If he saw those of a conflict copy, he means the copy.
Result<void> NameApplier::find_removals() {
  for (const InodeChange& c : state_.changes.inodes) {
    if (c.kind != InodeChange::Kind::kRemoved) continue;
    TRY(ApplyState::Followed followed, state_.follow(c.ino, c.removed_version));
    Removal removal{followed.ino(), false};
    TRY(std::optional<Inode> inode, state_.find(removal.ino));
    if (inode && removal.ino != kRootIno && !state_.is_aside(c.ino)) {
      removal.allowed = !inode->is_regular();
      if (!removal.allowed) {
        TRY(removal.allowed, is_present(rows_, removal.ino, *inode, c.removed_version));
      }
      if (removal.allowed) removed_.insert(removal.ino);
    }
    removals_.emplace(c.ino, removal);
  }
  return {};
}

// Finds out where each name leads now, before anything is changed.
Result<void> NameApplier::match() {
  for (const EntryChange& e : state_.changes.entries) {
    if (e.after == 0) continue;
    TRY(Ino after, resolve_alias(rows_, e.after));
    attached_.insert(after);
  }
  std::unordered_set<Ino> stale;  // files that are moved, but not from where their author saw them
  for (const EntryChange& e : state_.changes.entries) {
    Step step;
    step.change = &e;
    step.name = e.name;
    TRY(Ino dir, resolve_alias(rows_, e.dir));
    TRY(std::optional<Inode> dir_inode, state_.find(dir));
    if (dir_inode && dir_inode->is_directory()) step.dir = dir;
    if (e.before != 0) {
      if (auto it = removals_.find(e.before); it != removals_.end()) {
        step.before = it->second.ino;
      } else {
        TRY(step.before, resolve_alias(rows_, e.before));
      }
    }
    if (step.dir != 0 && step.before != 0) {
      TRY(step.matched, leads_to(step.dir, e.name, step.before));
      if (!step.matched) {
        TRY(std::optional<std::string> really, get_diverted(rows_, step.dir, step.before, e.name));
        if (really) {
          TRY(step.matched, leads_to(step.dir, *really, step.before));
          if (step.matched) step.name = std::move(*really);
        }
      }
    }
    if (step.before != 0 && !step.matched && has(attached_, step.before)) stale.insert(step.before);
    steps_.push_back(std::move(step));
  }
  for (Ino ino : stale) {
    TRY(std::optional<Inode> inode, state_.find(ino));
    if (!inode || inode->is_directory() || inode->nlink != 1) continue;
    TRY(std::vector<Name> names, names_of(rows_, ino));
    if (names.size() == 1) moved_from_.emplace(ino, Place{names[0].dir, std::move(names[0].name)});
  }
  return {};
}

Result<void> NameApplier::detach_all() {
  for (Step& step : steps_) {
    if (!step.matched) continue;
    TRY(std::optional<Inode> inode, state_.find(step.before));
    if (!inode) continue;
    if (inode->is_directory()) {
      if (!has(attached_, step.before)) continue;  // a removal: later, when what is in it is gone
    } else if (auto it = removals_.find(step.change->before); it != removals_.end() && !it->second.allowed) {
      step.refused = true;
      continue;
    }
    // Two changes of one name contradict each other: the first counts.
    TRY(bool still, leads_to(step.dir, step.name, step.before));
    if (!still) {
      step.matched = false;
      continue;
    }
    TRYV(detach(step.dir, step.name, step.before));
  }
  return {};
}

// From the inside out: a directory goes when it is empty, then perhaps the one around it.
Result<void> NameApplier::remove_directories() {
  std::unordered_map<Ino, Step*> waiting;
  for (Step& step : steps_) {
    if (!step.matched || has(attached_, step.before)) continue;
    TRY(std::optional<Inode> inode, state_.find(step.before));
    if (!inode || !inode->is_directory()) continue;
    step.refused = true;
    waiting.emplace(step.before, &step);
  }
  for (Step& first : steps_) {
    for (Ino ino = first.before; ino != 0;) {
      auto it = waiting.find(ino);
      if (it == waiting.end()) break;
      TRY(bool empty, is_empty(rows_, ino));
      if (!empty) break;
      Step& step = *it->second;
      waiting.erase(it);
      TRYV(detach(step.dir, step.name, ino));
      TRY(Inode inode, get_inode(rows_, ino));
      TRYV(bury(rows_, ino, inode, step.dir, step.name));
      state_.settle(ino);
      step.refused = false;
      ino = step.dir;
    }
  }
  return {};
}

// Directories before what goes into them, so that two that become one do so while the later is empty.
Result<std::vector<size_t>> NameApplier::in_order() const {
  std::unordered_map<Ino, size_t> giving_place;  // to a directory: the step that attaches it
  for (size_t i = 0; i < steps_.size(); ++i)
    if (steps_[i].change->after != 0) giving_place.emplace(steps_[i].change->after, i);
  std::vector<size_t> order;
  std::vector<bool> done(steps_.size());
  std::vector<size_t> way;
  for (size_t i = 0; i < steps_.size(); ++i) {
    for (size_t at = i; steps_[at].change->after != 0 && !done[at];) {
      done[at] = true;
      way.push_back(at);
      auto it = giving_place.find(steps_[at].change->dir);
      if (it == giving_place.end()) break;
      at = it->second;
    }
    for (; !way.empty(); way.pop_back()) order.push_back(way.back());
  }
  return order;
}

Result<void> NameApplier::attach(Step& step) {
  const EntryChange& e = *step.change;
  TRY(Ino ino, resolve_alias(rows_, e.after));
  TRY(std::optional<Inode> inode, state_.find(ino));
  if (!inode) {
    TRY(bool revived, state_.revive(ino));
    if (!revived) return {};  // nobody knows it
    TRY(inode, state_.find(ino));
  }
  if (ino == kRootIno) return {};
  TRY(Ino dir, ensure_directory(e.dir));
  if (dir != step.dir && step.matched) step.name = e.name;
  if (step.name != e.name) {  // what it replaces is elsewhere, but itself may be where its author wants it
    TRY(bool there, leads_to(dir, e.name, ino));
    if (there) return {};
  }
  TRY(std::optional<FoundEntry> taken, find_entry(rows_, dir, step.name));
  if (taken && taken->entry.ino == ino) return {};
  TRY(inode, state_.find(ino));  // making the directory may have moved it
  if (!inode) return {};
  if (!inode->is_directory() && inode->nlink >= kLinkMax) return {};

  if (inode->is_directory()) {
    TRY(bool below, is_within(rows_, dir, ino));
    if (below) {
      state_.out.conflicts.push_back({ino, 0, {dir, e.name}, state_.author.device, false});
      return {};
    }
  }
  const bool aside = state_.is_aside(e.after) && !is_attached(ino, *inode);
  if (taken && !aside && !is_attached(ino, *inode)) {
    TRY(bool merged, merge(ino, *inode, taken->entry.ino));
    if (merged) return {};
  }
  if (inode->is_directory() && inode->parent != 0) {  // it has one place: the later
    const Ino old_dir = inode->parent;
    TRY(std::vector<Name> names, names_of(rows_, ino));
    for (const Name& n : names) TRYV(detach(old_dir, n.name, ino));
    TRY(inode, state_.find(ino));
    TRY(taken, find_entry(rows_, dir, step.name));
  }
  TRY(std::string name, add_diverted(dir, step.name, ino, *inode, taken ? taken->entry.ino : 0, aside));
  if (name != e.name) put_diverted(rows_, dir, ino, e.name, name);  // that is what its author calls it

  // Moved on both sides: the later move counts.
  if (auto it = moved_from_.find(ino); it != moved_from_.end()) {
    Place from = std::move(it->second);
    moved_from_.erase(it);
    TRY(bool still, leads_to(from.first, from.second, ino));
    bool wanted = from == Place{dir, name};
    for (const Step& other : steps_)
      wanted |= other.change->after != 0 && other.dir == from.first && other.change->name == from.second;
    if (still && !wanted) TRYV(detach(from.first, from.second, ino));
  }
  return {};
}

// Everything that lost its names, or never had one, goes somewhere or for good.
Result<void> NameApplier::place_loose() {
  for (size_t i = 0; i < state_.all_loose().size(); ++i) {  // bringing a directory back may add others
    const Ino ino = state_.all_loose()[i];
    if (!state_.is_loose(ino)) continue;
    ApplyState::Loose how = state_.loose(ino);
    if (how.origin == ApplyState::Origin::kCopy) continue;
    if (how.origin == ApplyState::Origin::kDetached) how.place = least_.at(ino);
    TRY(Inode inode, get_inode(rows_, ino));
    if (is_attached(ino, inode)) {
      state_.settle(ino);
      continue;
    }
    if (how.origin == ApplyState::Origin::kMade) {
      bool empty = true;
      if (inode.is_directory()) {
        TRY(empty, is_empty(rows_, ino));
      }
      if (empty) {
        TRYV(state_.discard(ino));
      } else {
        TRYV(place(ino, {kRootIno, "lost directory " + std::to_string(ino)}));
      }
    } else if (how.origin == ApplyState::Origin::kDetached && has(removed_, ino) && !inode.is_directory()) {
      TRYV(bury(rows_, ino, inode, how.place.first, how.place.second));
      state_.settle(ino);
    } else {
      // A move that could not be, the last name of a file that nobody removed, or what a change brought back.
      TRYV(place(ino, how.place, how.aside));
    }
  }
  return {};
}

Result<void> NameApplier::place_copies() {
  for (size_t i = 0; i < state_.all_loose().size(); ++i) {
    const Ino ino = state_.all_loose()[i];
    if (!state_.is_loose(ino)) continue;
    const Ino original = state_.loose(ino).place.first;
    TRY(Inode inode, get_inode(rows_, ino));
    // Beside the file: of several names, the least.
    Place at{kRootIno, "lost file"};
    TRY(std::optional<Inode> there, state_.find(original));
    if (there) {
      TRY(std::vector<Name> names, names_of(rows_, original));
      if (!names.empty()) {
        auto least = std::min_element(names.begin(), names.end(), [](const Name& a, const Name& b) {
          return std::tie(a.dir, a.name) < std::tie(b.dir, b.name);
        });
        at = {least->dir, least->name};
      }
    } else {
      TRY(std::optional<Tombstone> t, get_tombstone(rows_, original));
      if (t) at = {t->inode.parent, t->name};
    }
    TRY(Ino dir, ensure_directory(at.first));
    TRY(bool rooted, is_rooted_apart(dir, ino));
    if (!rooted) dir = kRootIno;
    TRY(std::string name, add_diverted(dir, at.second, ino, inode, original));
  }
  // A directory that came back for a copy has its place already; nothing is loose now.
  return {};
}

Result<void> NameApplier::detach(Ino dir, const std::string& name, Ino ino) {
  TRY(std::optional<FoundEntry> found, find_entry(rows_, dir, name));
  if (!found || found->entry.ino != ino) return fail(Code::kInternal, "an entry to be removed is not there");
  InodeSet inodes(rows_);
  TRY(Inode * dir_inode, inodes.get(dir));
  TRY(Inode * inode, inodes.get(ino));
  TRYV(remove_entry(rows_, dir, *dir_inode, *found, *inode));
  const bool loose = !is_attached(ino, *inode);
  inodes.flush();
  Place at{dir, name};
  if (auto it = least_.find(ino); it == least_.end())
    least_.emplace(ino, at);
  else if (at < it->second)
    it->second = at;
  if (loose) state_.add_loose(ino, {ApplyState::Origin::kDetached, at});
  state_.out.touch.names.push_back({dir, name});
  state_.out.touch.attributes.push_back(dir);
  state_.out.touch.attributes.push_back(ino);
  return {};
}

Result<void> NameApplier::add(Ino dir, const std::string& name, Ino ino, Inode& inode) {
  TRY(Inode dir_inode, get_inode(rows_, dir));
  add_entry(rows_, dir, dir_inode, name, ino, inode);
  put_inode(rows_, dir, dir_inode);
  put_inode(rows_, ino, inode);
  TRYV(end_diversion(rows_, dir, ino, name));
  state_.settle(ino);
  state_.out.touch.names.push_back({dir, name});
  state_.out.touch.attributes.push_back(dir);
  state_.out.touch.attributes.push_back(ino);
  return {};
}

Result<std::string> NameApplier::add_diverted(Ino dir, const std::string& name, Ino ino, Inode& inode, Ino taken_by,
                                              bool aside) {
  if (taken_by == 0 && !aside) {
    TRYV(add(dir, name, ino, inode));
    return name;
  }
  TRY(std::string other, free_name(dir, name));
  TRYV(add(dir, other, ino, inode));
  put_diverted(rows_, dir, ino, name, other);
  const bool seen = inode.is_regular() && inode.version == ino;  // ContentApplier::conflict
  state_.out.conflicts.push_back({taken_by, ino, {dir, other}, state_.author.device, seen});
  return other;
}

Result<std::string> NameApplier::free_name(Ino dir, const std::string& name) {
  const Family family = family_of(dir, name);
  if (state_.is_aside(family)) {  // all of it by the same number
    unsigned& attempt = attempts_[std::to_string(dir) + "/" + family.stem];
    for (bool free = attempt > 0; !free;) {
      ++attempt;
      free = true;
      for (std::string_view ending : kEndings) {
        const std::string other =
            conflict_name(family.stem + std::string(ending), state_.author.device, state_.author.when, attempt);
        TRY(std::optional<FoundEntry> taken, find_entry(rows_, dir, other));
        free = free && !taken;
      }
    }
    std::string other = conflict_name(name, state_.author.device, state_.author.when, attempt);
    TRY(std::optional<FoundEntry> taken, find_entry(rows_, dir, other));
    if (!taken) return other;
  }
  unsigned& attempt = attempts_[std::to_string(dir) + "/" + name];
  return free_conflict_name(rows_, dir, name, state_.author.device, state_.author.when, attempt);
}

Result<void> NameApplier::place(Ino ino, const Place& at, bool aside) {
  TRY(Ino dir, ensure_directory(at.first));
  TRY(bool rooted, is_rooted_apart(dir, ino));
  if (!rooted) dir = kRootIno;
  TRY(Inode inode, get_inode(rows_, ino));
  if (is_attached(ino, inode)) return {};
  TRY(std::optional<FoundEntry> taken, find_entry(rows_, dir, at.second));
  if (taken && !aside) {
    TRY(bool merged, merge(ino, inode, taken->entry.ino));
    if (merged) return {};
  }
  TRY(std::string name, add_diverted(dir, at.second, ino, inode, taken ? taken->entry.ino : 0, aside));
  return {};
}

// Both made a directory of one name: it is one. Both made the same file: likewise. Only what this record made, or brought
// back empty, is given up, so that nothing has to be moved.
Result<bool> NameApplier::merge(Ino loose, const Inode& inode, Ino other) {
  if (!state_.is_loose(loose) || loose == other) return false;
  const ApplyState::Origin origin = state_.loose(loose).origin;
  TRY(std::optional<Inode> there, state_.find(other));
  if (!there || there->type != inode.type) return false;
  if (inode.is_directory()) {
    if (origin == ApplyState::Origin::kDetached) return false;
    TRY(bool empty, is_empty(rows_, loose));
    if (!empty) return false;
  } else {
    if (origin != ApplyState::Origin::kMade) return false;
    if (there->size != inode.size || there->rdev != inode.rdev || there->target != inode.target) return false;
    if (inode.is_regular()) {
      TRY(bool same, same_extents(FileExtents(rows_, loose, inode), FileExtents(rows_, other, *there)));
      if (!same) return false;
      TRY(std::optional<Displaced> known, get_displaced(rows_, other, inode.version));
      if (!known && inode.version != there->version)
        TRYV(VersionKeeper(rows_, other, inode.version, inode.size).finish(there->version));
    }
  }
  TRYV(state_.discard(loose));
  put_alias(rows_, loose, other);
  return true;
}

// The directory, brought back with those around it if it was removed; the root for one that nobody knows.
Result<Ino> NameApplier::ensure_directory(Ino named) {
  TRY(Ino ino, resolve_alias(rows_, named));
  std::vector<Ino> gone;
  Ino parent = kRootIno;
  for (Ino at = ino;;) {
    TRY(std::optional<Inode> inode, state_.find(at));
    if (inode) {
      if (inode->is_directory()) parent = at;
      break;
    }
    TRY(std::optional<Tombstone> t, get_tombstone(rows_, at));
    if (!t || !t->inode.is_directory() || std::find(gone.begin(), gone.end(), at) != gone.end()) break;
    gone.push_back(at);
    TRY(at, resolve_alias(rows_, t->inode.parent));
  }
  for (; !gone.empty(); gone.pop_back()) {
    const Ino at = gone.back();
    TRY(bool revived, state_.revive(at));
    if (!revived) return fail(Code::kInternal, "a tombstone is gone");
    const std::string name = state_.loose(at).place.second;
    TRY(Inode inode, get_inode(rows_, at));
    TRY(std::optional<FoundEntry> taken, find_entry(rows_, parent, name));
    if (taken) {
      TRY(bool merged, merge(at, inode, taken->entry.ino));
      if (merged) {
        parent = taken->entry.ino;
        continue;
      }
    }
    TRY(std::string really, add_diverted(parent, name, at, inode, taken ? taken->entry.ino : 0));
    parent = at;
  }
  return parent;
}

// Whether `dir` hangs on the root, and not by way of `from`.
Result<bool> NameApplier::is_rooted_apart(Ino dir, Ino from) const {
  for (Ino at = dir;;) {
    if (at == kRootIno) return true;
    if (at == from || at == 0) return false;
    TRY(Inode inode, get_inode(rows_, at));
    at = inode.parent;
  }
}

Result<bool> NameApplier::leads_to(Ino dir, const std::string& name, Ino ino) const {
  TRY(std::optional<FoundEntry> found, find_entry(rows_, dir, name));
  return found && found->entry.ino == ino;
}

}  // namespace coffer::model
