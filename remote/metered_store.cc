#include "remote/metered_store.h"

#include <algorithm>

#include "remote/wait.h"

namespace coffer {
namespace {

constexpr Nanos kShortest = std::chrono::milliseconds(1);
constexpr Nanos kLook = std::chrono::milliseconds(100);  // a limit that was changed meanwhile takes effect after this

uint64_t listing_bytes(const std::vector<ObjectInfo>& listing) {
  uint64_t bytes = 0;
  for (const ObjectInfo& info : listing) bytes += info.key.size() + sizeof(uint64_t);
  return bytes;
}

}  // namespace

MeteredStore::MeteredStore(std::shared_ptr<ObjectStore> inner, std::shared_ptr<TransferMeter> meter)
    : inner_(std::move(inner)), meter_(meter ? std::move(meter) : std::make_shared<TransferMeter>()) {}

Result<void> MeteredStore::pass(Direction direction, size_t bytes, std::stop_token stop) {
  while (bytes > 0) {
    size_t given = meter_->take(direction, bytes);
    bytes -= given;
    if (given == 0 && !wait_for(std::clamp(meter_->delay(direction), kShortest, kLook), stop))
      return fail(Code::kCancelled, "cancelled while waiting for the transfer limit");
  }
  return {};
}

Result<void> MeteredStore::put(const std::string& key, BytesView data, std::stop_token stop) {
  meter_->count_request(StoreOperation::kPut);
  TRYV(pass(Direction::kUp, data.size(), stop));
  return inner_->put(key, data, stop);
}

Result<Bytes> MeteredStore::get(const std::string& key, size_t limit, std::stop_token stop) {
  meter_->count_request(StoreOperation::kGet);
  TRY(Bytes bytes, inner_->get(key, limit, stop));
  TRYV(pass(Direction::kDown, bytes.size(), stop));
  return bytes;
}

Result<Bytes> MeteredStore::get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop) {
  meter_->count_request(StoreOperation::kGet);
  TRY(Bytes bytes, inner_->get_range(key, offset, length, stop));
  TRYV(pass(Direction::kDown, bytes.size(), stop));
  return bytes;
}

Result<std::vector<ObjectInfo>> MeteredStore::list(const std::string& prefix, std::stop_token stop) {
  meter_->count_request(StoreOperation::kList);
  TRY(std::vector<ObjectInfo> listing, inner_->list(prefix, stop));
  // Charged, not waited for: news must not queue behind bulk.
  meter_->charge(Direction::kDown, listing_bytes(listing));
  return listing;
}

Result<void> MeteredStore::remove(const std::string& key, std::stop_token stop) {
  meter_->count_request(StoreOperation::kRemove);
  return inner_->remove(key, stop);
}

}  // namespace coffer
