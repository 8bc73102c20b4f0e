// Verifies that the contents of every file are where the state says: each frame against its hash, each pack as a whole.
#pragma once

#include <atomic>
#include <map>
#include <set>
#include <vector>

#include "fs/check/check_context.h"

namespace coffer {

// Belongs to one thread; reads packs by several.
class DataCheck {
 public:
  // `state` has the state whose files are looked at, and knows where packs are.
  DataCheck(CheckContext& context, Replica& state) : c_(context), state_(state) {}

  // Finds what files consist of. `good_records`: objects that were verified already; what lies in them is not read again.
  Result<void> survey(const std::set<std::string>& good_records);
  Result<void> read_packs();

  // Files that have bytes in this object.
  std::set<Ino> files_in(const std::string& key) const;
  const std::set<std::string>& needed() const { return needed_; }  // objects that hold something of a file
  uint64_t files() const { return files_; }
  uint64_t packs_read() const { return packs_read_; }
  uint64_t packs() const { return packs_.size(); }
  uint64_t bytes_read() const { return done_; }

 private:
  struct Ref {
    uint32_t offset = 0, length = 0, frame_length = 0;
    Hash hash;
    Ino ino = 0;
  };
  struct Pack {
    ObjectId id;
    PackPlace place;
    std::vector<Ref> refs;
  };
  Result<void> place_packs(const std::set<std::string>& good_records);
  bool chosen(const ObjectId& pack) const;
  Result<void> read(const Pack& pack);
  // Why the whole object is not the pack; nullopt: it is.
  std::optional<std::pair<Trouble, std::string>> faults_of(const Pack& pack, BytesView object) const;
  void report(Trouble trouble, const Pack& pack, const std::string& why, const std::set<Ino>& touched);

  CheckContext& c_;
  Replica& state_;
  std::map<ObjectId, std::vector<Ref>> refs_;
  std::vector<Pack> packs_;  // in objects of their own
  std::map<std::string, std::set<Ino>> files_in_;
  std::set<std::string> needed_;
  uint64_t files_ = 0, total_ = 0;
  std::atomic<uint64_t> done_{0}, packs_read_{0};
  Mutex mutex_{Rank::kLeaf};  // so that the options' functions are called one at a time
};

}  // namespace coffer
