#include "fs/sync/replayer.h"

#include <algorithm>

#include "fs/replica/row_parts.h"
#include "fs/sync/carried.h"
#include "fs/sync/parallel.h"

namespace coffer {

namespace {

constexpr size_t kAheadRecords = 256;
constexpr uint64_t kAheadBytes = 64 << 20;

}  // namespace

Replayer::Replayer(SyncContext& context, const TailBatch& batch, std::vector<OrderedRecord> fresh)
    : c_(context), batch_(batch) {
  for (OrderedRecord& record : fresh) {
    order_.push_back({record.stamp, record.log, record.number, record.author.record});
    at_hand_.emplace(std::pair(record.log, record.number), std::move(record));
  }
}

Result<model::Applied> Replayer::run(std::span<const std::pair<ObjectId, PackPlace>> places,
                                     std::span<const RowPut> rows, const std::stop_token& stop) {
  TRYV(find_records(stop));
  const uint64_t line = std::min(c_.replica.stable(), batch_.stable_stamp(c_.identity.device, c_.silent()));
  return c_.replica.replay([&] { return next(stop); }, line, places, rows);
}

Result<void> Replayer::find_records(const std::stop_token& stop) {
  TRY(std::vector<RecordPlace> applied, applied_places(c_.replica));
  order_.insert(order_.end(), applied.begin(), applied.end());
  std::erase_if(order_, [this](const RecordPlace& p) {
    auto tail = batch_.find(p.log);
    return tail && c_.is_void(*tail, p.number, p.hash);
  });
  std::sort(order_.begin(), order_.end());
  TRY(std::vector<ObjectInfo> found, c_.store.list(kLogPrefix, stop));
  for (const ObjectInfo& info : found)
    if (auto name = parse_record_key(info.key)) in_store_[{name->log, name->number}].emplace_back(*name, info.size);

  // Our newest may be on its way.
  auto newest = c_.own.newest();
  if (c_.outstanding_stamp == 0 || !newest) return {};
  auto is_newest = [&](const RecordPlace& p) { return p.log == newest->log && p.number == newest->number; };
  auto at = std::find_if(order_.begin(), order_.end(), is_newest);
  TRY(auto outgoing, c_.replica.outgoing());
  if (at == order_.end()) return {};
  if (!outgoing) {
    order_.erase(at);  // it has no changes
  } else if (outgoing->key == newest->key()) {
    TRY(OrderedRecord record, open(*at, outgoing->key, outgoing->sealed));
    at_hand_.emplace(std::pair(record.log, record.number), std::move(record));
  }
  return {};
}

Result<std::optional<OrderedRecord>> Replayer::next(const std::stop_token& stop) {
  while (ahead_.empty() && at_ < order_.size()) TRYV(read_ahead(stop));
  if (ahead_.empty()) return std::optional<OrderedRecord>();
  std::optional<OrderedRecord> out = std::move(ahead_.front());
  ahead_.pop_front();
  return out;
}

Result<void> Replayer::read_ahead(const std::stop_token& stop) {
  const size_t first = at_;
  uint64_t bytes = 0;
  while (at_ < order_.size() && at_ - first < kAheadRecords && bytes < kAheadBytes) {
    auto found = in_store_.find({order_[at_].log, order_[at_].number});
    if (found != in_store_.end()) bytes += found->second.front().second;
    ++at_;
  }
  std::vector<std::optional<Result<OrderedRecord>>> got(at_ - first);
  in_parallel("coffer-replay", got.size(), c_.options.fetches, [&](size_t i) {
    got[i] = get(order_[first + i], stop);
    return got[i]->has_value();
  });
  for (auto& result : got) {
    if (!result) continue;  // another failed
    if (!*result) return fail(result->error());
    if (!(*result)->changes.empty()) ahead_.push_back(std::move(**result));
  }
  return {};
}

Result<OrderedRecord> Replayer::get(const RecordPlace& place, const std::stop_token& stop) {
  if (auto here = at_hand_.find({place.log, place.number}); here != at_hand_.end()) return here->second;
  std::string why = "it is not there";
  if (auto found = in_store_.find({place.log, place.number}); found != in_store_.end()) {
    for (const auto& [name, size] : found->second) {
      auto object = c_.store.get(name.key(), kRecordMax, stop);
      auto record = object ? open(place, name.key(), *object) : Result<OrderedRecord>(fail(object.error()));
      if (record) return record;
      why = record.error().what();
    }
  }
  // Whatever it is, it says nothing about the records that came now.
  auto tail = batch_.find(place.log);
  return fail(Code::kUnavailable, "record " + std::to_string(place.number) + " of " +
                                      (tail ? tail->name : std::string("a device")) + "'s log " +
                                      place.log.str().substr(0, 8) + "... is needed once more: " + why);
}

Result<OrderedRecord> Replayer::open(const RecordPlace& place, const std::string& key, BytesView object) const {
  TRY(OpenedRecord opened,
      open_record(object, c_.volume, place.log, place.number, [this](Epoch e) { return c_.keys_of(e); }));
  if (opened.hash != place.hash) return fail(Code::kCorrupt, "it is another one than was applied here");
  // Where packs are is a part of the state that may be missing.
  if (c_.replica.parts().loading()) TRYV(c_.replica.packs_uploaded(places_of(opened, key)));
  return ordered(opened, std::move(opened.record.changes), batch_.find(place.log));
}

}  // namespace coffer
