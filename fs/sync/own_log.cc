#include "fs/sync/own_log.h"

#include <algorithm>

#include "crypto/random.h"

namespace coffer {

namespace {
constexpr uint8_t kRowVersion = 1;
}

OwnLog::OwnLog() : log_(random_id<LogId>()) {}

RowKey OwnLog::row_key() { return {"So", 2}; }

Bytes OwnLog::encode_row(const RecordName& newest) {
  Bytes out;
  Writer w(out);
  w.u8(kRowVersion);
  w.id(newest.log);
  w.u64(newest.number);
  w.u64(newest.tag);
  return out;
}

Result<RecordName> OwnLog::decode_row(BytesView row) {
  Reader in(row);
  if (in.u8() > kRowVersion) return fail(Code::kTooNew, "the row of this device's log was written by a later coffer");
  RecordName name;
  name.log = in.id<LogId>();
  name.number = in.u64();
  name.tag = in.u64();
  if (!in.at_end()) return fail(Code::kCorrupt, "the row of this device's log is damaged");
  return name;
}

LogId OwnLog::log() const {
  MutexLock lock(mutex_);
  return log_;
}

std::optional<RecordName> OwnLog::newest() const {
  MutexLock lock(mutex_);
  return newest_;
}

std::optional<RecordName> OwnLog::newest_ever() const {
  MutexLock lock(mutex_);
  return newest_ever_;
}

std::optional<LogId> OwnLog::predecessor() const {
  MutexLock lock(mutex_);
  return predecessor_;
}

void OwnLog::follow(const RecordName& before) {
  MutexLock lock(mutex_);
  predecessor_ = before.log;
  newest_ever_ = before;
  hints_.push_back(before);
}

void OwnLog::published(const RecordName& name) {
  MutexLock lock(mutex_);
  if (name.log != log_) return;  // it was abandoned meanwhile
  newest_ = newest_ever_ = name;
}

void OwnLog::abandon() {
  MutexLock lock(mutex_);
  if (!newest_) return;
  predecessor_ = log_;
  newest_.reset();
  log_ = random_id<LogId>();
}

std::vector<RecordName> OwnLog::take_stale_hints(const RecordName& now) {
  MutexLock lock(mutex_);
  std::vector<RecordName> stale = std::exchange(hints_, {now});
  std::erase(stale, now);
  return stale;
}

void OwnLog::found_hint(const RecordName& name) {
  MutexLock lock(mutex_);
  if (std::find(hints_.begin(), hints_.end(), name) == hints_.end()) hints_.push_back(name);
}

}  // namespace coffer
