// Key slots as a state directory keeps them, in memory.
#pragma once

#include <vector>

#include "base/mutex.h"
#include "fs/sync/key_slots.h"

namespace coffer::test {

// Thread-safe.
class MemorySlots : public SlotCopies {
 public:
  std::vector<Bytes> kept() override {
    MutexLock lock(mutex_);
    return objects_;
  }
  void keep(const VolumeHead&, const std::vector<Bytes>& objects) override {
    MutexLock lock(mutex_);
    objects_ = objects;
  }

 private:
  Mutex mutex_{Rank::kLeaf};
  std::vector<Bytes> objects_ GUARDED_BY(mutex_);
};

}  // namespace coffer::test
