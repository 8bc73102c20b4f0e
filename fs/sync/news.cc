#include "fs/sync/news.h"

#include <algorithm>

#include "base/log.h"
#include "base/thread.h"
#include "fs/replica/row_parts.h"
#include "fs/sync/carried.h"
#include "fs/sync/parallel.h"
#include "fs/sync/replayer.h"

namespace coffer {

namespace {

constexpr Nanos kListAllEvery = std::chrono::hours(1);
constexpr size_t kBatchRecords = 256;
constexpr size_t kBatchBytes = 16 << 20;
constexpr char kReplayProblem[] = "replay";

}  // namespace

News::News(SyncContext& context, PartLoader& parts)
    : c_(context),
      parts_(parts),
      active_until_((c_.clock.monotonic() + c_.options.active_for).count()),
      loader_(context),
      key_watch_(context),
      awaited_(context, key_watch_),
      seen_(context) {}

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

// A device that has nothing begins with a checkpoint, if there is one.
Result<void> News::join(const std::stop_token& stop) {
  TRY(bool root, c_.replica.has_root());
  if (!root && c_.tails.all().empty()) {
    TRYV(key_watch_.look_first(stop));
    if (auto loaded = loader_.load(stop); !loaded) {
      if (loaded.error().code() == Code::kIo || loaded.error().code() == Code::kNoSpace)
        c_.problems.set(kApplyProblem, "the volume's state cannot be kept: " + loaded.error().what(),
                        disk_advice(loaded.error().code()));
      return loaded;
    }
    c_.problems.clear(kApplyProblem);
  }
  TRYV(parts_.begin());
  joined_ = true;
  return {};
}

Result<void> News::poll(std::stop_token stop) {
  if (!joined_) TRYV(join(stop));
  TRYV(mend_state(stop));
  TRYV(awaited_.expect_handed_over());
  const Nanos now = c_.clock.monotonic();
  const bool all = !listed_all_ || now - *listed_all_ >= kListAllEvery || want_all_;
  // What no store has yet, others cannot have seen.
  uint64_t limit = c_.outstanding_stamp;
  if (limit > 0) {
    --limit;
  } else {
    for (const LogTail& tail : c_.tails.all()) limit = std::max(limit, tail.stamp);
  }
  const std::vector<LogTail> expected = all ? seen_.expected() : std::vector<LogTail>();
  awaited_.begin_poll(all, look_again_.exchange(false));

  TRY(std::vector<ObjectInfo> found, c_.store.list(all ? kLogPrefix : kHintPrefix, stop));
  std::map<LogId, uint64_t> newest;
  for (const ObjectInfo& info : found) {
    auto name = all ? parse_record_key(info.key) : parse_hint_key(info.key);
    if (auto epoch = parse_epoch_hint(info.key)) key_watch_.want(*epoch);
    if (!name) continue;
    if (name->log == c_.own.log()) note_own(*name);
    awaited_.note(*name, all ? info.size : 0);
    uint64_t& n = newest[name->log];
    n = std::max(n, name->number);
  }
  if (all) {
    listed_all_ = now;
    want_all_ = false;
    seen_.compare(expected, found);
  } else {
    look_for_own_hint(found);
  }
  // Where records have gone, slots may have, too.
  if (seen_.look(stop)) key_watch_.look_soon();
  loader_.look_again(stop);
  key_watch_.look(stop);
  TRYV(take_revocations(stop));
  TRYV(catch_up(stop));
  // Records that are sealed with the keys of a new epoch speak of it before a hint does.
  if (key_watch_.look(stop)) {
    TRYV(take_revocations(stop));
    TRYV(catch_up(stop));
  }
  if (!all) seen_.compare_hints(newest);
  {
    MutexLock lock(mutex_);
    checked_at_ = now;
    checked_when_ = c_.clock.wall();
  }
  if (!incomplete_) advance_stable_line(limit);
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

Result<void> News::mend_state(const std::stop_token& stop) {
  auto failure = parts_.failure();
  if (!failure || c_.clock.monotonic() < mend_at_) return {};
  log_line(LogLevel::kWarning, "the state is made anew from all records: " + failure->what());
  Turn::Hold hold = c_.turn.take();
  TailBatch nothing(c_.tails);
  auto applied = replayed(Replayer(c_, nothing, {}).run({}, {}, stop));
  if (applied) {
    mending_.reset();
    return {};
  }
  mend_at_ = c_.clock.monotonic() + mending_.next();
  // A record that is not to be had now; everything else goes on.
  return applied.error().code() == Code::kUnavailable ? Result<void>{} : fail(applied.error());
}

// Asked for together; what else they turn out to need is asked for one by one.
void News::expect_parts(std::span<const OrderedRecord> records) {
  expected_parts_.clear();
  const RowParts& parts = c_.replica.parts();
  if (!parts.loading()) return;
  auto expect = [&](const std::string& prefix) {
    for (size_t part : parts.missing_of(prefix)) expected_parts_.insert(part);
  };
  for (const OrderedRecord& record : records) {
    for (const model::InodeChange& c : record.changes.inodes) expect(model::inode_key(c.ino).bytes);
    for (const model::EntryChange& e : record.changes.entries) expect(model::entry_prefix(e.dir));
    for (const model::Move& m : record.changes.moves) expect(model::inode_key(m.ino).bytes);
  }
}

// A run that ended between a record and its hint leaves it to the next.
void News::look_for_own_hint(const std::vector<ObjectInfo>& hints) {
  auto newest = c_.own.newest_ever();
  bool there = !newest || c_.outstanding_stamp > 0 ||
               std::any_of(hints.begin(), hints.end(), [&](const ObjectInfo& h) { return h.key == newest->hint(); });
  if (there) {
    own_hint_missing_.reset();
    own_hint_backoff_.reset();
    own_hint_at_ = Nanos(0);
    return;
  }
  // Twice, for the one that is on its way; and ever more seldom, for a store that lists late.
  const Nanos now = c_.clock.monotonic();
  if (own_hint_missing_ == newest && now >= own_hint_at_ && !c_.hint_missing.exchange(true)) {
    own_hint_at_ = now + own_hint_backoff_.next();
    seen_.doubt(newest->log);
    c_.wake_publisher();
  }
  own_hint_missing_ = newest;
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

Result<void> News::catch_up(std::stop_token stop) {
  std::set<LogId> listed;
  for (;;) {
    auto names = awaited_.choose();
    TRYV(download(names, stop));
    TRY(size_t applied, apply_ready(stop));
    TRY(bool found, awaited_.list_gaps(listed, stop));
    if (names.empty() && applied == 0 && !found) break;
  }
  incomplete_ = awaited_.settle();
  return {};
}

Result<void> News::download(const AwaitedLogs::Names& names, std::stop_token stop) {
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
    awaited_.took(names[i].first, std::move(object));
  }
  if (trouble) return fail(*trouble);
  return {};
}

Result<size_t> News::apply_ready(const std::stop_token& stop) {
  size_t total = 0;
  for (;;) {
    PartWishes wishes;
    auto applied = apply_batch(kBatchRecords, stop);
    if (!applied && !wishes.missed().empty() && c_.replica.parts().loading()) {
      std::set<size_t> parts = wishes.missed();
      parts.merge(expected_parts_);
      TRYV(parts_.bring_and_wait(parts, stop));
      continue;
    }
    if (!applied) return applied;
    if (*applied == 0) return total;
    total += *applied;
  }
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
      AwaitedLogs::Fetched* best = awaited_.first_ready(batch);
      if (best == nullptr) break;
      AwaitedLogs::Fetched& fetched = *best;
      const LogId log = fetched.name.log;
      auto limit = awaited_.horizon(batch);
      if (limit && fetched.opened.record.stamp > *limit && !chosen.empty()) break;
      if (c_.is_void(fetched.opened, batch)) strip(fetched.opened.record);  // since it was verified
      TRYV(batch.add(fetched.opened));
      const Record& record = fetched.opened.record;
      auto author = batch.find(log);
      if (!record.changes.empty()) {
        records.push_back(ordered(fetched.opened, record.changes, author));
        others = true;
        // What it refers to may be forgotten here, even if it sorts after that.
        TRY(bool knows_all, batch.knows_all(log, stable));
        late = late || record.stamp <= stable || !knows_all;
      }
      for (auto& place : places_of(fetched.opened, fetched.name.key())) places.push_back(std::move(place));
      if (log == c_.own.log()) ours_copied = true;
      bytes += fetched.object.size();
      chosen.emplace_back(log, fetched.name.number);
    }
    if (chosen.empty()) return size_t{0};
    std::vector<RowPut> rows = batch.rows();
    for (const auto& [log, number] : chosen) {
      const AwaitedLogs::Fetched& fetched = awaited_.fetched(log, number);
      for (RowPut& row : c_.kept.keep(fetched.name, fetched.object, c_.clock.wall())) rows.push_back(std::move(row));
    }
    Result<void> done;
    expect_parts(records);
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
        c_.problems.set(kApplyProblem, "news cannot be applied: " + done.error().what(),
                        disk_advice(done.error().code()));
        return fail(done.error());
      }
      refused = done.error();
    } else {
      c_.problems.clear(kApplyProblem);
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
    awaited_.refuse(id, number, *refused);
    return size_t{0};
  }
  for (const auto& [id, number] : chosen) awaited_.applied(id, number);
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
