// A few opened frames, for reads that are smaller than a frame.
#pragma once

#include <list>
#include <memory>
#include <unordered_map>

#include "base/bytes.h"
#include "base/mutex.h"
#include "cache/frame.h"

namespace coffer {

// Thread-safe. Least recently used goes first. Frames are immutable, so nothing is ever invalidated.
class FrameCache {
 public:
  explicit FrameCache(size_t limit_bytes) : limit_(limit_bytes) {}

  using Plain = std::shared_ptr<const uint8_t[]>;

  Plain get(const FrameRef& ref);  // null: not here
  void put(const FrameRef& ref, Plain plain, size_t size);

 private:
  struct Key {
    ObjectId pack;
    uint32_t offset;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& k) const { return std::hash<ObjectId>()(k.pack) ^ (k.offset * 0x9e3779b97f4a7c15ull); }
  };
  struct Slot {
    Key key;
    Plain plain;
    size_t size;
  };

  Mutex mutex_{Rank::kLeaf};
  std::list<Slot> order_ GUARDED_BY(mutex_);  // most recent first
  std::unordered_map<Key, std::list<Slot>::iterator, KeyHash> index_ GUARDED_BY(mutex_);
  size_t bytes_ GUARDED_BY(mutex_) = 0;
  const size_t limit_;
};

}  // namespace coffer
