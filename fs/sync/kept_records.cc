#include "fs/sync/kept_records.h"

namespace coffer {

namespace {

constexpr uint8_t kVersion = 1;
constexpr std::string_view kOrderPrefix = "Sq", kObjectPrefix = "Sk";

RowKey order_key(uint64_t order) {
  std::string key(kOrderPrefix);
  append_number(key, order);
  return clear_key(std::move(key));
}

RowKey object_key(const LogId& log, uint64_t number) {
  std::string key = std::string(kObjectPrefix) + std::string(as_string(log.view()));
  append_number(key, number);
  return clear_key(std::move(key));
}

}  // namespace

Bytes encode(const KeptRecord& record) {
  Bytes out;
  Writer w(out);
  w.u8(kVersion);
  w.id(record.name.log);
  w.u64(record.name.number);
  w.u64(record.name.tag);
  w.u64(record.size);
  w.u64(static_cast<uint64_t>(record.when.ns));
  return out;
}

Result<KeptRecord> decode_kept_record(BytesView row) {
  Reader in(row);
  if (in.u8() > kVersion) return fail(Code::kTooNew, "the row of a record that is kept was written by a later coffer");
  KeptRecord out;
  out.name.log = in.id<LogId>();
  out.name.number = in.u64();
  out.name.tag = in.u64();
  out.size = in.u64();
  out.when.ns = static_cast<int64_t>(in.u64());
  if (!in.at_end()) return fail(Code::kCorrupt, "the row of a record that is kept is damaged");
  return out;
}

Result<void> KeptRecords::load() {
  TRY(auto rows, replica_.rows_with_prefix(kOrderPrefix));
  MutexLock lock(mutex_);
  for (const Row& row : rows) {
    if (row.key.size() != kOrderPrefix.size() + 8)
      return fail(Code::kCorrupt, "the row of a record that is kept has a wrong key");
    TRY(KeptRecord record, decode_kept_record(row.value));
    const uint64_t order = number_at(row.key, kOrderPrefix.size());
    const Place place(record.name.log, record.name.number);
    if (!entries_.emplace(place, Entry{record, order}).second) continue;
    by_order_.emplace(order, place);
    bytes_ += record.size;
  }
  return {};
}

void KeptRecords::let_go(const Place& place, std::vector<RowPut>& rows) {
  auto it = entries_.find(place);
  rows.push_back({order_key(it->second.order), std::nullopt});
  rows.push_back({object_key(place.first, place.second), std::nullopt});
  bytes_ -= it->second.record.size;
  by_order_.erase(it->second.order);
  entries_.erase(it);
}

std::vector<RowPut> KeptRecords::keep(const RecordName& name, BytesView object, WallTime now) {
  std::vector<RowPut> rows;
  if (object.size() > kMost) return rows;
  const Place place(name.log, name.number);
  MutexLock lock(mutex_);
  if (entries_.contains(place)) {
    let_go(place, rows);
    rows.pop_back();  // its object is replaced below
  }
  while (bytes_ + object.size() > kMost) let_go(by_order_.begin()->second, rows);
  const uint64_t order = by_order_.empty() ? 1 : by_order_.rbegin()->first + 1;
  const KeptRecord record{name, object.size(), now};
  entries_.emplace(place, Entry{record, order});
  by_order_.emplace(order, place);
  bytes_ += object.size();
  Bytes value;
  value.reserve(1 + object.size());
  value.push_back(kVersion);
  value.insert(value.end(), object.begin(), object.end());
  rows.push_back({order_key(order), encode(record)});
  rows.push_back({object_key(name.log, name.number), std::move(value)});
  return rows;
}

std::optional<KeptRecord> KeptRecords::find(const LogId& log, uint64_t number) const {
  MutexLock lock(mutex_);
  auto it = entries_.find({log, number});
  return it == entries_.end() ? std::nullopt : std::optional(it->second.record);
}

Result<std::optional<Bytes>> KeptRecords::read(const LogId& log, uint64_t number) const {
  if (!find(log, number)) return std::optional<Bytes>();
  TRY(auto row, replica_.get_row(object_key(log, number)));
  if (!row) return std::optional<Bytes>();
  if (row->empty() || row->front() > kVersion)
    return fail(Code::kTooNew, "a record that is kept was written by a later coffer");
  row->erase(row->begin());
  return row;
}

}  // namespace coffer
