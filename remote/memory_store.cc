#include "remote/memory_store.h"

#include <algorithm>

namespace coffer {

Result<void> MemoryStore::put(const std::string& key, BytesView data, std::stop_token stop) {
  TRYV(check_key("put", key, stop));
  plant(key, data);
  return {};
}

Result<MemoryStore::Object> MemoryStore::find(const std::string& key, std::stop_token stop) const {
  TRYV(check_key("get", key, stop));
  MutexLock lock(mutex_);
  auto it = objects_.find(key);
  if (it == objects_.end()) return fail(Code::kNotFound, "get " + key + ": no such object in memory");
  return it->second;
}

Result<Bytes> MemoryStore::get(const std::string& key, size_t limit, std::stop_token stop) {
  TRY(Object object, find(key, std::move(stop)));
  if (object->size() > limit)
    return fail(Code::kTooLarge, "get " + key + ": larger than " + std::to_string(limit) + " bytes");
  return *object;
}

Result<Bytes> MemoryStore::get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop) {
  TRY(Object object, find(key, std::move(stop)));
  if (offset >= object->size()) return Bytes();
  size_t n = std::min<uint64_t>(length, object->size() - offset);
  auto begin = object->begin() + static_cast<ptrdiff_t>(offset);
  return Bytes(begin, begin + static_cast<ptrdiff_t>(n));
}

Result<std::vector<ObjectInfo>> MemoryStore::list(const std::string& prefix, std::stop_token stop) {
  TRYV(check_prefix(prefix, stop));
  std::vector<ObjectInfo> found;
  MutexLock lock(mutex_);
  for (auto it = objects_.lower_bound(prefix); it != objects_.end() && it->first.starts_with(prefix); ++it)
    if (valid_object_key(it->first)) found.push_back({it->first, it->second->size()});
  return found;
}

Result<void> MemoryStore::remove(const std::string& key, std::stop_token stop) {
  TRYV(check_key("remove", key, stop));
  erase(key);
  return {};
}

void MemoryStore::plant(const std::string& name, BytesView data) {
  auto object = std::make_shared<const Bytes>(data.begin(), data.end());
  MutexLock lock(mutex_);
  objects_[name] = std::move(object);
}

bool MemoryStore::erase(const std::string& name) {
  MutexLock lock(mutex_);
  return objects_.erase(name) > 0;
}

std::map<std::string, Bytes> MemoryStore::snapshot() const {
  MutexLock lock(mutex_);
  std::map<std::string, Bytes> all;
  for (const auto& [name, object] : objects_) all.emplace(name, *object);
  return all;
}

size_t MemoryStore::object_count() const {
  MutexLock lock(mutex_);
  return objects_.size();
}

uint64_t MemoryStore::total_bytes() const {
  MutexLock lock(mutex_);
  uint64_t total = 0;
  for (const auto& [name, object] : objects_) total += object->size();
  return total;
}

}  // namespace coffer
