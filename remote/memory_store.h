// A store in memory, for tests and simulation.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "remote/object_store.h"

namespace coffer {

// Keeps every object in a map. Never fails but by the rules of ObjectStore (bad key, not found, too large, cancelled).
// Thread-safe. Share one between decorators (MeteredStore, FaultStore) to play several machines on one store.
class MemoryStore : public ObjectStore {
 public:
  MemoryStore() = default;

  Result<void> put(const std::string& key, BytesView data, std::stop_token stop = {}) override;
  Result<Bytes> get(const std::string& key, size_t limit, std::stop_token stop = {}) override;
  Result<Bytes> get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop = {}) override;
  Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token stop = {}) override;
  Result<void> remove(const std::string& key, std::stop_token stop = {}) override;
  std::string describe() const override { return "memory"; }

  // What a test does behind coffer's back: put any bytes under any name (also names that are no keys), look at all.
  void plant(const std::string& name, BytesView data);
  bool erase(const std::string& name);
  std::map<std::string, Bytes> snapshot() const;
  size_t object_count() const;
  uint64_t total_bytes() const;

 private:
  using Object = std::shared_ptr<const Bytes>;
  Result<Object> find(const std::string& key, std::stop_token stop) const;

  mutable Mutex mutex_{Rank::kRemote};
  std::map<std::string, Object> objects_ GUARDED_BY(mutex_);
};

}  // namespace coffer
