#include "fs/sync/seen_records.h"

#include <algorithm>

#include "base/log.h"

namespace coffer {

namespace {

constexpr size_t kGoneMost = 1000;  // of a log that are looked into at once; then those after them
constexpr size_t kAsked = 32;       // records that are asked for by name in one look
constexpr size_t kListed = 2;       // logs that are listed in one look

std::string vanished_key(const LogId& id) { return "vanished " + id.str(); }
std::string put_back_key(const LogId& id) { return "put back " + id.str(); }

}  // namespace

std::vector<LogTail> SeenRecords::expected() const {
  std::vector<LogTail> out = c_.tails.all();
  const uint64_t on_its_way = c_.outstanding_stamp;
  for (LogTail& tail : out)
    if (on_its_way > 0 && tail.device == c_.identity.device && tail.stamp == on_its_way) --tail.number;
  return out;
}

void SeenRecords::compare(const std::vector<LogTail>& expected, const std::vector<ObjectInfo>& found) {
  ++listings_;
  std::map<LogId, Listed> by_log;
  for (const ObjectInfo& info : found)
    if (auto name = parse_record_key(info.key)) by_log[name->log].emplace_back(*name, info.size);
  for (const LogTail& tail : expected) compare(tail, by_log[tail.log]);
  std::erase_if(put_back_, [this](const auto& log) {
    if (log.second.listing == listings_ || logs_.contains(log.first)) return false;
    c_.problems.clear(put_back_key(log.first));
    return true;
  });
}

void SeenRecords::compare(const LogTail& expected, const Listed& listed) {
  std::set<uint64_t> gone = find_gone(expected, listed);
  if (gone.empty()) return forget(expected.log);
  Log& log = logs_[expected.log];
  if (log.gone.empty()) log.since = c_.clock.monotonic();
  log.gone = std::move(gone);
  log.listed = true;
}

// Those of which nothing is listed; of those that are kept here: not as they were.
std::set<uint64_t> SeenRecords::find_gone(const LogTail& expected, const Listed& listed) const {
  std::set<uint64_t> there, gone;
  for (const auto& [name, size] : listed) {
    auto kept = c_.kept.find(expected.log, name.number);
    if (!kept || (kept->name.tag == name.tag && kept->size == size)) there.insert(name.number);
  }
  uint64_t next = 1;
  auto skip_to = [&](uint64_t end) {
    for (; next < end && gone.size() < kGoneMost; ++next) gone.insert(next);
    next = end + 1;
  };
  for (uint64_t number : there) {
    if (number > expected.number) break;
    skip_to(number);
  }
  skip_to(expected.number + 1);
  return gone;
}

void SeenRecords::compare_hints(const std::map<LogId, uint64_t>& newest) {
  const Nanos now = c_.clock.monotonic();
  for (const LogTail& tail : c_.tails.all()) {
    auto hinted = newest.find(tail.log);
    // Who has gone on with another log has removed the hint of this one; our own hints have somebody who looks after them.
    if (tail.device == c_.identity.device || tail.successor || tail.revoked ||
        (hinted != newest.end() && hinted->second >= tail.number)) {
      doubts_.erase(tail.log);
      continue;
    }
    Doubt& hint = doubts_[tail.log];
    if (now < hint.not_before) continue;
    hint.not_before = now + hint.backoff.next();
    doubt(tail.log);
  }
}

void SeenRecords::doubt(const LogId& log) { logs_.try_emplace(log); }

bool SeenRecords::look(const std::stop_token& stop) {
  bool sure = false;
  size_t asked = 0, listings = 0;
  std::vector<LogId> ids;
  for (const auto& [id, log] : logs_) ids.push_back(id);
  for (const LogId& id : ids) {
    Log* log = &logs_[id];
    const Nanos now = c_.clock.monotonic();
    if (!log->listed) {
      if (now < log->look_at || listings == kListed) continue;
      ++listings;
      std::vector<LogTail> all = expected();
      auto tail = std::ranges::find(all, id, &LogTail::log);
      // What goes wrong with a request is told by the store's watch, and this can wait.
      auto found = c_.store.list(log_prefix(id), stop);
      if (!found || tail == all.end()) {
        log->look_at = now + log->backoff.next();
        continue;
      }
      Listed listed;
      for (const ObjectInfo& info : *found)
        if (auto name = parse_record_key(info.key); name && name->log == id) listed.emplace_back(*name, info.size);
      compare(*tail, listed);
      if (!logs_.contains(id)) continue;  // all is there
    }
    sure = ask(id, *log, asked, stop) || sure;
    if (log->gone.empty()) {
      forget(id);
      continue;
    }
    log->listed = false;
    log->look_at = now + log->backoff.next();
    tell(id, *log);
  }
  return sure;
}

// A store that shows late what is new may do so to who wrote it, too.
bool SeenRecords::may_be_late(const KeptRecord& kept) const {
  const int64_t age = c_.clock.wall().ns - kept.when.ns;
  return age >= 0 && age < c_.options.missing_after.count();
}

// Asks for what is kept here by its name, and puts back what is not there, or not as it was.
bool SeenRecords::ask(const LogId& id, Log& log, size_t& requests, const std::stop_token& stop) {
  bool sure = false;
  for (auto it = log.gone.begin(); it != log.gone.end() && requests < kAsked;) {
    const uint64_t number = *it++;
    auto kept = c_.kept.find(id, number);
    auto bytes = kept ? c_.kept.read(id, number) : Result<std::optional<Bytes>>(std::optional<Bytes>());
    if (!bytes || !*bytes) continue;
    ++requests;
    const std::string key = kept->name.key();
    auto there = c_.store.get(key, (*bytes)->size(), stop);
    if (there && *there == **bytes) {
      log.gone.erase(number);
      continue;
    }
    if (!there && there.error().code() != Code::kNotFound && there.error().code() != Code::kTooLarge) continue;
    if (!there && there.error().code() == Code::kNotFound && may_be_late(*kept)) continue;
    sure = true;
    if (c_.revoked || !c_.store.put(key, **bytes, stop)) continue;
    log.gone.erase(number);
    tell_put_back(id, number);
  }
  return sure;
}

std::string SeenRecords::name_them(const LogId& id, const std::set<uint64_t>& numbers) const {
  if (numbers.size() == 1) return c_.describe(id, *numbers.begin());
  std::string out = "records ";
  constexpr size_t kNamed = 5;
  size_t named = 0;
  for (auto it = numbers.begin(); it != numbers.end() && named < kNamed; ++it)
    out += (named++ > 0 ? ", " : "") + std::to_string(*it);
  if (numbers.size() > kNamed) out += " and " + std::to_string(numbers.size() - kNamed) + " more";
  return out + " of " + c_.describe(id);
}

void SeenRecords::tell(const LogId& id, const Log& log) {
  const std::string key = vanished_key(id), what = name_them(id, log.gone);
  if (c_.clock.monotonic() - log.since < c_.options.missing_after)
    return c_.not_here_yet.set(key, what + " (seen before)", "");
  c_.not_here_yet.clear(key);
  c_.problems.set(
      key, what + (log.gone.size() == 1 ? " was" : " were") + " in the store and vanished from it",
      "Somebody removed it, or the store went back to an earlier state. This machine has what it did; "
      "a new device would not see it. A device that still has it puts it back by itself: mount the volume on "
      "the others. Ask whoever runs the store.");
}

void SeenRecords::tell_put_back(const LogId& id, uint64_t number) {
  PutBack& back = put_back_[id];
  back.numbers.insert(number);
  back.listing = listings_;
  log_line(LogLevel::kWarning, c_.describe(id, number) + " had gone from the store, or was changed there; put back");
  c_.problems.set(
      put_back_key(id), name_them(id, back.numbers) + " had gone from the store, or had been changed there; put back",
      "Nothing is lost. But somebody removed it, or the store went back to an earlier state: ask whoever runs "
      "the store. This goes when the store has had everything for an hour.");
}

void SeenRecords::forget(const LogId& id) {
  if (logs_.erase(id) == 0) return;
  c_.problems.clear(vanished_key(id));
  c_.not_here_yet.clear(vanished_key(id));
}

}  // namespace coffer
