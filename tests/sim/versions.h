// The account of what files contained, by which the simulation knows whether anything was lost.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"

namespace coffer::sim {

// A version is the hash of a file's whole contents. Every change writes bytes that were never written before, so versions
// that differ in their history differ.
//
// A version that an fsync acknowledged is accounted for when a file has it in the end, or when somebody who had seen it
// removed it, or replaced it by a version that is itself accounted for. So what was lost together with what replaced it is
// missed, and so is one of two versions that replaced the same one on different machines.
class Versions {
 public:
  // A machine is about to replace what it sees in a file. Also when it may fail: what never came about accounts for nothing.
  void replacing(const Hash& old, const Hash& by) { replaced_by_[old].insert(by); }
  // A machine is about to remove the name of a file that it sees with these contents. kept(): it did not.
  void removing(const Hash& old) { ++removed_[old]; }
  void kept(const Hash& old) { --removed_[old]; }

  void acknowledged(const Hash& version, unsigned machine, Nanos when, std::string name);
  // Everything that this machine acknowledged until now is in the store, if it was before `when`.
  void published(unsigned machine, Nanos when);
  // This machine goes back to its state of `when`: unsent work from after that is gone by the user's own doing.
  void restored(unsigned machine, Nanos when);

  // A line for each version that is lost. `live`: what the files contain in the end.
  std::vector<std::string> lost(const std::set<Hash>& live) const;
  size_t acknowledged_count() const { return acknowledgements_.size(); }

 private:
  struct Acknowledgement {
    Hash version;
    unsigned machine = 0;
    Nanos when{0};
    std::string name;
    bool sent = false, excused = false;
  };
  bool accounted_for(const Hash& version, const std::set<Hash>& live, std::set<Hash>& seen) const;

  std::map<Hash, std::set<Hash>> replaced_by_;
  std::map<Hash, int> removed_;
  std::vector<Acknowledgement> acknowledgements_;
};

}  // namespace coffer::sim
