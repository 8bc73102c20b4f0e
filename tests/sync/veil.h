// A store that hides what it has from one device, as a test says, and counts what is put.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/mutex.h"
#include "remote/object_store.h"

namespace coffer::test {

// Thread-safe. What is hidden can be put all the same, and stays hidden.
class Veil : public ObjectStore {
 public:
  explicit Veil(std::shared_ptr<ObjectStore> inner) : inner_(std::move(inner)) {}

  void hide(const std::string& key) {
    change([&] { hidden_.insert(key); });
  }
  void hide_in_lists(const std::string& key) {
    change([&] { unlisted_.insert(key); });
  }
  void show_all() {
    change([&] {
      hidden_.clear();
      unlisted_.clear();
    });
  }
  size_t puts(const std::string& key) const {
    MutexLock lock(mutex_);
    auto it = puts_.find(key);
    return it == puts_.end() ? 0 : it->second;
  }
  size_t lists() const {
    MutexLock lock(mutex_);
    return lists_;
  }

  Result<void> put(const std::string& key, BytesView data, std::stop_token stop) override {
    change([&] { ++puts_[key]; });
    return inner_->put(key, data, std::move(stop));
  }
  Result<Bytes> get(const std::string& key, size_t limit, std::stop_token stop) override {
    if (is_hidden(key)) return fail(Code::kNotFound, "get " + key + ": hidden");
    return inner_->get(key, limit, std::move(stop));
  }
  Result<Bytes> get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop) override {
    if (is_hidden(key)) return fail(Code::kNotFound, "get " + key + ": hidden");
    return inner_->get_range(key, offset, length, std::move(stop));
  }
  Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token stop) override {
    TRY(std::vector<ObjectInfo> found, inner_->list(prefix, std::move(stop)));
    MutexLock lock(mutex_);
    ++lists_;
    std::vector<ObjectInfo> out;
    for (ObjectInfo& info : found)
      if (!hidden_.contains(info.key) && !unlisted_.contains(info.key)) out.push_back(std::move(info));
    return out;
  }
  Result<void> remove(const std::string& key, std::stop_token stop) override {
    return inner_->remove(key, std::move(stop));
  }
  std::string describe() const override { return inner_->describe(); }

 private:
  template <typename Change>
  void change(const Change& what) {
    MutexLock lock(mutex_);
    what();
  }
  bool is_hidden(const std::string& key) const {
    MutexLock lock(mutex_);
    return hidden_.contains(key);
  }

  const std::shared_ptr<ObjectStore> inner_;
  mutable Mutex mutex_{Rank::kRemote};
  std::set<std::string> hidden_, unlisted_;
  std::map<std::string, size_t> puts_;
  size_t lists_ = 0;
};

}  // namespace coffer::test
