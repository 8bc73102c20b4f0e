// What the steps of apply() share. Within one application an inode may be "loose": it is there, but no entry leads to it
// yet or any more. A loose file has nlink 0, a loose directory parent 0; at the end none is left.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "fs/model/apply.h"
#include "fs/model/extent_map.h"
#include "fs/model/family.h"
#include "fs/model/remains.h"

namespace coffer::model {

using Place = std::pair<Ino, std::string>;  // directory and name

class ApplyState {
 public:
  ApplyState(Rows& r, const ChangeSet& c, const Author& a, Applied& o) : rows(r), changes(c), author(a), out(o) {}

  Rows& rows;
  const ChangeSet& changes;
  const Author& author;
  Applied& out;

  enum class Origin { kMade, kRevived, kDetached, kCopy };
  struct Loose {
    Origin origin;
    Place place;         // kRevived: where it was; kCopy: the original's number
    bool aside = false;  // goes to a conflict name beside that place, even if it is free
  };

  // An inode that is in the tree, or loose.
  Result<std::optional<Inode>> find(Ino ino) const;
  bool is_loose(Ino ino) const { return loose_.contains(ino); }
  const Loose& loose(Ino ino) const { return loose_.at(ino); }
  // In the order in which they became loose; settled ones included. Grows while it is walked.
  const std::vector<Ino>& all_loose() const { return loose_order_; }
  void add_loose(Ino ino, Loose how);
  void settle(Ino ino) { loose_.erase(ino); }
  // It is as if it had never been anywhere.
  void detach_anew(Ino ino) { loose_.at(ino) = {Origin::kMade, {}}; }
  void set_aside(Ino ino) { loose_.at(ino).aside = true; }

  // Families that the record touches and that were changed elsewhere: what the author saw of them goes to conflict names,
  // all of it, so that no log lies beside a database that it is not of.
  Result<void> find_families();
  bool is_aside(Ino ino) const { return aside_.contains(ino); }  // by the author's number
  bool is_aside(const Family& family) const { return families_.contains(family); }

  // Takes a removed inode out of its tombstone, with the contents that everybody knew; it is loose then. False: there is
  // no tombstone.
  Result<bool> revive(Ino ino);
  // Removes a loose inode that nobody else ever saw.
  Result<void> discard(Ino ino);
  // A number for an inode that a rule makes: the same on every replica.
  Result<Ino> derive_ino(Ino from) const;

  // What the author means by `ino` where he names it with a version of its contents: itself, or the conflict copy that
  // version lives on in, when it has another itself. With every inode on the way, the last included.
  struct Followed {
    std::vector<Ino> way;
    Ino ino() const { return way.back(); }
  };
  Result<Followed> follow(Ino ino, Version version) const;

 private:
  // Whether they are what everybody sees in it, or saw last.
  Result<bool> has_contents(Ino ino, Version version) const;
  Result<bool> changed_elsewhere(const InodeChange& c) const;

  std::unordered_map<Ino, Loose> loose_;
  std::vector<Ino> loose_order_;
  std::unordered_set<Ino> aside_;
  std::set<Family> families_;
};

// Contents, before names. Makes conflict copies as loose inodes.
class ContentApplier {
 public:
  explicit ContentApplier(ApplyState& state) : state_(state) {}
  // The file that has the contents then, or had them already; 0: there is nothing to apply them to.
  enum class Where {
    kThere,
    kAside,      // in another file than the one that is there
    kSeenAside,  // likewise, for what did not change (InodeChange::only_seen)
  };
  Result<Ino> apply(Ino ino, const ContentChange& change, Where where);

 private:
  Result<void> update(Ino file, Inode& inode, const ContentChange& change);
  Result<void> finish(ExtentEdit& edit, VersionKeeper& keeper, Ino file, Inode& inode, const ContentChange& change);
  Result<void> bring_back(Ino file, const ContentChange& change);
  Result<Ino> conflict(Ino named, Ino file, const Inode& inode, const ContentChange& change, Where where);
  ApplyState& state_;
};

// Names, after contents and new inodes; everything loose gets its place or goes.
class NameApplier {
 public:
  explicit NameApplier(ApplyState& state) : state_(state), rows_(state.rows) {}
  Result<void> run();

 private:
  // An entry change on its way.
  struct Step {
    const EntryChange* change = nullptr;
    Ino dir = 0;  // 0: there is no such directory now
    Ino before = 0;
    std::string name;      // where it applies: the change's own, or the one that it was diverted to
    bool matched = false;  // the name led to `before`
    bool refused = false;  // and still does, since its removal does not happen
  };
  struct Removal {
    Ino ino = 0;
    bool allowed = false;
  };

  Result<void> find_removals();
  Result<void> match();
  Result<void> detach_all();
  Result<void> remove_directories();
  Result<std::vector<size_t>> in_order() const;
  Result<void> attach(Step& step);
  Result<void> place_loose();
  Result<void> place_copies();

  Result<void> detach(Ino dir, const std::string& name, Ino ino);
  // Adds an entry, whose name is free.
  Result<void> add(Ino dir, const std::string& name, Ino ino, Inode& inode);
  // Puts a loose inode at a place, or as near to it as possible.
  Result<void> place(Ino ino, const Place& at, bool aside = false);
  Result<std::string> free_name(Ino dir, const std::string& name);
  // Adds under `name`, or under a conflict name when `taken_by` has it, or at once when it is to go `aside`.
  Result<std::string> add_diverted(Ino dir, const std::string& name, Ino ino, Inode& inode, Ino taken_by,
                                   bool aside = false);
  // One of two equal things takes the place of the other, which is loose.
  Result<bool> merge(Ino loose, const Inode& inode, Ino other);
  Result<Ino> ensure_directory(Ino ino);
  Result<bool> is_rooted_apart(Ino dir, Ino from) const;
  Result<bool> leads_to(Ino dir, const std::string& name, Ino ino) const;

  ApplyState& state_;
  Rows& rows_;
  std::vector<Step> steps_;
  std::unordered_map<Ino, Removal> removals_;  // by the author's number
  std::unordered_set<Ino> removed_;            // inodes whose removal is allowed
  std::unordered_set<Ino> attached_;           // inodes that the author gives a name
  std::unordered_map<Ino, Place> moved_from_;  // a file's only name, which the author did not see but moves it from
  std::unordered_map<Ino, Place> least_;       // of the names that an inode lost, the least
  std::unordered_map<std::string, unsigned> attempts_;  // conflict names tried
};

}  // namespace coffer::model
