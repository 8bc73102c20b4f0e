#include "fs/sync/awaited_logs.h"

#include <algorithm>

#include "fs/sync/carried.h"

namespace coffer {

namespace {

constexpr uint64_t kAheadPerLog = 32;       // records of one log that are fetched before they can be applied
constexpr size_t kFetchRecords = 256;       // at once, all logs together
constexpr uint64_t kFetchBytes = 64 << 20;  // the same

std::string problem_key(const LogId& id) { return "log " + id.str(); }

}  // namespace

bool blames_record(Code code) {
  return code == Code::kCorrupt || code == Code::kTooNew || code == Code::kDenied || code == Code::kTooLarge ||
         code == Code::kInvalid;
}

AwaitedLogs::AwaitedLogs(SyncContext& context, KeyWatch& key_watch)
    : c_(context), key_watch_(key_watch), handed_over_(context.identity.handed_over) {}

uint64_t AwaitedLogs::applied_number(const LogId& id) const {
  auto tail = c_.tails.find(id);
  return tail ? tail->number : 0;
}

void AwaitedLogs::begin_poll(bool listing_all, bool again) {
  ++polls_;
  listing_all_ = listing_all;
  const Nanos now = c_.clock.monotonic();
  for (auto& [id, log] : logs_) {
    if (again || listing_all)  // what was locked may have been damage, and is whole now
      for (auto& [number, tags] : log.known)
        for (auto& [tag, candidate] : tags) candidate.epoch.reset();
    if (again) log.retry_at = Nanos(0);
    if (!log.held || now < log.retry_at) continue;
    log.held.reset();
    for (auto& [number, tags] : log.known)
      for (auto& [tag, candidate] : tags) candidate.error.reset();
  }
}

void AwaitedLogs::note(const RecordName& name, uint64_t size) {
  if (name.number <= applied_number(name.log)) return;
  Log& log = logs_[name.log];
  log.noted = polls_;
  Candidate& candidate = log.known[name.number][name.tag];
  if (size > 0) candidate.size = size;
}

Result<void> AwaitedLogs::expect_handed_over() {
  std::vector<KnownHead> waiting;
  for (const KnownHead& known : handed_over_) {
    const LogHead& head = known.head;
    TRY(auto mark, c_.tails.mark(head.log, head.number));
    if (!mark) {
      Log& log = logs_[head.log];
      log.announced = std::max(log.announced, head.number);
      waiting.push_back(known);
    } else if (mark->hash != head.hash) {
      c_.problems.set(
          "handed over " + head.log.str(),
          describe(head.log, head.number) + " is another one here than the device that let this one in knew",
          "Its author's machine was copied or restored, or somebody has its key. Compare what is there on "
          "both machines, and mount the volume on that device.");
    }
  }
  handed_over_ = std::move(waiting);
  return {};
}

std::string AwaitedLogs::describe(const LogId& id, uint64_t number) const {
  auto known = std::ranges::find_if(handed_over_, [&](const KnownHead& h) { return h.head.log == id; });
  if (!c_.tails.find(id) && known != handed_over_.end())
    return "record " + std::to_string(number) + " of " + known->device + "'s log " + id.str().substr(0, 8) + "...";
  return c_.describe(id, number);
}

bool AwaitedLogs::usable(const Candidate& candidate) const {
  return !candidate.error && (!candidate.epoch || c_.keys_of(*candidate.epoch) != nullptr);
}

bool AwaitedLogs::pauses(const Log& log) const {
  return log.held || (log.missing > 0 && c_.clock.monotonic() < log.retry_at);
}

// Whether there is more than a hint to say that a log has records beyond what is applied: anybody can write hints.
bool AwaitedLogs::believed(const LogId& id, const Log& log) const {
  if (log.held || !log.fetched.empty() || log.announced > applied_number(id) || c_.tails.find(id)) return true;
  return std::any_of(log.known.begin(), log.known.end(), [](const auto& number) {
    return std::any_of(number.second.begin(), number.second.end(), [](const auto& c) { return c.second.size > 0; });
  });
}

AwaitedLogs::Names AwaitedLogs::choose() const {
  Names out;
  uint64_t bytes = 0;
  for (const auto& [id, log] : logs_) {
    if (pauses(log)) continue;
    uint64_t applied = applied_number(id);
    for (uint64_t number = applied + 1; number <= applied + kAheadPerLog; ++number) {
      if (log.fetched.contains(number)) continue;
      auto known = log.known.find(number);
      if (known == log.known.end()) break;
      auto found = std::find_if(known->second.begin(), known->second.end(),
                                [this](const auto& tag) { return usable(tag.second); });
      if (found == known->second.end()) break;
      if (out.size() >= kFetchRecords || (bytes > 0 && bytes + found->second.size > kFetchBytes)) return out;
      bytes += std::max<uint64_t>(found->second.size, 1);
      out.emplace_back(RecordName{id, number, found->first}, found->second.size);
    }
  }
  return out;
}

void AwaitedLogs::took(const RecordName& name, Result<Bytes> object) {
  Log& log = logs_[name.log];
  auto& tags = log.known[name.number];
  auto lost = [&] {
    tags.erase(name.tag);
    if (tags.empty()) log.known.erase(name.number);
    still_missing(name.log, log, name.number);
  };
  if (!object) {
    if (object.error().code() == Code::kNotFound) return lost();
    tags[name.tag].error = object.error();
    return;
  }
  auto opened = open_record(*object, c_.volume, name.log, name.number, [this](Epoch e) { return c_.keys_of(e); });
  if (!opened) {
    if (opened.error().code() == Code::kUnavailable) return lost();
    if (opened.error().code() == Code::kDenied) {
      const Epoch epoch = Reader(*object).u32();
      key_watch_.want(epoch);
      if (c_.replica.key_ring().may_come(epoch)) {
        tags[name.tag].epoch = epoch;
        return;
      }
    }
    tags[name.tag].error = opened.error();
    return;
  }
  log.fetched.emplace(name.number, Fetched{name, std::move(*opened), std::move(*object)});
}

Result<bool> AwaitedLogs::list_gaps(std::set<LogId>& listed, const std::stop_token& stop) {
  std::vector<LogId> wanted;
  const Nanos now = c_.clock.monotonic();
  for (auto& [id, log] : logs_) {
    if (log.held) continue;
    uint64_t number = applied_number(id) + 1;
    while (log.fetched.contains(number) || log.known.contains(number)) ++number;
    uint64_t last = std::max(log.announced, log.known.empty() ? 0 : log.known.rbegin()->first);
    if (number > last) continue;
    if (listed.contains(id)) {
      still_missing(id, log, number);
    } else if (log.missing == 0 || now >= log.retry_at) {
      wanted.push_back(id);
    }
  }
  bool fresh = false;
  for (const LogId& id : wanted) {
    listed.insert(id);
    TRY(std::vector<ObjectInfo> found, c_.store.list(log_prefix(id), stop));
    for (const ObjectInfo& info : found) {
      auto name = parse_record_key(info.key);
      if (!name || name->log != id || name->number <= applied_number(id)) continue;
      fresh = fresh || !logs_[id].known.contains(name->number);
      note(*name, info.size);
    }
    Log& log = logs_[id];
    uint64_t number = applied_number(id) + 1;
    if (!fresh && !log.known.contains(number) && !log.fetched.contains(number)) still_missing(id, log, number);
  }
  return fresh;
}

// The next record of this log, if it may be applied on top of `tails`.
AwaitedLogs::Fetched* AwaitedLogs::ready(const LogId& id, Log& log, const TailView& tails) {
  if (log.held) return nullptr;
  auto tail = tails.find(id);
  uint64_t number = (tail ? tail->number : 0) + 1;
  auto it = log.fetched.find(number);
  if (it == log.fetched.end()) return nullptr;
  Fetched& fetched = it->second;
  if (fetched.verified) return &fetched;
  auto verdict = verify_record(fetched.opened, tails, c_.volume, c_.volume_signing);
  if (verdict && *verdict) {
    Log& other = logs_[(*verdict)->log];
    other.announced = std::max(other.announced, (*verdict)->number);
    return nullptr;
  }
  if (verdict && c_.is_void(fetched.opened, tails)) strip(fetched.opened.record);
  Result<void> kept =
      verdict ? keep_carried(fetched.opened, fetched.object, c_.replica.packs()) : fail(verdict.error());
  if (kept) {
    fetched.verified = true;
    return &fetched;
  }
  if (!blames_record(kept.error().code())) {
    c_.problems.set(kApplyProblem, "news cannot be applied: " + kept.error().what(), disk_advice(kept.error().code()));
    return nullptr;  // as if it had not come yet
  }
  log.known[number][fetched.name.tag].error = kept.error();
  log.fetched.erase(it);
  return nullptr;
}

AwaitedLogs::Fetched* AwaitedLogs::first_ready(const TailView& tails) {
  Fetched* best = nullptr;
  auto place = [](const Fetched& f) { return std::pair(f.opened.record.stamp, f.name.log); };
  for (auto& [id, log] : logs_) {
    Fetched* next = ready(id, log, tails);
    if (next != nullptr && (best == nullptr || place(*next) < place(*best))) best = next;
  }
  return best;
}

std::optional<uint64_t> AwaitedLogs::horizon(const TailView& tails) const {
  std::optional<uint64_t> out;
  for (const auto& [id, log] : logs_) {
    if (pauses(log) || log.known.empty()) continue;
    auto tail = tails.find(id);
    uint64_t number = (tail ? tail->number : 0) + 1, stamp = tail ? tail->stamp : 0;
    for (auto it = log.fetched.find(number); it != log.fetched.end(); it = log.fetched.find(++number))
      stamp = it->second.opened.record.stamp;
    auto known = log.known.find(number);
    if (known == log.known.end()) continue;
    // Nobody knows when keys come.
    auto locked = [](const auto& tag) { return tag.second.epoch.has_value(); };
    auto can_use = [this](const auto& tag) { return usable(tag.second); };
    if (std::ranges::any_of(known->second, locked) && std::ranges::none_of(known->second, can_use)) continue;
    if (!out || stamp < *out) out = stamp;
  }
  return out;
}

void AwaitedLogs::applied(const LogId& id, uint64_t number) {
  Log& log = logs_[id];
  log.fetched.erase(number);
  log.known.erase(number);
  log.backoff.reset();
  log.missing = 0;
}

void AwaitedLogs::refuse(const LogId& id, uint64_t number, Error error) {
  Log& log = logs_[id];
  log.fetched.erase(number);
  std::string todo = error.code() == Code::kTooNew
                         ? "Install a newer coffer on this machine."
                         : "The object was damaged or replaced in the store, or its author's "
                           "machine has a fault. What that device wrote "
                           "from there on waits, with what refers to it; everything else "
                           "goes on, and coffer looks again by itself. `coffer check --repair` "
                           "on a device that still has the record puts it back; or ask "
                           "whoever runs the store to restore the object " +
                               log_prefix(id) + std::to_string(number) + "-...";
  c_.problems.set(problem_key(id), describe(id, number) + " is refused: " + error.what(), std::move(todo));
  c_.not_here_yet.clear(problem_key(id));
  log.told = true;
  log.held = std::move(error);
  log.retry_at = c_.clock.monotonic() + std::max<Nanos>(log.backoff.next(), std::chrono::seconds(1));
}

void AwaitedLogs::tell_late(const LogId& id, Log& log, const std::string& what) {
  c_.not_here_yet.set(problem_key(id), what, "");
  log.told = true;
}

void AwaitedLogs::wait_for_keys(const LogId& id, Log& log, uint64_t number) {
  const Nanos now = c_.clock.monotonic();
  if (!log.locked_since) log.locked_since = now;
  const std::string record = describe(id, number);
  if (now - *log.locked_since < c_.options.missing_after)
    return tell_late(id, log, "the keys of " + record + ", which is sealed under a newer epoch");
  c_.not_here_yet.clear(problem_key(id));
  c_.problems.set(
      problem_key(id), record + " is sealed under an epoch of the volume's keys that this device does not have",
      "It gets the keys by a key slot of its own, made when the epoch began; one that the store shows late, or "
      "withholds, or that was not made, since this device had published nothing by then. Unmount, and mount "
      "again with the passphrase, or let this device in anew (coffer device join). (If the object is damaged, ask "
      "whoever runs the store.)");
  log.told = true;
}

void AwaitedLogs::still_missing(const LogId& id, Log& log, uint64_t number) {
  Nanos now = c_.clock.monotonic();
  if (log.missing != number) {
    log.missing = number;
    log.missing_since = now;
    log.backoff.reset();
    log.retry_at = Nanos(0);
  }
  if (now >= log.retry_at) log.retry_at = now + log.backoff.next();
  if (!believed(id, log)) return;
  if (now - log.missing_since < c_.options.missing_after) return tell_late(id, log, describe(id, number));
  const bool known = std::ranges::any_of(
      handed_over_, [&](const KnownHead& h) { return h.head.log == id && h.head.number >= number; });
  c_.not_here_yet.clear(problem_key(id));
  c_.problems.set(problem_key(id),
                  describe(id, number) + (known ? " was there when this device was let in, and does not arrive"
                                                : " is announced and does not arrive"),
                  "The store shows it late, or withholds or lost it. What that device wrote from there on waits; "
                  "everything else goes on, and coffer keeps looking. A device that still has it puts it back by "
                  "itself: mount the volume there; or ask whoever runs the store.");
  log.told = true;
}

bool AwaitedLogs::settle() {
  bool incomplete = false;
  for (auto it = logs_.begin(); it != logs_.end();) {
    Log& log = it->second;
    settle(it->first, log);
    if (log.known.empty() && log.fetched.empty() && log.announced <= applied_number(it->first) && log.missing == 0) {
      it = logs_.erase(it);
      continue;
    }
    incomplete = incomplete || believed(it->first, log);
    ++it;
  }
  return incomplete;
}

void AwaitedLogs::settle(const LogId& id, Log& log) {
  uint64_t applied = applied_number(id);
  log.known.erase(log.known.begin(), log.known.upper_bound(applied));
  log.fetched.erase(log.fetched.begin(), log.fetched.upper_bound(applied));
  if (log.missing > 0 && log.missing <= applied) log.missing = 0;
  // Only a hint spoke of it, and is gone. (A listing of everything shows no hints.)
  if (log.known.empty() && log.announced <= applied && log.noted != polls_ && !listing_all_) log.missing = 0;
  // Every copy of the next record was looked at and is nothing.
  auto next = log.known.find(applied + 1);
  if (next != log.known.end() && !log.held && !log.fetched.contains(applied + 1) &&
      std::all_of(next->second.begin(), next->second.end(), [](const auto& c) { return c.second.error.has_value(); })) {
    refuse(id, applied + 1, *next->second.begin()->second.error);
  }
  const bool locked = next != log.known.end() && !log.held && !log.fetched.contains(applied + 1) &&
                      std::ranges::any_of(next->second, [](const auto& c) { return c.second.epoch.has_value(); }) &&
                      std::ranges::none_of(next->second, [this](const auto& c) { return usable(c.second); });
  if (locked)
    wait_for_keys(id, log, applied + 1);
  else
    log.locked_since.reset();
  // While a refused record is being looked at again, and until a missing one comes, the problem stays.
  bool fine = !log.held && log.missing == 0 && !locked;
  if (log.told && fine) {
    c_.problems.clear(problem_key(id));
    c_.not_here_yet.clear(problem_key(id));
    log.told = false;
  }
}

}  // namespace coffer
