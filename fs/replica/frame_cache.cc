#include "fs/replica/frame_cache.h"

namespace coffer {

FrameCache::Plain FrameCache::get(const FrameRef& ref) {
  MutexLock lock(mutex_);
  auto it = index_.find({ref.pack, ref.offset});
  if (it == index_.end()) return nullptr;
  order_.splice(order_.begin(), order_, it->second);
  return it->second->plain;
}

void FrameCache::put(const FrameRef& ref, Plain plain, size_t size) {
  MutexLock lock(mutex_);
  Key key{ref.pack, ref.offset};
  if (index_.contains(key)) return;
  bytes_ += size;
  order_.push_front({key, std::move(plain), size});
  index_[key] = order_.begin();
  while (bytes_ > limit_) {
    bytes_ -= order_.back().size;
    index_.erase(order_.back().key);
    order_.pop_back();
  }
}

}  // namespace coffer
