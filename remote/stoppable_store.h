// A store whose every call ends when one token says so: for code that takes no token of its own.
#pragma once

#include "remote/object_store.h"

namespace coffer {

// Borrows the inner store. Thread-safe. A call's own token is not listened to.
class StoppableStore : public ObjectStore {
 public:
  StoppableStore(ObjectStore& inner, std::stop_token stop) : inner_(inner), stop_(std::move(stop)) {}

  Result<void> put(const std::string& key, BytesView data, std::stop_token) override {
    return inner_.put(key, data, stop_);
  }
  Result<Bytes> get(const std::string& key, size_t limit, std::stop_token) override {
    return inner_.get(key, limit, stop_);
  }
  Result<Bytes> get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token) override {
    return inner_.get_range(key, offset, length, stop_);
  }
  Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token) override {
    return inner_.list(prefix, stop_);
  }
  Result<void> remove(const std::string& key, std::stop_token) override { return inner_.remove(key, stop_); }
  std::string describe() const override { return inner_.describe(); }

 private:
  ObjectStore& inner_;
  const std::stop_token stop_;
};

}  // namespace coffer
