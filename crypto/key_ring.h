// The keys of a volume's epochs, as far as they are here.
//
// A number of an epoch says which of two was made later, and is not to be given twice, also by devices that begin one at
// the same moment: the upper 12 bits are 1 more than those of the greatest before, the lower 20 are random. (The first
// epoch is 1.)
#pragma once

#include <atomic>
#include <map>
#include <vector>

#include "base/mutex.h"
#include "crypto/keys.h"

namespace coffer {

// The number of an epoch that follows all of these. kTooLarge: there are no more.
Result<Epoch> next_epoch(const std::map<Epoch, Secret>& keys);

// Only grows: references stay good for as long as the ring lives. Thread-safe; newest() takes no lock.
class KeyRing {
 public:
  explicit KeyRing(const std::map<Epoch, Secret>& keys);  // at least one
  KeyRing(Epoch epoch, const Secret& key);

  // What is sealed from now on is sealed with these.
  const EpochKeys& newest() const { return *newest_.load(std::memory_order_acquire); }
  const EpochKeys* find(Epoch epoch) const;   // null: not here
  std::vector<const EpochKeys*> all() const;  // newest first
  size_t size() const { return size_.load(std::memory_order_acquire); }

  // Whether an epoch that is not here may have begun beside, or after, the newest that is.
  bool may_come(Epoch epoch) const;

  // Takes those that are not here yet; their number.
  size_t add(const std::map<Epoch, Secret>& keys);

 private:
  mutable Mutex mutex_{Rank::kLeaf};
  std::map<Epoch, EpochKeys> keys_ GUARDED_BY(mutex_);
  std::atomic<const EpochKeys*> newest_{nullptr};
  std::atomic<size_t> size_{0};
};

}  // namespace coffer
