#include "fs/check/log_check.h"

#include <algorithm>

#include "crypto/hash.h"
#include "crypto/padding.h"
#include "fs/check/paths.h"
#include "fs/sync/carried.h"

namespace coffer {
namespace {

constexpr char kWaits[] =
    "Devices that have seen it go on. A new one comes no further in this log, nor in what refers to it. Restore the "
    "object from an earlier copy of the store. `coffer check --rebuild` brings back what packs and the other records "
    "hold.";
constexpr char kBelow[] =
    "A checkpoint includes it, so no device needs it to join. What it carries of files' contents is listed here, and "
    "can only be had from the object, or from a device that has read the file.";

}  // namespace

LogCheck::LogCheck(CheckContext& context, Replica& scratch)
    : c_(context), scratch_(scratch), tails_([&scratch](const RowKey& key) { return scratch.get_row(key); }) {}

Result<void> LogCheck::run(std::unique_ptr<LoadedCheckpoint> base) {
  for (const auto& [key, size] : c_.objects)
    if (auto name = parse_record_key(key))
      logs_[name->log].listed[name->number].emplace_back(*name, size);
    else if (auto hint = parse_hint_key(key))
      logs_[hint->log].hinted.insert(*hint);
  if (base) {
    TRYV(scratch_.load(base->state, base->stamp, base->places, base->bookkeeping, c_.options.stop));
    base.reset();
    TRY(auto rows, scratch_.rows_with_prefix(LogTails::kTailPrefix));
    TRYV(tails_.load(rows));
    // It may have been made before a device was revoked.
    TRY(auto row, scratch_.get_row(Revocations::row_key()));
    Revocations in_base;
    if (row) {
      TRY(in_base, Revocations::decode(*row));
    }
    late_ = !c_.revocations.same_for(in_base, tails_.all());
  }
  for (auto& [id, log] : logs_)
    if (auto tail = tails_.find(id)) TRYV(check_below(id, log, *tail));

  for (;;) {
    // The least in the common order of those that may come now, so that nothing has to be undone for another.
    Log* least = nullptr;
    for (auto& [id, log] : logs_) {
      TRY(bool ready, look(id, log));
      if (!ready) continue;
      auto order = [](const Log& l) { return std::tie(l.next->opened.record.stamp, l.next->name.log); };
      if (!least || order(log) < order(*least)) least = &log;
    }
    if (!least) break;
    TRYV(apply(*least));
  }
  if (late_) TRYV(replay());
  std::vector<LogId> ids;
  for (const auto& [id, log] : logs_) ids.push_back(id);
  for (const LogId& id : ids) TRYV(explain(id, logs_[id]));
  return {};
}

// Records that the base includes: each alone, by what the base says of it.
Result<void> LogCheck::check_below(const LogId& id, Log& log, const LogTail& tail) {
  for (auto& [number, copies] : log.listed) {
    if (number > tail.number) break;
    TRY(auto mark, tails_.mark(id, number));
    for (const auto& [name, size] : copies) {
      TRY(auto opened, open(name, size, kBelow));
      if (!opened) continue;
      if (!mark || mark->hash != opened->hash || !opened->signed_by(tail.key)) {
        c_.report({Trouble::kForged,
                   "record",
                   name.key(),
                   describe(id, number) + " is another one than a checkpoint includes",
                   kBelow,
                   {}});
        continue;
      }
      good_.insert(name.key());
    }
  }
  return {};
}

// Opens what comes next in the log, if that is there.
Result<void> LogCheck::prepare(const LogId& id, Log& log) {
  auto tail = tails_.find(id);
  const uint64_t number = (tail ? tail->number : 0) + 1;
  if (log.held || (log.next && log.next->name.number == number)) return {};
  log.next.reset();
  auto listed = log.listed.find(number);
  if (listed == log.listed.end()) return {};
  for (const auto& [name, size] : listed->second) {
    TRY(auto opened, open(name, size, kWaits));
    if (!opened) continue;
    log.next.emplace(Next{name, std::move(*opened), std::nullopt, false});
    return {};
  }
  hold(log, listed->second.front().first.key());
  return {};
}

// Whether the log's next record may be applied now.
Result<bool> LogCheck::look(const LogId& id, Log& log) {
  TRYV(prepare(id, log));
  if (!log.next || log.held) return false;
  if (log.next->ready) return true;
  if (log.next->awaits) {
    auto there = tails_.find(log.next->awaits->log);
    if (!there || there->number < log.next->awaits->number) return false;
  }
  TailBatch view(tails_);
  auto verdict = verify_record(log.next->opened, view, c_.volume, c_.volume_signing);
  if (verdict) {
    log.next->awaits = *verdict;
    log.next->ready = !*verdict;
    return log.next->ready;
  }
  if (verdict.error().code() != Code::kCorrupt) return fail(verdict.error());
  const std::string key = log.next->name.key();
  c_.report({Trouble::kForged,
             "record",
             key,
             describe(id, log.next->name.number) + " is refused: " + verdict.error().what(),
             kWaits,
             {}});
  good_.erase(key);
  log.next.reset();
  hold(log, key);
  return false;
}

Result<void> LogCheck::apply(Log& log) {
  Next next = std::move(*log.next);
  log.next.reset();
  const std::string key = next.name.key();
  TailBatch batch(tails_);
  TRYV(batch.add(next.opened));
  auto author = batch.find(next.opened.log);
  if (c_.revocations.is_void(*author, next.opened.number, next.opened.hash)) strip(next.opened.record);
  const OrderedRecord record = ordered(next.opened, next.opened.record.changes, author);
  auto places = places_of(next.opened, key);
  if (!record.changes.empty()) {
    const uint64_t stable = scratch_.stable();
    TRY(bool knows_all, batch.knows_all(record.log, stable));
    late_ = late_ || record.stamp <= stable || !knows_all;
  }
  Result<void> done;
  if (late_ || (record.changes.empty() && places.empty())) {
    TRYV(scratch_.packs_uploaded(places));
    done = scratch_.put_rows(batch.rows(), false);
  } else {
    auto applied = scratch_.apply(std::span(&record, 1), places, batch.rows());
    if (!applied) done = fail(applied.error());
  }
  if (done) {
    batch.commit();
    return {};
  }
  // Whatever opens has to be bearable for a device; so this is one that none would take.
  if (done.error().code() != Code::kCorrupt && done.error().code() != Code::kInvalid) return done;
  c_.report({Trouble::kForged,
             "record",
             key,
             describe(next.name.log, next.name.number) + " cannot be applied: " + done.error().what(),
             kWaits,
             {}});
  good_.erase(key);
  hold(log, key);
  return {};
}

// The state is made anew from all records that hold, in their order, as a device does that meets a late one.
Result<void> LogCheck::replay() {
  TRY(std::vector<RecordPlace> order, applied_places(scratch_));
  std::sort(order.begin(), order.end());
  size_t at = 0;
  auto next = [&]() -> Result<std::optional<OrderedRecord>> {
    while (at < order.size()) {
      TRY(auto record, read_again(order[at++]));
      if (record && !record->changes.empty()) return record;
    }
    return std::optional<OrderedRecord>();
  };
  auto done = scratch_.replay(next, scratch_.stable(), {}, {});
  if (done) return {};
  if (done.error().code() != Code::kNotFound) return fail(done.error());
  c_.report({Trouble::kMissing,
             "record",
             kLogPrefix,
             "a record arrived late, and " + done.error().what() + ", which is needed to give it its place",
             kWaits,
             {}});
  return {};
}

Result<std::optional<OrderedRecord>> LogCheck::read_again(const RecordPlace& place) {
  for (const auto& [name, size] : logs_[place.log].listed[place.number]) {
    if (!good_.contains(name.key())) continue;
    TRY(std::optional<Bytes> object, c_.get(name.key(), kRecordMax, [](const Error&) {}));
    auto opened = object ? open_record(*object, c_.volume, place.log, place.number, c_.keys())
                         : Result<OpenedRecord>(fail(Code::kNotFound, ""));
    if (!opened || opened->hash != place.hash) continue;
    const auto tail = tails_.find(place.log);
    if (tail && c_.revocations.is_void(*tail, place.number, place.hash)) strip(opened->record);
    return std::optional(ordered(*opened, std::move(opened->record.changes), tails_.find(place.log)));
  }
  return fail(Code::kNotFound, describe(place.log, place.number) + " is not whole");
}

void LogCheck::hold(Log& log, const std::string& key) {
  log.held = true;
  log.held_by = key;
}

// Says why what is left could not be applied.
Result<void> LogCheck::explain(const LogId& id, Log& log) {
  auto tail = tails_.find(id);
  uint64_t next = (tail ? tail->number : 0) + 1;
  std::string held_by = log.held_by;
  const uint64_t last = log.listed.empty() ? 0 : log.listed.rbegin()->first;
  if (next <= last) all_applied_ = false;
  if (!log.held && log.next && log.next->awaits) {
    const Awaited& missing = *log.next->awaits;
    auto& others = logs_[missing.log].listed;
    auto it = others.find(missing.number);
    held_by =
        it != others.end() ? it->second.front().first.key() : log_prefix(missing.log) + std::to_string(missing.number);
    if (it == others.end()) {
      TRY(bool now, there_now(missing));
      if (now) return {};
      c_.report({Trouble::kMissing,
                 "record",
                 held_by,
                 describe(missing.log, missing.number) + " is missing; " + describe(id, next) + " refers to it",
                 kWaits,
                 {}});
    }
  } else if (!log.held && next <= last) {
    held_by = log_prefix(id) + std::to_string(next);
    c_.report({Trouble::kMissing,
               "record",
               held_by,
               describe(id, next) + " is missing; records up to " + std::to_string(last) + " come after it",
               kWaits,
               {}});
  }
  // What comes after it is not wrong, as far as can be seen; but nobody new gets it.
  for (auto& [number, copies] : log.listed) {
    if (number < next) continue;
    for (const auto& [name, size] : copies) {
      if (name.key() == log.held_by) continue;
      TRY(auto opened, open(name, size, kWaits));
      if (opened) note_changes(held_by, *opened);
    }
  }
  // A hint is the only thing that tells of a log's last record.
  for (const RecordName& hint : log.hinted)
    if (hint.number >= next && hint.number > last)
      c_.report({Trouble::kMissing,
                 "record",
                 hint.key(),
                 describe(id, hint.number) + " is missing, although a hint names it",
                 kWaits,
                 {}});
  return {};
}

// Whether somebody wrote it while the logs were listed.
Result<bool> LogCheck::there_now(const Awaited& record) {
  TRY(std::vector<ObjectInfo> found, c_.store.list(log_prefix(record.log), c_.options.stop));
  return std::any_of(found.begin(), found.end(), [&](const ObjectInfo& info) {
    auto name = parse_record_key(info.key);
    return name && name->log == record.log && name->number == record.number;
  });
}

Result<std::optional<OpenedRecord>> LogCheck::open(const RecordName& name, uint64_t size, const std::string& meaning) {
  const std::string key = name.key();
  const std::string it = describe(name.log, name.number);
  auto report = [&](Trouble trouble, const std::string& why) {
    c_.report({trouble, "record", key, it + " " + why, meaning, {}});
    return std::optional<OpenedRecord>();
  };
  TRY(std::optional<Bytes> object, c_.get(key, kRecordMax, [&](const Error& e) {
    report(e.code() == Code::kNotFound ? Trouble::kMissing : Trouble::kDamaged, "cannot be read: " + e.what());
  }));
  if (!object) return std::optional<OpenedRecord>();
  auto opened = open_record(*object, c_.volume, name.log, name.number, c_.keys());
  Result<void> carried = opened ? check_carried(*opened, *object) : fail(opened.error());
  if (carried) {
    good_.insert(key);
    return std::optional(std::move(*opened));
  }
  if (opened) return report(Trouble::kForged, "is refused: " + carried.error().what());
  if (opened.error().code() == Code::kTooNew) return report(Trouble::kTooNew, "is refused: " + opened.error().what());
  for (const auto& [other_id, other] : logs_)
    for (const auto& [number, copies] : other.listed)
      if (std::pair(other_id, number) != std::pair(name.log, name.number) &&
          open_record(*object, c_.volume, other_id, number, c_.keys()))
        return report(Trouble::kExchanged, "is not there: the object is " + describe(other_id, number));
  if (opened.error().code() == Code::kUnavailable || padded_size(object->size()) != object->size())
    return report(Trouble::kCutOff, "is cut off: " + std::to_string(size) + " bytes are there");
  return report(Trouble::kDamaged, "is refused: " + opened.error().what());
}

Result<void> LogCheck::check_carried(const OpenedRecord& opened, BytesView object) const {
  return visit_carried(opened, object, [](const FrameRef&, BytesView) -> Result<void> { return {}; });
}

void LogCheck::note_changes(const std::string& held_by, const OpenedRecord& opened) {
  std::set<std::string>& paths = held_back_[held_by];
  for (const model::EntryChange& e : opened.record.changes.entries)
    if (e.after != 0) paths.insert(path_of(scratch_, e.dir).value_or("...") + "/" + e.name);
  for (const model::InodeChange& i : opened.record.changes.inodes)
    if (auto now = scratch_.attributes(i.ino); now && !now->is_directory())
      if (auto path = path_of(scratch_, i.ino)) paths.insert(*path);
}

std::string LogCheck::describe(const LogId& id, uint64_t number) const {
  auto tail = tails_.find(id);
  return "record " + std::to_string(number) + " of " + (tail ? tail->name : std::string("a device")) + "'s log " +
         id.str().substr(0, 8) + "...";
}

}  // namespace coffer
