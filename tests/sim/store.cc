#include "tests/sim/store.h"

#include <algorithm>

#include "fs/sync/record_archive.h"
#include "remote/wait.h"

namespace coffer::sim {

void SharedStore::be_good() {
  habits_ = StoreHabits{};
  for (auto& [key, object] : objects_) object.list_lag = object.get_lag = Nanos(0);
  again_.clear();
}

void SharedStore::play_again() {
  while (!again_.empty() && again_.begin()->first <= Scheduler::current()->now()) {
    Again a = std::move(again_.begin()->second);
    again_.erase(again_.begin());
    change(a.key, std::move(a.data));
  }
}

void SharedStore::change(const std::string& key, std::shared_ptr<const Bytes> data) {
  if (!data) {
    objects_.erase(key);
    return;
  }
  auto [it, fresh] = objects_.try_emplace(key);
  it->second.data = std::move(data);
  if (!fresh) return;  // what was shown stays so
  const auto most = static_cast<int64_t>(habits_.late_at_most.count());
  it->second.put = Scheduler::current()->now();
  auto lag = [&](unsigned rate) { return random_.chance(rate) ? random_.duration(Nanos(0), Nanos(most)) : Nanos(0); };
  it->second.list_lag = lag(habits_.late_list);
  it->second.get_lag = lag(habits_.late_get);
}

bool SharedStore::shown(const Object& object, const std::string& key, uint64_t viewer, bool list) const {
  const Nanos lag = list ? object.list_lag : object.get_lag;
  if (lag == Nanos(0)) return true;
  Random part(viewer ^ static_cast<uint64_t>(object.put.count()) ^ key.size());
  return Scheduler::current()->now() >= object.put + lag / 8 * static_cast<int64_t>(part.below(9));
}

std::shared_ptr<const Bytes> SharedStore::find(const std::string& key) {
  play_again();
  auto it = objects_.find(key);
  if (it != objects_.end()) return it->second.data;
  auto name = parse_record_key(key);
  it = objects_.lower_bound(kArchivePrefix);
  for (; name && it != objects_.end() && it->first.starts_with(kArchivePrefix); ++it) {
    auto index = decode_archive_index(*parse_archive_key(it->first), *it->second.data);
    const ArchivedRecord* record = index ? index->find(*name) : nullptr;
    if (record)
      return std::make_shared<const Bytes>(to_bytes(BytesView(*it->second.data).subspan(record->offset, record->size)));
  }
  return nullptr;
}

std::vector<std::string> SharedStore::keys(const std::string& prefix) {
  play_again();
  std::vector<std::string> out;
  for (auto it = objects_.lower_bound(prefix); it != objects_.end() && it->first.starts_with(prefix); ++it)
    out.push_back(it->first);
  return out;
}

template <typename T, typename Effect>
Result<T> Connection::request(const char* what, const std::string& key, const std::stop_token& stop,
                              const Effect& effect) {
  const std::string name = std::string(what) + " " + key;
  auto lost = [&](const char* why) { return fail(Code::kUnavailable, name + ": " + why); };
  Random& random = shared_->random_;
  const StoreHabits& habits = shared_->habits_;
  Nanos delay = random.duration(Nanos(1'000'000), 2 * habits.usual_delay);
  if (random.chance(habits.slow)) delay += random.duration(Nanos(0), std::chrono::minutes(1));
  const bool fails_before = random.chance(habits.fail_before), fails_after = random.chance(habits.fail_after);
  const Code code = random.chance(500) ? Code::kUnavailable : Code::kTimedOut;
  if (cut_ || !online_) {
    if (!wait_for(std::chrono::milliseconds(5), stop)) return fail(Code::kCancelled, name);
    return lost("no connection");
  }
  if (!wait_for(delay / 2, stop)) return fail(Code::kCancelled, name);
  if (cut_ || !online_) return lost("connection lost");
  if (fails_before) return fail(code, name + ": simulated, before");
  shared_->play_again();
  Result<T> outcome = effect();
  // What is on its way when somebody gives up has happened all the same.
  if (!wait_for(delay / 2, stop)) return fail(Code::kCancelled, name);
  if (cut_ || !online_) return lost("connection lost");
  if (fails_after) return fail(code, name + ": simulated, after");
  return outcome;
}

Result<void> Connection::change(const char* what, const std::string& key, std::shared_ptr<const Bytes> data,
                                const std::stop_token& stop) {
  TRYV(check_key(what, key, stop));
  return request<void>(what, key, stop, [&]() -> Result<void> {
    if (shared_->random_.chance(shared_->habits_.again)) {
      Nanos when = Scheduler::current()->now() + shared_->random_.duration(Nanos(0), std::chrono::minutes(1));
      shared_->again_.emplace(when, SharedStore::Again{key, data});
    }
    shared_->change(key, std::move(data));
    return {};
  });
}

Result<void> Connection::put(const std::string& key, BytesView data, std::stop_token stop) {
  return change("put", key, std::make_shared<const Bytes>(to_bytes(data)), stop);
}

Result<void> Connection::remove(const std::string& key, std::stop_token stop) {
  return change("remove", key, nullptr, stop);
}

Result<std::shared_ptr<const Bytes>> Connection::read(const std::string& key, const std::stop_token& stop) {
  using Data = std::shared_ptr<const Bytes>;
  TRYV(check_key("get", key, stop));
  return request<Data>("get", key, stop, [&]() -> Result<Data> {
    auto it = shared_->objects_.find(key);
    if (it == shared_->objects_.end() || !shared_->shown(it->second, key, viewer_, false))
      return fail(Code::kNotFound, "get " + key + ": no such object");
    return it->second.data;
  });
}

Result<Bytes> Connection::get(const std::string& key, size_t limit, std::stop_token stop) {
  TRY(auto data, read(key, stop));
  if (data->size() > limit) return fail(Code::kTooLarge, "get " + key);
  return *data;
}

Result<Bytes> Connection::get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop) {
  TRY(auto data, read(key, stop));
  const size_t from = std::min<uint64_t>(offset, data->size());
  return to_bytes(BytesView(*data).subspan(from, std::min(length, data->size() - from)));
}

Result<std::vector<ObjectInfo>> Connection::list(const std::string& prefix, std::stop_token stop) {
  using Listing = std::vector<ObjectInfo>;
  TRYV(check_prefix(prefix, stop));
  return request<Listing>("list", prefix, stop, [&]() -> Result<Listing> {
    Listing out;
    auto& objects = shared_->objects_;
    for (auto it = objects.lower_bound(prefix); it != objects.end() && it->first.starts_with(prefix); ++it) {
      if (!shared_->shown(it->second, it->first, viewer_, true)) continue;
      if (!hidden_.empty() && it->first.starts_with(hidden_)) continue;
      out.push_back({it->first, it->second.data->size()});
    }
    return out;
  });
}

}  // namespace coffer::sim
