// Verifies every checkpoint that a hint names: root, segments, and the state that they add up to.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "fs/check/check_context.h"
#include "fs/sync/checkpoint_loader.h"

namespace coffer {

// Belongs to one thread.
class CheckpointCheck {
 public:
  explicit CheckpointCheck(CheckContext& context) : c_(context) {}

  Result<void> run();

  // The newest that is sound; nullptr: none is. Taken once.
  std::unique_ptr<LoadedCheckpoint> take_newest() { return std::move(newest_); }
  const std::set<std::string>& needed() const {
    return needed_;
  }  // objects of all that could be read as to their lists
  uint64_t sound() const { return sound_; }

 private:
  Result<std::optional<Checkpoint>> open_root(const CheckpointName& name);
  void tell(Trouble trouble, const std::string& thing, const std::string& key, std::string what,
            const CheckpointName& name);
  Result<std::optional<Bytes>> open_one(const CheckpointName& name, const SegmentInfo& info);

  CheckContext& c_;
  std::vector<CheckpointName> names_;  // newest first
  std::unique_ptr<LoadedCheckpoint> newest_;
  std::set<std::string> needed_;
  std::map<Hash, ObjectId> by_seal_;  // which segment has this hash, of all that roots list
  std::set<ObjectId> bad_segments_;   // reported
  uint64_t sound_ = 0;
};

}  // namespace coffer
