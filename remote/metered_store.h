// Counts and limits what goes through any store.
#pragma once

#include <memory>
#include <string>

#include "remote/object_store.h"
#include "remote/transfer_meter.h"

namespace coffer {

// A decorator for stores that have no transport of their own to meter (memory, directory) and for tests that count
// requests. One call is one request. Thread-safe. Shares the inner store and the meter.
class MeteredStore : public ObjectStore {
 public:
  explicit MeteredStore(std::shared_ptr<ObjectStore> inner, std::shared_ptr<TransferMeter> meter = nullptr);

  Result<void> put(const std::string& key, BytesView data, std::stop_token stop = {}) override;
  Result<Bytes> get(const std::string& key, size_t limit, std::stop_token stop = {}) override;
  Result<Bytes> get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop = {}) override;
  Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token stop = {}) override;
  Result<void> remove(const std::string& key, std::stop_token stop = {}) override;
  std::string describe() const override { return inner_->describe(); }

  StoreCounters counters() const { return meter_->counters(); }
  TransferMeter& meter() { return *meter_; }

 private:
  Result<void> pass(Direction direction, size_t bytes, std::stop_token stop);

  const std::shared_ptr<ObjectStore> inner_;
  const std::shared_ptr<TransferMeter> meter_;
};

}  // namespace coffer
