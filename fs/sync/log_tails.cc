#include "fs/sync/log_tails.h"

#include <algorithm>

namespace coffer {

namespace {

constexpr uint8_t kTailVersion = 3, kMarkVersion = 1;

RowKey mark_key(const LogId& log, uint64_t number) {
  std::string key = LogTails::kMarkPrefix + std::string(as_string(log.view()));
  append_number(key, number);
  return clear_key(std::move(key));
}

Bytes encode(const RecordMark& mark) {
  Bytes out;
  Writer w(out);
  w.u8(kMarkVersion);
  w.id(mark.hash);
  w.u64(mark.stamp);
  return out;
}

// How far the author of `writer` knew the log of `tail` when he wrote his newest record: as far as he quoted it, or as its
// successor names it, if he quoted that, or one that follows. `find` looks a log up among `count`, and may give nullptr.
template <typename Find>
LogTail::Seen known_to(const Find& find, size_t count, const LogTail& writer, const LogTail& tail) {
  LogTail::Seen known{0, tail.first_stamp - 1};
  if (auto seen = writer.seen.find(tail.log); seen != writer.seen.end()) known = seen->second;
  const LogTail* at = &tail;
  for (size_t steps = 0; at != nullptr && at->successor && steps <= count; ++steps) {
    if (*at->successor == writer.log || writer.seen.contains(*at->successor))
      return tail.succeeded.number > known.number ? tail.succeeded : known;
    at = find(*at->successor);
  }
  return known;
}

const LogTail* find_in(const std::map<LogId, LogTail>& tails, const LogId& log) {
  auto it = tails.find(log);
  return it == tails.end() ? nullptr : &it->second;
}

// Up to where the author of a log has quoted all others.
uint64_t acknowledged_by(const std::map<LogId, LogTail>& tails, const LogTail& writer) {
  auto find = [&](const LogId& log) { return find_in(tails, log); };
  uint64_t line = writer.stamp;
  for (const auto& [other, tail] : tails) {
    if (other == writer.log) continue;
    const LogTail::Seen known = known_to(find, tails.size(), writer, tail);
    if (known.number < tail.number) line = std::min(line, known.stamp);
  }
  return line;
}

uint64_t stable_stamp_of(const std::map<LogId, LogTail>& tails, const DeviceId& ours, WallTime silent) {
  uint64_t line = 0;
  for (const auto& [log, tail] : tails) line = std::max(line, tail.stamp);
  for (const auto& [log, writer] : tails)
    if (writer.waited_for(ours, silent)) line = std::min(line, acknowledged_by(tails, writer));
  return line;
}

}  // namespace

Bytes encode(const LogTail& tail) {
  Bytes out;
  Writer w(out);
  w.u8(kTailVersion);
  w.u64(tail.number);
  w.id(tail.hash);
  w.u64(tail.stamp);
  w.u64(tail.first_stamp);
  w.id(tail.device);
  w.id(tail.key);
  w.string(tail.name);
  w.u64(static_cast<uint64_t>(tail.when.ns));
  w.u8(tail.closed);
  w.id(tail.successor.value_or(LogId{}));
  w.varint(tail.seen.size());
  for (const auto& [log, seen] : tail.seen) {
    w.id(log);
    w.u64(seen.number);
    w.u64(seen.stamp);
  }
  w.u64(static_cast<uint64_t>(tail.opened.ns));
  w.varint(tail.vouchers.size());
  for (const DeviceId& voucher : tail.vouchers) w.id(voucher);
  w.u64(tail.succeeded.number);
  w.u64(tail.succeeded.stamp);
  return out;
}

Result<LogTail> decode_tail(const LogId& log, BytesView row) {
  Reader in(row);
  const uint8_t version = in.u8();
  if (version > kTailVersion) return fail(Code::kTooNew, "the row of a log was written by a later coffer");
  LogTail tail;
  tail.log = log;
  tail.number = in.u64();
  tail.hash = in.id<Hash>();
  tail.stamp = in.u64();
  tail.first_stamp = in.u64();
  tail.device = in.id<DeviceId>();
  tail.key = in.id<PublicKey>();
  tail.name = in.string();
  tail.when.ns = static_cast<int64_t>(in.u64());
  tail.closed = in.u8() != 0;
  if (LogId successor = in.id<LogId>(); !successor.is_zero()) tail.successor = successor;
  size_t count = in.count(LogId::kSize + 16);
  for (size_t i = 0; i < count && in.ok(); ++i) {
    LogId other = in.id<LogId>();
    LogTail::Seen seen;
    seen.number = in.u64();
    seen.stamp = in.u64();
    tail.seen.emplace(other, seen);
  }
  if (version >= 2) {
    tail.opened.ns = static_cast<int64_t>(in.u64());
    tail.vouchers.resize(in.count(DeviceId::kSize));
    for (DeviceId& voucher : tail.vouchers) voucher = in.id<DeviceId>();
  }
  if (version >= 3) {
    tail.succeeded.number = in.u64();
    tail.succeeded.stamp = in.u64();
  } else if (tail.successor) {
    tail.succeeded = {tail.number, tail.stamp};
  }
  if (!in.at_end()) return fail(Code::kCorrupt, "the row of a log is damaged");
  return tail;
}

Result<void> LogTails::load(const std::vector<Row>& rows) {
  std::map<LogId, LogTail> loaded;
  constexpr size_t kPrefix = sizeof kTailPrefix - 1;
  for (const Row& row : rows) {
    if (row.key.size() != kPrefix + LogId::kSize) return fail(Code::kCorrupt, "the row of a log has a wrong key");
    LogId log = LogId::from(as_bytes(std::string_view(row.key).substr(kPrefix)));
    TRY(LogTail tail, decode_tail(log, row.value));
    loaded.emplace(log, std::move(tail));
  }
  MutexLock lock(mutex_);
  tails_ = std::move(loaded);
  return {};
}

Result<RecordMark> LogTails::decode_mark(BytesView row) {
  Reader in(row);
  if (in.u8() > kMarkVersion) return fail(Code::kTooNew, "a row of the log was written by a later coffer");
  RecordMark mark;
  mark.hash = in.id<Hash>();
  mark.stamp = in.u64();
  if (!in.at_end()) return fail(Code::kCorrupt, "a row of the log is damaged");
  return mark;
}

RowKey LogTails::tail_key(const LogId& log) { return clear_key(kTailPrefix + std::string(as_string(log.view()))); }

std::optional<std::pair<LogId, uint64_t>> LogTails::parse_mark_key(std::string_view key) {
  constexpr size_t kPrefix = sizeof kMarkPrefix - 1;
  if (!key.starts_with(kMarkPrefix) || key.size() != kPrefix + LogId::kSize + 8) return std::nullopt;
  return std::pair(LogId::from(as_bytes(key.substr(kPrefix, LogId::kSize))), number_at(key, kPrefix + LogId::kSize));
}

Result<LogExtent> check_log_rows(const std::vector<Row>& tails, const std::vector<Row>& marks) {
  struct Marks {
    uint64_t count = 0, last = 0;
    RecordMark newest;
  };
  std::map<LogId, Marks> by_log;
  for (const Row& row : marks) {
    auto place = LogTails::parse_mark_key(row.key);
    if (!place) return fail(Code::kCorrupt, "the row of a record has a wrong key");
    TRY(RecordMark mark, LogTails::decode_mark(row.value));
    Marks& m = by_log[place->first];
    ++m.count;
    if (place->second != m.last + 1 || mark.stamp <= m.newest.stamp)
      return fail(Code::kCorrupt, "the rows of a log's records do not follow each other");
    m.last = place->second;
    m.newest = mark;
  }
  LogTails all(nullptr);
  TRYV(all.load(tails));
  LogExtent out;
  for (const LogTail& tail : all.all()) {
    auto it = by_log.find(tail.log);
    if (it == by_log.end() || it->second.last != tail.number || it->second.newest.hash != tail.hash ||
        it->second.newest.stamp != tail.stamp)
      return fail(Code::kCorrupt, "a log's newest record is not the one that its row names");
    out.stamp = std::max(out.stamp, tail.stamp);
    out.records += tail.number;
    by_log.erase(it);
  }
  if (!by_log.empty()) return fail(Code::kCorrupt, "there are records of a log that is not named");
  return out;
}

std::optional<LogTail> LogTails::find(const LogId& log) const {
  MutexLock lock(mutex_);
  auto it = tails_.find(log);
  return it == tails_.end() ? std::nullopt : std::optional(it->second);
}

Result<std::optional<RecordMark>> LogTails::mark(const LogId& log, uint64_t number) const {
  {
    MutexLock lock(mutex_);
    auto it = tails_.find(log);
    if (it == tails_.end() || number > it->second.number) return std::optional<RecordMark>();
    if (number == it->second.number) return std::optional(RecordMark{it->second.hash, it->second.stamp});
  }
  TRY(auto row, read_row_(mark_key(log, number)));
  if (!row) return std::optional<RecordMark>();
  TRY(RecordMark mark, LogTails::decode_mark(*row));
  return std::optional(mark);
}

void LogTail::set_author(const DeviceCertificate& certificate) {
  device = certificate.device;
  key = certificate.key;
  vouchers = certificate.voucher_ids();
}

void LogTails::set_revoked(const std::set<LogId>& logs) {
  MutexLock lock(mutex_);
  for (auto& [log, tail] : tails_) tail.revoked = logs.contains(log);
}

std::vector<LogTail> LogTails::all() const {
  MutexLock lock(mutex_);
  std::vector<LogTail> out;
  out.reserve(tails_.size());
  for (const auto& [log, tail] : tails_) out.push_back(tail);
  return out;
}

std::vector<LogTail> LogTails::to_quote(const LogId& own, const std::map<LogId, LogTail::Seen>& seen,
                                        bool opening) const {
  MutexLock lock(mutex_);
  LogTail writer;
  writer.log = own;
  writer.seen = seen;
  auto find = [this](const LogId& log) NO_THREAD_SAFETY_ANALYSIS { return find_in(tails_, log); };
  auto is_known = [&](const LogTail& tail) NO_THREAD_SAFETY_ANALYSIS {
    if (opening) return tail.successor && tail.succeeded.number >= tail.number;
    return known_to(find, tails_.size(), writer, tail).number >= tail.number;
  };
  std::vector<LogTail> out;
  for (const auto& [log, tail] : tails_)
    if (log != own && !is_known(tail)) out.push_back(tail);
  return out;
}

uint64_t LogTails::stable_stamp(const DeviceId& ours, WallTime silent) const {
  MutexLock lock(mutex_);
  return stable_stamp_of(tails_, ours, silent);
}

std::set<std::string> LogTails::waited_for(const DeviceId& ours, WallTime silent) const {
  MutexLock lock(mutex_);
  const uint64_t line = stable_stamp_of(tails_, ours, silent);
  std::set<std::string> out;
  for (const auto& [log, writer] : tails_)
    if (writer.waited_for(ours, silent) && acknowledged_by(tails_, writer) == line) out.insert(writer.name);
  return out;
}

uint64_t TailBatch::stable_stamp(const DeviceId& ours, WallTime silent) const {
  std::map<LogId, LogTail> all = tails_;
  for (LogTail& tail : base_.all()) all.emplace(tail.log, std::move(tail));
  return stable_stamp_of(all, ours, silent);
}

Result<bool> TailBatch::knows_all(const LogId& log, uint64_t stamp) const {
  std::vector<std::pair<LogId, uint64_t>> unknown;  // of each log the first, if there is such a record
  {
    MutexLock lock(base_.mutex_);
    auto find = [&](const LogId& id) NO_THREAD_SAFETY_ANALYSIS {
      const LogTail* here = find_in(tails_, id);
      return here != nullptr ? here : find_in(base_.tails_, id);
    };
    const LogTail& writer = *find(log);
    const size_t count = tails_.size() + base_.tails_.size();
    auto look_at = [&](const LogTail& tail) {
      if (tail.log == log || tail.first_stamp > stamp) return;
      const uint64_t next = known_to(find, count, writer, tail).number + 1;
      if (next <= tail.number) unknown.emplace_back(tail.log, next);
    };
    for (const auto& [id, tail] : tails_) look_at(tail);
    for (const auto& [id, tail] : base_.tails_)
      if (!tails_.contains(id)) look_at(tail);
  }
  for (const auto& [other, number] : unknown) {
    TRY(auto first, mark(other, number));
    if (first && first->stamp <= stamp) return false;
  }
  return true;
}

std::optional<LogTail> TailBatch::find(const LogId& log) const {
  auto it = tails_.find(log);
  return it != tails_.end() ? std::optional(it->second) : base_.find(log);
}

Result<std::optional<RecordMark>> TailBatch::mark(const LogId& log, uint64_t number) const {
  auto it = marks_.find({log, number});
  if (it != marks_.end()) return std::optional(it->second);
  return base_.mark(log, number);
}

Result<void> TailBatch::add(const OpenedRecord& opened) {
  const Record& record = opened.record;
  LogTail tail = find(opened.log).value_or(LogTail{});
  tail.log = opened.log;
  tail.number = opened.number;
  tail.hash = opened.hash;
  tail.stamp = record.stamp;
  tail.when = record.when;
  tail.closed = tail.closed || record.closing;
  auto see = [&](const LogHead& head) -> Result<void> {
    TRY(auto known, mark(head.log, head.number));
    if (!known) return fail(Code::kInternal, "a record counts as applied before what it quotes");
    tail.seen[head.log] = {head.number, known->stamp};
    return {};
  };
  for (const LogHead& head : record.heads) TRYV(see(head));
  if (record.opening) {
    tail.first_stamp = record.stamp;
    tail.opened = record.when;
    tail.set_author(record.opening->certificate);
    tail.name = record.opening->device_name;
    if (const auto& before = record.opening->predecessor) {
      TRYV(see(*before));
      if (auto ended = find(before->log)) {
        if (!ended->successor || ended->succeeded.number <= before->number) {
          ended->successor = opened.log;
          ended->succeeded = tail.seen.at(before->log);
        }
        tails_[before->log] = std::move(*ended);
      }
    }
  }
  tails_[opened.log] = std::move(tail);
  marks_[{opened.log, opened.number}] = {opened.hash, record.stamp};
  return {};
}

std::vector<RowPut> TailBatch::rows() const {
  std::vector<RowPut> out;
  for (const auto& [log, tail] : tails_) out.push_back({LogTails::tail_key(log), encode(tail)});
  for (const auto& [place, mark] : marks_) out.push_back({mark_key(place.first, place.second), encode(mark)});
  return out;
}

void TailBatch::commit() {
  MutexLock lock(base_.mutex_);
  for (auto& [log, tail] : tails_) base_.tails_[log] = std::move(tail);
  tails_.clear();
  marks_.clear();
}

}  // namespace coffer
