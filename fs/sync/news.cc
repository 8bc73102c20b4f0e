#include "fs/sync/news.h"

#include <algorithm>

#include "base/log.h"
#include "base/thread.h"
#include "crypto/hash.h"
#include "fs/sync/parallel.h"
#include "fs/sync/replayer.h"

namespace coffer {

namespace {

constexpr Nanos kListAllEvery = std::chrono::hours(1);
constexpr uint64_t kAheadPerLog = 32;       // records of one log that are fetched before they can be applied
constexpr size_t kFetchRecords = 256;       // at once, all logs together
constexpr uint64_t kFetchBytes = 64 << 20;  // the same
constexpr size_t kBatchRecords = 256;
constexpr size_t kBatchBytes = 16 << 20;
constexpr char kDiskProblem[] = "disk apply";
constexpr char kReplayProblem[] = "replay";

// Whether it says something about a record, as opposed to this machine or the network.
bool blames_record(Code code) {
  return code == Code::kCorrupt || code == Code::kTooNew || code == Code::kDenied || code == Code::kTooLarge ||
         code == Code::kInvalid;
}

}  // namespace

Result<void> visit_carried(const OpenedRecord& opened, BytesView object,
                           const std::function<Result<void>(const FrameRef&, BytesView)>& visit) {
  std::map<ObjectId, const RecordPack*> carried;
  for (const RecordPack& pack : opened.record.packs)
    if (pack.carried) carried.emplace(pack.id, &pack);
  if (carried.empty()) return {};
  return model::visit_extents(opened.record.changes, [&](const model::Extent& extent) -> Result<void> {
    const FrameRef& ref = extent.frame;
    auto it = carried.find(ref.pack);
    if (it == carried.end()) return {};
    const RecordPack& pack = *it->second;
    if (ref.offset < pack.first || uint64_t{ref.offset} + ref.length > pack.first + pack.length)
      return fail(Code::kCorrupt, "it refers to bytes that it does not carry");
    BytesView sealed = object.subspan(opened.carried_at + pack.at + (ref.offset - pack.first), ref.length);
    if (blake2b(sealed) != ref.hash) return fail(Code::kCorrupt, "it carries bytes that do not verify");
    return visit(ref, sealed);
  });
}

Result<void> keep_carried(const OpenedRecord& opened, BytesView object, PackStore& packs) {
  return visit_carried(opened, object,
                       [&packs](const FrameRef& ref, BytesView sealed) { return packs.store_frame(ref, sealed); });
}

std::vector<std::pair<ObjectId, PackPlace>> places_of(const OpenedRecord& opened, const std::string& key) {
  std::vector<std::pair<ObjectId, PackPlace>> out;
  for (const RecordPack& pack : opened.record.packs) {
    if (pack.carried)
      out.emplace_back(pack.id, PackPlace{key, opened.carried_at + pack.at - pack.first, pack.first + pack.length});
    else
      out.emplace_back(pack.id, PackPlace{pack_key(pack.id), 0, pack.size});
  }
  return out;
}

News::News(SyncContext& context)
    : c_(context),
      active_until_((c_.clock.monotonic() + c_.options.active_for).count()),
      loader_(context),
      key_watch_(context),
      handed_over_(context.identity.handed_over) {}

News::~News() { stop(); }

void News::start() {
  thread_ = start_thread("coffer-news", [this](std::stop_token stop) { run(std::move(stop)); });
}

void News::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  rounds_.wake();
  thread_.join();
}

void News::want_all() { want_all_ = true; }

void News::look_again() { look_again_ = true; }

void News::note_activity() {
  int64_t now = c_.clock.monotonic().count();
  int64_t before = active_until_.exchange(now + c_.options.active_for.count());
  if (before <= now) rounds_.wake();
}

std::optional<Nanos> News::checked_at() const {
  MutexLock lock(mutex_);
  return checked_at_;
}

std::optional<WallTime> News::checked_when() const {
  MutexLock lock(mutex_);
  return checked_when_;
}

void News::run(std::stop_token stop) {
  Backoff backoff;
  Nanos next = c_.clock.monotonic();
  bool failing = false;
  while (!stop.stop_requested()) {
    Nanos now = c_.clock.monotonic();
    rounds_.wait_for_work(next - now);
    if (stop.stop_requested()) break;
    now = c_.clock.monotonic();
    // Somebody became active since `next` was set.
    if (!failing && now.count() < active_until_) next = std::min(next, now + c_.options.poll_active);
    if (!rounds_.wanted() && now < next) continue;
    rounds_.begin();
    Result<void> outcome = poll(stop);
    failing = !outcome;
    Nanos wait = now.count() < active_until_ ? c_.options.poll_active : c_.options.poll_idle;
    if (failing)
      wait = backoff.next();
    else
      backoff.reset();
    next = now + wait;
    rounds_.end(std::move(outcome));
  }
  rounds_.begin();
  rounds_.end(fail(Code::kCancelled, "coffer is stopping"));
}

uint64_t News::applied_number(const LogId& id) const {
  auto tail = c_.tails.find(id);
  return tail ? tail->number : 0;
}

// A device that has nothing begins with a checkpoint, if there is one.
Result<void> News::join(const std::stop_token& stop) {
  TRY(bool root, c_.replica.has_root());
  if (!root && c_.tails.all().empty()) {
    TRYV(key_watch_.look_first(stop));
    if (auto loaded = loader_.load(stop); !loaded) {
      if (loaded.error().code() == Code::kIo || loaded.error().code() == Code::kNoSpace)
        c_.problems.set(kDiskProblem, "the volume's state cannot be kept: " + loaded.error().what(),
                        disk_advice(loaded.error().code()));
      return loaded;
    }
    c_.problems.clear(kDiskProblem);
  }
  joined_ = true;
  return {};
}

Result<void> News::poll(std::stop_token stop) {
  if (!joined_) TRYV(join(stop));
  TRYV(expect_handed_over());
  const Nanos now = c_.clock.monotonic();
  const bool all = !listed_all_ || now - *listed_all_ >= kListAllEvery || want_all_;
  // What no store has yet, others cannot have seen.
  ++polls_;
  listing_all_ = all;
  uint64_t limit = c_.outstanding_stamp;
  if (limit > 0) {
    --limit;
  } else {
    for (const LogTail& tail : c_.tails.all()) limit = std::max(limit, tail.stamp);
  }
  std::vector<LogTail> before;
  if (all) before = c_.tails.all();
  const bool again = look_again_.exchange(false);
  for (auto& [id, log] : logs_) {
    if (again || all)  // what was locked may have been damage, and is whole now
      for (auto& [number, tags] : log.known)
        for (auto& [tag, candidate] : tags) candidate.epoch.reset();
    if (again) log.retry_at = Nanos(0);
    if (!log.held || now < log.retry_at) continue;
    log.held.reset();
    for (auto& [number, tags] : log.known)
      for (auto& [tag, candidate] : tags) candidate.error.reset();
  }

  TRY(std::vector<ObjectInfo> found, c_.store.list(all ? kLogPrefix : kHintPrefix, stop));
  std::map<LogId, uint64_t> newest;
  for (const ObjectInfo& info : found) {
    auto name = all ? parse_record_key(info.key) : parse_hint_key(info.key);
    if (auto epoch = parse_epoch_hint(info.key)) key_watch_.want(*epoch);
    if (!name) continue;
    note(*name, all ? info.size : 0);
    uint64_t& n = newest[name->log];
    n = std::max(n, name->number);
  }
  if (!all) look_for_own_hint(found);
  if (all) {
    listed_all_ = now;
    want_all_ = false;
    for (const LogTail& tail : before) {
      std::string key = "vanished " + tail.log.str();
      if (tail.device == c_.identity.device || newest[tail.log] >= tail.number) {
        c_.problems.clear(key);
      } else {
        c_.problems.set(
            key, describe(tail.log, tail.number) + " was in the store and has vanished from it",
            "Somebody removed it, or the store went back to an earlier state. This machine has what it did; "
            "a new device would not see it. Ask whoever runs the store.");
      }
    }
  }
  key_watch_.look(stop);
  TRYV(take_revocations(stop));
  TRYV(catch_up(stop));
  // Records that are sealed with the keys of a new epoch speak of it before a hint does.
  if (key_watch_.look(stop)) {
    TRYV(take_revocations(stop));
    TRYV(catch_up(stop));
  }
  {
    MutexLock lock(mutex_);
    checked_at_ = now;
    checked_when_ = c_.clock.wall();
  }
  if (!incomplete_) advance_stable_line(limit);
  return {};
}

// What the device that let this one in knew is announced by that: a store cannot withhold it in silence.
Result<void> News::expect_handed_over() {
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

Result<void> News::take_revocations(const std::stop_token& stop) {
  const Bytes known = c_.revocations.encode();
  if (known == c_.in_state.encode() || c_.clock.monotonic() < revoke_at_) return {};
  Turn::Hold hold = c_.turn.take();
  std::vector<LogTail> tails = c_.tails.all();
  std::erase_if(tails, [this](const LogTail& t) { return t.device == c_.identity.device; });
  const RowPut row{Revocations::row_key(), known};
  if (c_.revocations.same_for(c_.in_state, tails)) {
    TRYV(c_.replica.put_rows(std::span(&row, 1), true));
  } else {
    log_line(LogLevel::kWarning,
             "a device was revoked, and some of its records do not count: the state is made anew without them");
    TailBatch nothing(c_.tails);
    auto applied = replayed(Replayer(c_, nothing, {}).run({}, std::span(&row, 1), stop));
    if (!applied) {
      revoke_at_ = c_.clock.monotonic() + revoking_.next();
      // A record that is not to be had now; everything else goes on.
      return applied.error().code() == Code::kUnavailable ? Result<void>{} : fail(applied.error());
    }
  }
  revoking_.reset();
  c_.in_state = c_.revocations;
  c_.mark_revoked();
  return {};
}

bool News::is_void(const OpenedRecord& opened, const TailView& tails) const {
  LogTail log = tails.find(opened.log).value_or(LogTail{});
  log.log = opened.log;
  if (opened.record.opening) log.set_author(opened.record.opening->certificate);
  return c_.is_void(log, opened.number, opened.hash);
}

// A run that ended between a record and its hint leaves it to the next.
void News::look_for_own_hint(const std::vector<ObjectInfo>& hints) {
  auto newest = c_.own.newest_ever();
  bool there = !newest || c_.outstanding_stamp > 0 ||
               std::any_of(hints.begin(), hints.end(), [&](const ObjectInfo& h) { return h.key == newest->hint(); });
  // Twice, for the one that is on its way.
  if (!there && own_hint_missing_ == newest && !c_.hint_missing.exchange(true)) c_.wake_publisher();
  own_hint_missing_ = there ? std::nullopt : newest;
}

void News::note(const RecordName& name, uint64_t size) {
  if (name.log == c_.own.log()) note_own(name);
  if (name.number <= applied_number(name.log)) return;
  logs_[name.log].noted = polls_;
  Candidate& candidate = logs_[name.log].known[name.number][name.tag];
  if (size > 0) candidate.size = size;
}

// Something under our own log's name: ours, or of a copy of our state directory (or of our memory).
void News::note_own(const RecordName& name) {
  auto newest = c_.own.newest();
  if (!newest || newest->log != name.log) return;
  if (name.number < newest->number) {
    c_.own.found_hint(name);  // harmless when it was a record's key: such a hint is not there
  } else if (name.number == newest->number && name.tag != newest->tag) {
    c_.problems.set("copied",
                    "another coffer writes under this device's name: record " + std::to_string(name.number) +
                        " of its log exists twice",
                    "The state directory (or the whole machine) was copied while it was in use. Give the copy a state "
                    "directory of its own.");
    c_.own.abandon();
  }
}

std::string News::describe(const LogId& id, uint64_t number) const {
  auto tail = c_.tails.find(id);
  std::string record = "record " + std::to_string(number);
  std::string log = id.str().substr(0, 8);
  if (!tail) {
    auto known = std::ranges::find_if(handed_over_, [&](const KnownHead& h) { return h.head.log == id; });
    if (known != handed_over_.end()) return record + " of " + known->device + "'s log " + log + "...";
    return record + " of log " + log + "... (of a device not known here yet)";
  }
  return record + " of " + tail->name + "'s log " + log + "...";
}

// Whether there is more than a hint to say that a log has records beyond what is applied: anybody can write hints.
bool News::believed(const LogId& id, const Log& log) const {
  if (log.held || !log.fetched.empty() || log.announced > applied_number(id) || c_.tails.find(id)) return true;
  return std::any_of(log.known.begin(), log.known.end(), [](const auto& number) {
    return std::any_of(number.second.begin(), number.second.end(), [](const auto& c) { return c.second.size > 0; });
  });
}

Result<void> News::catch_up(std::stop_token stop) {
  std::set<LogId> listed;
  for (;;) {
    auto names = choose();
    TRYV(download(names, stop));
    TRY(size_t applied, apply_ready(stop));
    TRY(bool found, list_gaps(listed, stop));
    if (names.empty() && applied == 0 && !found) break;
  }
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
  incomplete_ = incomplete;
  return {};
}

std::vector<std::pair<RecordName, uint64_t>> News::choose() const {
  std::vector<std::pair<RecordName, uint64_t>> out;
  uint64_t bytes = 0;
  const Nanos now = c_.clock.monotonic();
  for (const auto& [id, log] : logs_) {
    if (log.held || (log.missing > 0 && now < log.retry_at)) continue;
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

bool News::usable(const Candidate& candidate) const {
  return !candidate.error && (!candidate.epoch || c_.keys_of(*candidate.epoch) != nullptr);
}

Result<void> News::download(const std::vector<std::pair<RecordName, uint64_t>>& names, std::stop_token stop) {
  std::vector<std::optional<Result<Bytes>>> got(names.size());
  in_parallel("coffer-newsget", names.size(), c_.options.fetches, [&](size_t i) {
    got[i] = c_.store.get(names[i].first.key(), kRecordMax, stop);
    return true;
  });
  std::optional<Error> trouble;
  for (size_t i = 0; i < names.size(); ++i) {
    Result<Bytes>& object = *got[i];
    if (!object && object.error().code() != Code::kNotFound && object.error().code() != Code::kTooLarge) {
      if (!trouble) trouble = object.error();
      continue;
    }
    took(names[i].first, std::move(object));
  }
  if (trouble) return fail(*trouble);
  return {};
}

void News::took(const RecordName& name, Result<Bytes> object) {
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

// Lists the logs in which a record is missing that must be there. True when something new was found.
Result<bool> News::list_gaps(std::set<LogId>& listed, std::stop_token stop) {
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

Result<size_t> News::apply_ready(const std::stop_token& stop) {
  size_t total = 0;
  for (;;) {
    auto applied = apply_batch(kBatchRecords, stop);
    if (!applied) return applied;
    if (*applied == 0) return total;
    total += *applied;
  }
}

// Whether the next record of this log may be applied on top of `tails`.
bool News::verify_next(const LogId& id, Log& log, const TailView& tails) {
  if (log.held) return false;
  auto tail = tails.find(id);
  uint64_t number = (tail ? tail->number : 0) + 1;
  auto it = log.fetched.find(number);
  if (it == log.fetched.end()) return false;
  Fetched& fetched = it->second;
  if (fetched.verified) return true;
  auto verdict = verify_record(fetched.opened, tails, c_.volume, c_.volume_signing);
  if (verdict && *verdict) {
    Log& other = logs_[(*verdict)->log];
    other.announced = std::max(other.announced, (*verdict)->number);
    return false;
  }
  if (verdict && is_void(fetched.opened, tails)) strip(fetched.opened.record);
  Result<void> kept =
      verdict ? keep_carried(fetched.opened, fetched.object, c_.replica.packs()) : fail(verdict.error());
  if (kept) {
    fetched.verified = true;
    return true;
  }
  if (!blames_record(kept.error().code())) {
    c_.problems.set(kDiskProblem, "news cannot be applied: " + kept.error().what(), disk_advice(kept.error().code()));
    return false;  // as if it had not come yet
  }
  log.known[number][fetched.name.tag].error = kept.error();
  log.fetched.erase(it);
  return false;
}

// While more records of a log are still to be fetched, those of others wait that sort after them: otherwise they would
// be applied only to be rolled back.
std::optional<uint64_t> News::horizon(const TailBatch& batch) const {
  std::optional<uint64_t> out;
  const Nanos now = c_.clock.monotonic();
  for (const auto& [id, log] : logs_) {
    if (log.held || (log.missing > 0 && now < log.retry_at) || log.known.empty()) continue;
    auto tail = batch.find(id);
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

Result<size_t> News::apply_batch(size_t most, const std::stop_token& stop) {
  std::vector<std::pair<LogId, uint64_t>> chosen;
  std::optional<Error> refused;
  {
    Turn::Hold hold = c_.turn.take();
    TailBatch batch(c_.tails);
    size_t bytes = 0;
    std::vector<OrderedRecord> records;
    std::vector<std::pair<ObjectId, PackPlace>> places;
    bool others = false, ours_copied = false, late = false;
    const uint64_t stable = c_.replica.stable();
    while (chosen.size() < most && bytes < kBatchBytes) {
      std::optional<std::pair<uint64_t, LogId>> best;
      for (auto& [id, log] : logs_) {
        if (!verify_next(id, log, batch)) continue;
        auto tail = batch.find(id);
        uint64_t stamp = log.fetched.at((tail ? tail->number : 0) + 1).opened.record.stamp;
        if (!best || std::pair(stamp, id) < *best) best = {stamp, id};
      }
      if (!best) break;
      auto limit = horizon(batch);
      if (limit && best->first > *limit && !chosen.empty()) break;
      auto tail = batch.find(best->second);
      uint64_t number = (tail ? tail->number : 0) + 1;
      Fetched& fetched = logs_[best->second].fetched.at(number);
      if (is_void(fetched.opened, batch)) strip(fetched.opened.record);  // since it was verified
      TRYV(batch.add(fetched.opened));
      const Record& record = fetched.opened.record;
      auto author = batch.find(best->second);
      if (!record.changes.empty()) {
        records.push_back(ordered(fetched.opened, record.changes, author));
        others = true;
        // What it refers to may be forgotten here, even if it sorts after that.
        TRY(bool knows_all, batch.knows_all(best->second, stable));
        late = late || record.stamp <= stable || !knows_all;
      }
      for (auto& place : places_of(fetched.opened, fetched.name.key())) places.push_back(std::move(place));
      if (best->second == c_.own.log()) ours_copied = true;
      bytes += fetched.object.size();
      chosen.emplace_back(best->second, number);
    }
    if (chosen.empty()) return size_t{0};
    std::vector<RowPut> rows = batch.rows();
    Result<void> done;
    if (records.empty() && places.empty()) {
      done = c_.replica.put_rows(rows, false);
    } else if (auto applied = late ? replay(batch, std::move(records), places, rows, stop)
                                   : c_.replica.apply(records, places, rows)) {
      c_.conflicts += applied->conflicts.size();
    } else {
      done = fail(applied.error());
    }
    if (!done) {
      if (done.error().code() == Code::kUnavailable) return fail(done.error());
      if (!blames_record(done.error().code())) {
        c_.problems.set(kDiskProblem, "news cannot be applied: " + done.error().what(),
                        disk_advice(done.error().code()));
        return fail(done.error());
      }
      refused = done.error();
    } else {
      c_.problems.clear(kDiskProblem);
      batch.commit();
      c_.mark_revoked();
      c_.record_bytes += bytes;
      if (others) {
        int64_t none = 0;
        c_.unacknowledged_since.compare_exchange_strong(none, std::max<int64_t>(1, c_.clock.monotonic().count()));
      }
      if (ours_copied) c_.own.abandon();  // a copy of this state directory went on with the log
    }
  }
  if (refused) {
    if (chosen.size() > 1) return apply_batch(1, stop);  // to find out which
    auto [id, number] = chosen.front();
    Log& log = logs_[id];
    log.fetched.erase(number);
    refuse(id, log, number, *refused);
    return size_t{0};
  }
  for (const auto& [id, number] : chosen) {
    Log& log = logs_[id];
    log.fetched.erase(number);
    log.known.erase(number);
    log.backoff.reset();
    log.missing = 0;
  }
  note_activity();
  return chosen.size();
}

Result<model::Applied> News::replay(const TailBatch& batch, std::vector<OrderedRecord> records,
                                    std::span<const std::pair<ObjectId, PackPlace>> places,
                                    std::span<const RowPut> rows, const std::stop_token& stop) {
  const OrderedRecord& first = records.front();
  log_line(LogLevel::kInfo, "record " + std::to_string(first.number) + " of " + first.author.device + "'s log " +
                                first.log.str().substr(0, 8) +
                                "... arrived late: the state is made anew from all records");
  return replayed(Replayer(c_, batch, std::move(records)).run(places, rows, stop));
}

Result<model::Applied> News::replayed(Result<model::Applied> applied) {
  if (applied) {
    stable_ = 0;
    c_.problems.clear(kReplayProblem);
  } else if (applied.error().code() == Code::kUnavailable) {
    c_.problems.set(
        kReplayProblem, "news cannot be applied yet: " + applied.error().what(),
        "Something arrived late, and everything that came after it has to be read again, which the store does "
        "not give. Local work goes on, and coffer tries again by itself. If it lasts, ask whoever runs the "
        "store.");
  }
  return applied;
}

void News::refuse(const LogId& id, Log& log, uint64_t number, Error error) {
  std::string todo = error.code() == Code::kTooNew ? "Install a newer coffer on this machine."
                                                   : "The object was damaged or replaced in the store, or its author's "
                                                     "machine has a fault. What that device wrote "
                                                     "from there on waits, with what refers to it; everything else "
                                                     "goes on, and coffer looks again by itself. Ask "
                                                     "whoever runs the store to restore the object " +
                                                         log_prefix(id) + std::to_string(number) + "-...";
  c_.problems.set("log " + id.str(), describe(id, number) + " is refused: " + error.what(), std::move(todo));
  log.told = true;
  log.held = std::move(error);
  log.retry_at = c_.clock.monotonic() + std::max<Nanos>(log.backoff.next(), std::chrono::seconds(1));
}

void News::wait_for_keys(const LogId& id, Log& log, uint64_t number) {
  const Nanos now = c_.clock.monotonic();
  if (!log.locked_since) log.locked_since = now;
  if (now - *log.locked_since < c_.options.missing_after) return;
  c_.problems.set(
      "log " + id.str(),
      describe(id, number) + " is sealed under an epoch of the volume's keys that this device does not have",
      "It gets the keys by a key slot of its own, made when the epoch began; one that the store shows late, or "
      "withholds, or that was not made, since this device had published nothing by then. Unmount, and mount "
      "again with the passphrase, or let this device in anew (coffer device join). (If the object is damaged, ask "
      "whoever runs the store.)");
  log.told = true;
}

void News::still_missing(const LogId& id, Log& log, uint64_t number) {
  Nanos now = c_.clock.monotonic();
  if (log.missing != number) {
    log.missing = number;
    log.missing_since = now;
    log.backoff.reset();
    log.retry_at = Nanos(0);
  }
  if (now >= log.retry_at) log.retry_at = now + log.backoff.next();
  if (now - log.missing_since < c_.options.missing_after || !believed(id, log)) return;
  const bool known = std::ranges::any_of(
      handed_over_, [&](const KnownHead& h) { return h.head.log == id && h.head.number >= number; });
  c_.problems.set("log " + id.str(),
                  describe(id, number) + (known ? " was there when this device was let in, and does not arrive"
                                                : " is announced and does not arrive"),
                  "The store shows it late, or withholds or lost it. What that device wrote from there on waits; "
                  "everything else goes on, and coffer keeps looking. Mount the volume on that device, or ask whoever "
                  "runs the store.");
  log.told = true;
}

void News::settle(const LogId& id, Log& log) {
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
    refuse(id, log, applied + 1, *next->second.begin()->second.error);
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
    c_.problems.clear("log " + id.str());
    log.told = false;
  }
}

void News::advance_stable_line(uint64_t limit) {
  uint64_t line = std::min(limit, c_.tails.stable_stamp(c_.identity.device, c_.silent()));
  if (line <= stable_) return;
  if (auto done = c_.replica.set_stable(line); !done) {
    log_line(LogLevel::kWarning, "history cannot be dropped yet: " + done.error().what());
    return;
  }
  stable_ = line;
}

}  // namespace coffer
