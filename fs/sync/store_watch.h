// The store as the rest of this layer uses it: says how its requests go.
#pragma once

#include <deque>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "fs/sync/problems.h"
#include "remote/object_store.h"

namespace coffer {

// A decorator that keeps count: whether the last request worked, what was uploaded and how fast, and a problem while
// requests fail. Reading and writing are told apart, since rights often are. Thread-safe. Borrows all that it is given.
class StoreWatch : public ObjectStore {
 public:
  StoreWatch(ObjectStore& store, Problems& problems, const Clock& clock)
      : store_(store), problems_(problems), clock_(clock) {}

  Result<void> put(const std::string& key, BytesView data, std::stop_token stop = {}) override;
  Result<Bytes> get(const std::string& key, size_t limit, std::stop_token stop = {}) override;
  Result<Bytes> get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop = {}) override;
  Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token stop = {}) override;
  Result<void> remove(const std::string& key, std::stop_token stop = {}) override;
  std::string describe() const override { return store_.describe(); }

  bool online() const;
  uint64_t uploaded_bytes() const;
  double upload_rate() const;  // bytes per second over the last ten seconds

 private:
  template <typename T>
  Result<T> judge(const char* what, Result<T> outcome);

  ObjectStore& store_;
  Problems& problems_;
  const Clock& clock_;
  mutable Mutex mutex_{Rank::kLeaf};
  bool online_ GUARDED_BY(mutex_) = false;
  uint64_t uploaded_ GUARDED_BY(mutex_) = 0;
  mutable std::deque<std::pair<Nanos, uint64_t>> recent_ GUARDED_BY(mutex_);
};

}  // namespace coffer
