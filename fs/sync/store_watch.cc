#include "fs/sync/store_watch.h"

#include "remote/server_answer.h"

namespace coffer {

namespace {

constexpr Nanos kRateWindow = std::chrono::seconds(10);

std::string trouble(const std::string& what, const std::string& store, const Error& error) {
  switch (error.code()) {
    case Code::kDenied:
      return store + " refuses to let this machine " + what + " it: " + error.what();
    case Code::kUntrusted:
      return store + " cannot be trusted: " + error.what();
    case Code::kNoSpace:
      return store + " has no room: " + error.what();
    case Code::kUnavailable:
    case Code::kTimedOut:
      if (answered_status(error)) return store + " cannot serve this machine now, retrying: " + error.what();
      return "cannot reach " + store + " to " + what + " it, retrying: " + error.what();
    default:
      return "cannot " + what + " " + store + ": " + error.what();
  }
}

}  // namespace

template <typename T>
Result<T> StoreWatch::judge(const char* what, Result<T> outcome) {
  std::string key = std::string("store ") + what;
  // That something is not there is an answer like any other; that we gave up says nothing about the store.
  bool answered = outcome || outcome.error().code() == Code::kNotFound || outcome.error().code() == Code::kTooLarge;
  if (!answered && outcome.error().code() == Code::kCancelled) return outcome;
  {
    MutexLock lock(mutex_);
    online_ = answered;
  }
  if (answered)
    problems_.clear(key);
  else
    problems_.set(key, trouble(what, store_.describe(), outcome.error()), store_advice(outcome.error()));
  return outcome;
}

Result<void> StoreWatch::put(const std::string& key, BytesView data, std::stop_token stop) {
  auto outcome = judge("write", store_.put(key, data, std::move(stop)));
  if (outcome) {
    MutexLock lock(mutex_);
    uploaded_ += data.size();
    recent_.emplace_back(clock_.monotonic(), data.size());
  }
  return outcome;
}

Result<Bytes> StoreWatch::get(const std::string& key, size_t limit, std::stop_token stop) {
  return judge("read", store_.get(key, limit, std::move(stop)));
}

Result<Bytes> StoreWatch::get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop) {
  return judge("read", store_.get_range(key, offset, length, std::move(stop)));
}

Result<std::vector<ObjectInfo>> StoreWatch::list(const std::string& prefix, std::stop_token stop) {
  return judge("read", store_.list(prefix, std::move(stop)));
}

Result<void> StoreWatch::remove(const std::string& key, std::stop_token stop) {
  // Hints, and what is collected: both can wait, so that it fails is no problem of anybody's.
  return store_.remove(key, std::move(stop));
}

bool StoreWatch::online() const {
  MutexLock lock(mutex_);
  return online_;
}

uint64_t StoreWatch::uploaded_bytes() const {
  MutexLock lock(mutex_);
  return uploaded_;
}

double StoreWatch::upload_rate() const {
  MutexLock lock(mutex_);
  Nanos now = clock_.monotonic();
  while (!recent_.empty() && now - recent_.front().first > kRateWindow) recent_.pop_front();
  uint64_t sum = 0;
  for (const auto& [when, bytes] : recent_) sum += bytes;
  return static_cast<double>(sum) / std::chrono::duration<double>(kRateWindow).count();
}

}  // namespace coffer
