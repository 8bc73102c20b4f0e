#include "remote/fault_store.h"

#include "remote/wait.h"

namespace coffer {
namespace {

Error injected(Code code, std::string_view when, const std::string& key) {
  return Error(code, "injected fault " + std::string(when) + " on " + (key.empty() ? "the whole store" : key));
}

}  // namespace

FaultStore::FaultStore(std::shared_ptr<ObjectStore> inner, Hook hook) : inner_(std::move(inner)) {
  set_hook(std::move(hook));
}

void FaultStore::set_hook(Hook hook) {
  auto shared = hook ? std::make_shared<const Hook>(std::move(hook)) : nullptr;
  MutexLock lock(mutex_);
  hook_ = std::move(shared);
}

FaultStore::Hook FaultStore::random(uint64_t seed, FaultRates rates) {
  struct State {
    Mutex mutex{Rank::kLeaf};
    std::mt19937_64 rng;
  };
  auto state = std::make_shared<State>();
  state->rng.seed(seed);
  return [state, rates](const FaultCall& call) {
    MutexLock lock(state->mutex);
    // Plain remainders: std::uniform_int_distribution may differ between libraries, and seeds must replay.
    auto below = [&](uint64_t n) { return n == 0 ? 0 : state->rng() % n; };
    auto happens = [&](unsigned per_mille) { return below(1000) < per_mille; };
    Fault fault;
    if (happens(rates.delay)) fault.delay = Nanos(static_cast<int64_t>(below(rates.delay_at_most.count() + 1)));
    if (happens(rates.fail_before)) fault.fail_before = happens(500) ? Code::kUnavailable : Code::kTimedOut;
    if (happens(rates.fail_after)) fault.fail_after = happens(500) ? Code::kUnavailable : Code::kTimedOut;
    bool changes = call.operation == StoreOperation::kPut || call.operation == StoreOperation::kRemove;
    if (happens(rates.twice)) fault.twice = changes;
    if (happens(rates.hide)) fault.hide_for = changes ? 1 + static_cast<unsigned>(below(rates.hide_for_at_most)) : 0;
    return fault;
  };
}

Result<Fault> FaultStore::enter(StoreOperation operation, const std::string& key, const std::stop_token& stop) {
  std::shared_ptr<const Hook> hook;
  uint64_t index;
  std::vector<Hidden> due;
  {
    MutexLock lock(mutex_);
    hook = hook_;
    index = calls_++;
    auto end = hidden_.upper_bound(index);
    for (auto it = hidden_.begin(); it != end; ++it) due.push_back(std::move(it->second));
    hidden_.erase(hidden_.begin(), end);
  }
  for (Hidden& hidden : due) TRYV(apply(std::move(hidden)));
  Fault fault = hook ? (*hook)({operation, key, index}) : Fault{};
  Nanos delay = fault.hang ? Nanos(std::chrono::hours(24)) : fault.delay;
  if (delay > Nanos(0) && !wait_for(delay, stop)) return fail(injected(Code::kCancelled, "while waiting", key));
  if (fault.hang) return fail(injected(Code::kTimedOut, "after a day of silence", key));
  if (fault.fail_before) return fail(injected(*fault.fail_before, "before it was applied", key));
  return fault;
}

Result<void> FaultStore::apply(Hidden hidden) {
  if (hidden.data) return inner_->put(hidden.key, *hidden.data);
  return inner_->remove(hidden.key);
}

Result<void> FaultStore::change(Fault fault, const std::string& key, std::optional<Bytes> data,
                                const std::stop_token& stop) {
  if (fault.hide_for > 0) {
    MutexLock lock(mutex_);
    uint64_t due = calls_ + fault.hide_for;
    hidden_.emplace(due, Hidden{due, key, std::move(data)});
  } else {
    for (int times = fault.twice ? 2 : 1; times > 0; --times)
      TRYV(data ? inner_->put(key, *data, stop) : inner_->remove(key, stop));
  }
  if (fault.fail_after) return fail(injected(*fault.fail_after, "after it was applied", key));
  return {};
}

Result<void> FaultStore::settle() {
  std::multimap<uint64_t, Hidden> all;
  {
    MutexLock lock(mutex_);
    all.swap(hidden_);
  }
  for (auto& [due, hidden] : all) TRYV(apply(std::move(hidden)));
  return {};
}

Result<void> FaultStore::put(const std::string& key, BytesView data, std::stop_token stop) {
  TRYV(check_key("put", key, stop));
  TRY(Fault fault, enter(StoreOperation::kPut, key, stop));
  return change(fault, key, to_bytes(data), stop);
}

Result<Bytes> FaultStore::get(const std::string& key, size_t limit, std::stop_token stop) {
  TRY(Fault fault, enter(StoreOperation::kGet, key, stop));
  TRY(Bytes bytes, inner_->get(key, limit, stop));
  if (fault.fail_after) return fail(injected(*fault.fail_after, "after it was read", key));
  return bytes;
}

Result<Bytes> FaultStore::get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop) {
  TRY(Fault fault, enter(StoreOperation::kGet, key, stop));
  TRY(Bytes bytes, inner_->get_range(key, offset, length, stop));
  if (fault.fail_after) return fail(injected(*fault.fail_after, "after it was read", key));
  return bytes;
}

Result<std::vector<ObjectInfo>> FaultStore::list(const std::string& prefix, std::stop_token stop) {
  TRY(Fault fault, enter(StoreOperation::kList, prefix, stop));
  TRY(std::vector<ObjectInfo> listing, inner_->list(prefix, stop));
  if (fault.fail_after) return fail(injected(*fault.fail_after, "after it was listed", prefix));
  return listing;
}

Result<void> FaultStore::remove(const std::string& key, std::stop_token stop) {
  TRYV(check_key("remove", key, stop));
  TRY(Fault fault, enter(StoreOperation::kRemove, key, stop));
  return change(fault, key, std::nullopt, stop);
}

}  // namespace coffer
