#include "fs/sync/publisher.h"

#include <algorithm>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/thread.h"
#include "crypto/random.h"
#include "fs/sync/carried.h"
#include "fs/sync/parallel.h"

namespace coffer {

namespace {

constexpr uint64_t kCarryLive = 64 << 10;    // bytes of frames that ride inside a record
constexpr uint64_t kCarrySpans = 128 << 10;  // with what lies between them
constexpr Nanos kWatchChanges = std::chrono::milliseconds(100);
constexpr Nanos kLookAround = std::chrono::seconds(60);
constexpr Nanos kCloseWithin = std::chrono::seconds(10);
constexpr int kQuietRounds = 3;
constexpr char kDiskProblem[] = "disk publish";

// "Sa" -> version u8 = 1 | key, varint-prefixed | sealed record: a record without changes that no store has yet.
constexpr uint8_t kRowVersion = 1;
RowKey empty_outgoing_key() { return {"Sa", 2}; }

Bytes encode_outgoing(const std::string& key, BytesView sealed) {
  Bytes out;
  Writer w(out);
  w.u8(kRowVersion);
  w.string(key);
  w.raw(sealed);
  return out;
}

bool is_local(Code code) { return code == Code::kIo || code == Code::kNoSpace || code == Code::kInternal; }

}  // namespace

Publisher::Publisher(SyncContext& context, News& news)
    : c_(context), news_(news), pace_(c_.options.publish_after, c_.options.publish_within) {}

Publisher::~Publisher() { stop(); }

Result<void> Publisher::load() {
  TRY(auto row, c_.replica.get_row(OwnLog::row_key()));
  std::optional<RecordName> before;
  if (row) {
    TRY(before, OwnLog::decode_row(*row));
  }
  TRY(auto left, outgoing());
  if (left) {
    auto name = parse_record_key(left->key);
    if (!name) return fail(Code::kCorrupt, "the record that waits for the store has a wrong name");
    outgoing_bytes_ = left->sealed.size();
    if (applied_here(*name) < name->number) {
      // The last run ended between keeping the record and counting it.
      auto opened =
          open_record(left->sealed, c_.volume, name->log, name->number, [this](Epoch e) { return c_.keys_of(e); });
      if (!opened) return fail(opened.error().in("the record that waits for the store"));
      TailBatch batch(c_.tails);
      TRYV(batch.add(*opened));
      std::vector<RowPut> rows = batch.rows();
      rows.push_back({OwnLog::row_key(), OwnLog::encode_row(*name)});
      TRYV(c_.replica.put_rows(rows, false));
      batch.commit();
    }
    if (auto tail = c_.tails.find(name->log)) c_.outstanding_stamp = tail->stamp;
    before = name;
  }
  if (before && c_.tails.find(before->log)) c_.own.follow(*before);
  // What a run that was cut off had applied and not acknowledged, others wait for still.
  if (auto tail = left_open(); tail && !c_.tails.to_quote(tail->log, tail->seen, false).empty())
    c_.unacknowledged_since = std::max<int64_t>(1, c_.clock.monotonic().count());
  pending_ = true;  // the first round finds out
  return {};
}

uint64_t Publisher::applied_here(const RecordName& name) const {
  auto tail = c_.tails.find(name.log);
  return tail ? tail->number : 0;
}

void Publisher::start() {
  thread_ = start_thread("coffer-publish", [this](std::stop_token stop) { run(std::move(stop)); });
}

void Publisher::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  rounds_.wake();
  thread_.join();
}

void Publisher::something_pending() {
  pending_ = true;
  rounds_.wake();
}

std::optional<WallTime> Publisher::last_published() const {
  MutexLock lock(mutex_);
  return last_published_;
}

std::optional<Nanos> Publisher::acknowledgement_in() const {
  const int64_t since = c_.unacknowledged_since;
  if (since == 0) return std::nullopt;
  // Nobody waits for a device whose log is ended.
  if (!c_.own.newest() && !left_open()) return std::nullopt;
  const Nanos from = std::max(Nanos(since), last_own_record_);
  return std::max(from + c_.options.acknowledge_after - c_.clock.monotonic(), Nanos(0));
}

std::optional<LogTail> Publisher::left_open() const {
  auto before = c_.own.predecessor();
  auto tail = before ? c_.tails.find(*before) : std::nullopt;
  return tail && tail->open() ? tail : std::nullopt;
}

// Also looks whether work goes on: the replica tells only of the first change.
Nanos Publisher::until_due() {
  Nanos now = c_.clock.monotonic();
  if (retry_at_) return *retry_at_ - now;
  if (outgoing_bytes_ > 0 || c_.hint_missing) return Nanos(0);
  if (!pending_ && !unfinished_) return std::min(kLookAround, acknowledgement_in().value_or(kLookAround));
  uint64_t changes = c_.replica.counters().changes;
  if (changes != changes_seen_ || !pace_.due()) pace_.changed(now, changes - changes_published_);
  changes_seen_ = changes;
  return std::min(*pace_.due() - now, kWatchChanges);
}

void Publisher::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    rounds_.wait_for_work(until_due());
    if (stop.stop_requested()) break;
    if (!rounds_.wanted() && until_due() > Nanos(0)) continue;
    rounds_.begin();
    Result<void> outcome = cycle(stop);
    if (outcome) {
      backoff_.reset();
      retry_at_.reset();
      c_.problems.clear(kDiskProblem);
    } else if (outcome.error().code() != Code::kCancelled) {
      retry_at_ = c_.clock.monotonic() + backoff_.next();
      if (is_local(outcome.error().code()) && c_.store.online()) {
        c_.problems.set(kDiskProblem, "changes cannot be published: " + outcome.error().what(),
                        disk_advice(outcome.error().code()));
      }
    }
    rounds_.end(std::move(outcome));
  }
  rounds_.begin();
  rounds_.end(fail(Code::kCancelled, "coffer is stopping"));
}

Result<void> Publisher::cycle(std::stop_token stop) {
  if (c_.revoked) return fail(Code::kNotPermitted, "this device has been revoked, and publishes nothing any more");
  TRYV(send_outgoing(stop));
  if (acknowledgement_in() == Nanos(0) && !pending_ && !unfinished_) {
    TRYV(look_for_news(stop, c_.options.acknowledge_after));
    TRYV(publish_empty(Kind::kAcknowledge));
    return send_outgoing(stop);
  }
  return publish_pending(stop);
}

// Ok when a poll that worked began at most so long ago; otherwise waits for one that begins now.
Result<void> Publisher::look_for_news(std::stop_token stop, Nanos at_most_old) {
  auto checked = news_.checked_at();
  if (checked && c_.clock.monotonic() - *checked <= at_most_old) return {};
  uint64_t round = news_.rounds().request();
  while (!stop.stop_requested()) {
    auto ended = news_.rounds().wait(round, kWatchChanges);
    if (!ended) continue;
    return ended->outcome;
  }
  return fail(Code::kCancelled, "coffer is stopping");
}

bool Publisher::must_announce() const {
  if (c_.own.newest()) return false;
  auto tails = c_.tails.all();
  return std::any_of(tails.begin(), tails.end(), [&](const LogTail& t) { return t.device != c_.identity.device; });
}

Result<void> Publisher::publish_pending(std::stop_token stop) {
  std::optional<Turn::Hold> hold;
  for (int round = 0;; ++round) {
    if (stop.stop_requested()) return fail(Code::kCancelled, "coffer is stopping");
    // News comes faster than we get a record out: it has to wait for once.
    if (round >= kQuietRounds && !hold) hold.emplace(c_.turn.take());
    if (!hold) {
      const Nanos old = announced_ ? Nanos(-1) : std::max<Nanos>(std::chrono::seconds(5), 3 * c_.options.poll_active);
      TRYV(look_for_news(stop, old));
      announced_ = false;
    }
    pending_ = false;    // what comes after this is told anew
    unfinished_ = true;  // until it is in a record
    pace_.published(c_.clock.monotonic());
    changes_published_ = c_.replica.counters().changes;
    // Under the turn as well: describing what is pending while news undoes and redoes it would describe neither.
    auto freeze = [&] {
      std::optional<Turn::Hold> mine;
      if (!hold) mine.emplace(c_.turn.take());
      return c_.replica.freeze();
    };
    TRY(std::optional<Frozen> frozen, freeze());
    if (!frozen) {
      unfinished_ = false;
      return {};
    }
    if (!hold && must_announce()) {
      TRYV(publish_empty(Kind::kAnnounce));
      announced_ = true;
      TRYV(send_outgoing(stop));
      continue;
    }
    std::vector<RecordPack> packs;
    Bytes carried;
    TRYV(upload_packs(*frozen, packs, carried, stop));
    TRYV(failpoint("sync.packs_uploaded"));
    Result<void> published;
    if (hold) {
      published = publish_frozen(*frozen, std::move(packs), carried);
    } else {
      Turn::Hold mine = c_.turn.take();
      published = publish_frozen(*frozen, std::move(packs), carried);
    }
    if (!published && published.error().code() == Code::kStale) continue;
    hold.reset();
    TRYV(published);
    unfinished_ = false;
    return send_outgoing(stop);
  }
}

Result<uint64_t> Publisher::finish_pack(const Frozen::Pack& pack) {
  auto size = c_.replica.finish_pack(pack.id, pack.index);
  // It was finished for an attempt that came to nothing, when more of its frames lived. They are all still in there.
  if (!size && size.error().code() == Code::kInvalid) return c_.replica.packs().size(pack.id);
  return size;
}

Result<void> Publisher::upload_packs(const Frozen& frozen, std::vector<RecordPack>& packs, Bytes& carried,
                                     std::stop_token stop) {
  uint64_t live = 0, spans = 0;
  for (const Frozen::Pack& pack : frozen.packs) {
    RecordPack listed;
    listed.id = pack.id;
    uint64_t first = UINT64_MAX, end = 0;
    for (const IndexEntry& entry : pack.index) {
      first = std::min<uint64_t>(first, entry.frame.offset);
      end = std::max<uint64_t>(end, uint64_t{entry.frame.offset} + entry.frame.length);
      live += entry.frame.length;
    }
    listed.first = std::min(first, end);
    if (frozen.all_frames) {
      listed.first = 0;
      TRY(end, c_.replica.packs().size(pack.id));
    }
    listed.length = end - listed.first;
    spans += listed.length;
    packs.push_back(listed);
  }
  bool again = std::any_of(packs.begin(), packs.end(), [&](const RecordPack& p) { return uploaded_.contains(p.id); });
  if (live <= kCarryLive && spans <= kCarrySpans && !again) {
    for (size_t i = 0; i < packs.size(); ++i) {
      // Finished too, although not sent as an object: only a finished pack may be evicted later.
      TRYV(finish_pack(frozen.packs[i]));
      TRY(Bytes bytes, c_.replica.packs().bytes(packs[i].id, packs[i].first + packs[i].length));
      packs[i].carried = true;
      packs[i].at = carried.size();
      carried.insert(carried.end(), bytes.begin() + static_cast<ptrdiff_t>(packs[i].first), bytes.end());
    }
    return {};
  }

  std::vector<size_t> todo;
  for (size_t i = 0; i < packs.size(); ++i) {
    packs[i].first = packs[i].length = 0;
    if (auto known = uploaded_.find(packs[i].id); known != uploaded_.end())
      packs[i].size = known->second;
    else
      todo.push_back(i);
  }
  std::stop_source give_up;
  std::stop_callback outer(stop, [&] { give_up.request_stop(); });
  std::vector<Result<void>> outcomes(todo.size(), fail(Code::kCancelled, "another upload failed"));
  in_parallel("coffer-upload", todo.size(), c_.options.uploads, [&](size_t i) {
    if (give_up.stop_requested()) return false;
    outcomes[i] = upload_pack(frozen.packs[todo[i]], packs[todo[i]], give_up.get_token());
    if (!outcomes[i]) give_up.request_stop();
    return outcomes[i].has_value();
  });
  std::optional<Error> trouble;
  for (size_t i = 0; i < todo.size(); ++i) {
    if (outcomes[i])
      uploaded_[packs[todo[i]].id] = packs[todo[i]].size;
    else if (!trouble || trouble->code() == Code::kCancelled)
      trouble = outcomes[i].error();
  }
  if (trouble) return fail(*trouble);
  return {};
}

Result<void> Publisher::upload_pack(const Frozen::Pack& pack, RecordPack& listed, std::stop_token stop) {
  TRY(listed.size, finish_pack(pack));
  TRY(Bytes bytes, c_.replica.packs().bytes(pack.id, listed.size));
  return c_.store.put(pack_key(pack.id), bytes, std::move(stop));
}

// The next record of our log, on top of all that is applied; under the turn.
Result<Publisher::Draft> Publisher::draft() {
  Draft out;
  auto newest = c_.own.newest();
  out.name.log = c_.own.log();
  out.name.number = newest ? newest->number + 1 : 1;
  out.name.tag = random_u64();
  out.record.when = c_.clock.wall();
  std::vector<uint64_t> stamps;
  uint64_t previous = 0;
  std::vector<LogTail> heads;
  std::optional<LogTail> before;
  if (newest) {
    auto tail = c_.tails.find(out.name.log);
    if (!tail || tail->number != newest->number)
      return fail(Code::kInternal, "this device's log is not where its last record left it");
    previous = tail->stamp;
    out.record.previous = tail->hash;
    heads = c_.tails.to_quote(out.name.log, tail->seen, false);
  } else {
    RecordOpening opening;
    opening.certificate = c_.identity.certificate;
    opening.device_name = c_.identity.name;
    if (auto log = c_.own.predecessor()) before = c_.tails.find(*log);
    if (before) {
      opening.predecessor = before->head();
      stamps.push_back(before->stamp);
    }
    out.record.opening = std::move(opening);
    heads = c_.tails.to_quote(out.name.log, {}, true);
  }
  for (const LogTail& tail : heads) {
    if (before && tail.log == before->log) continue;
    out.record.heads.push_back(tail.head());
    stamps.push_back(tail.stamp);
  }
  out.record.stamp = next_stamp(previous, stamps);
  return out;
}

void Publisher::count_own(TailBatch& batch, const Draft& draft) {
  batch.commit();
  c_.outstanding_stamp = draft.record.stamp;
  c_.own.published(draft.name);
  c_.unacknowledged_since = 0;
  last_own_record_ = c_.clock.monotonic();
}

Result<void> Publisher::publish_frozen(const Frozen& frozen, std::vector<RecordPack> packs, BytesView carried) {
  TRY(Draft made, draft());
  made.record.packs = std::move(packs);
  made.record.changes = frozen.changes;
  const EpochKeys& keys = c_.replica.epoch_keys();
  TRY(SealedRecord sealed,
      seal_record(made.record, carried, c_.volume, made.name.log, made.name.number, keys, c_.identity.key));
  OrderedRecord ordered{made.record.stamp,
                        made.name.log,
                        made.name.number,
                        {sealed.hash, c_.identity.name, made.record.when},
                        frozen.changes};
  OpenedRecord opened;
  opened.log = made.name.log;
  opened.number = made.name.number;
  opened.hash = sealed.hash;
  opened.record = std::move(made.record);
  TailBatch batch(c_.tails);
  TRYV(batch.add(opened));
  std::vector<RowPut> rows = batch.rows();
  rows.push_back({OwnLog::row_key(), OwnLog::encode_row(made.name)});
  made.record.stamp = ordered.stamp;

  TRYV(failpoint("sync.publish"));
  TRYV(c_.replica.publish(frozen, ordered, made.name.key(), sealed.object));
  outgoing_bytes_ = sealed.object.size();
  c_.record_bytes += sealed.object.size();
  count_own(batch, made);
  for (const RecordPack& pack : opened.record.packs) uploaded_.erase(pack.id);
  TRYV(failpoint("sync.published"));
  // Need not be durable by itself: whatever comes later in the journal (uploaded()) is no more durable, and until then
  // load() finds the record among what is outgoing.
  return c_.replica.put_rows(rows, false);
}

Result<void> Publisher::publish_empty(Kind kind) {
  Turn::Hold hold = c_.turn.take();
  // Whoever collects dead objects takes an acknowledgement to say that nothing here rests on what was before it.
  if (kind == Kind::kAcknowledge && c_.replica.counters().pending_files > 0) {
    pending_ = true;  // first that, then this
    return {};
  }
  TRY(Draft made, draft());
  made.record.closing = kind == Kind::kClose;
  made.record.acknowledgement = kind == Kind::kAcknowledge;
  TRY(SealedRecord sealed, seal_record(made.record, {}, c_.volume, made.name.log, made.name.number,
                                       c_.replica.epoch_keys(), c_.identity.key));
  OpenedRecord opened;
  opened.log = made.name.log;
  opened.number = made.name.number;
  opened.hash = sealed.hash;
  opened.record = made.record;
  TailBatch batch(c_.tails);
  TRYV(batch.add(opened));
  std::vector<RowPut> rows = batch.rows();
  rows.push_back({OwnLog::row_key(), OwnLog::encode_row(made.name)});
  rows.push_back({empty_outgoing_key(), encode_outgoing(made.name.key(), sealed.object)});
  TRYV(c_.replica.put_rows(rows, true));
  outgoing_bytes_ = sealed.object.size();
  count_own(batch, made);
  return {};
}

Result<std::optional<Publisher::Outgoing>> Publisher::outgoing() {
  TRY(auto kept, c_.replica.outgoing());
  if (kept) return std::optional(Outgoing{std::move(kept->key), std::move(kept->sealed), true});
  TRY(auto row, c_.replica.get_row(empty_outgoing_key()));
  if (!row) return std::optional<Outgoing>();
  Reader in(*row);
  if (in.u8() > kRowVersion) return fail(Code::kTooNew, "the waiting record was written by a later coffer");
  Outgoing out;
  out.key = in.string();
  out.sealed = to_bytes(in.raw(in.remaining()));
  if (!in.ok() || !parse_record_key(out.key)) return fail(Code::kCorrupt, "the waiting record's row is damaged");
  return std::optional(std::move(out));
}

Result<void> Publisher::send_outgoing(std::stop_token stop) {
  while (outgoing_bytes_ > 0) {
    TRY(auto waiting, outgoing());
    if (!waiting) {
      outgoing_bytes_ = 0;
      break;
    }
    auto name = parse_record_key(waiting->key);
    if (!name) return fail(Code::kCorrupt, "the record that waits for the store has a wrong name");
    TRY(OpenedRecord opened,
        open_record(waiting->sealed, c_.volume, name->log, name->number, [this](Epoch e) { return c_.keys_of(e); }));
    TRYV(failpoint("sync.put_record"));
    TRYV(c_.store.put(waiting->key, waiting->sealed, stop));
    TRYV(failpoint("sync.record_put"));
    if (waiting->with_changes) {
      // First where its packs are: once the record is forgotten here, nothing else would say so.
      TRYV(c_.replica.packs_uploaded(places_of(opened, waiting->key)));
      TRYV(c_.replica.uploaded(waiting->key));
    }
    std::vector<RowPut> rows = c_.kept.keep(*name, waiting->sealed, c_.clock.wall());
    if (!waiting->with_changes) rows.push_back({empty_outgoing_key(), std::nullopt});
    TRYV(c_.replica.put_rows(rows, false));
    outgoing_bytes_ = 0;
    c_.outstanding_stamp = 0;
    {
      MutexLock lock(mutex_);
      last_published_ = c_.clock.wall();
    }
    TRYV(failpoint("sync.uploaded"));
    c_.hint_missing = true;
  }
  return send_hint(std::move(stop));
}

// Nobody's safety rests on hints, but others would learn of the record late: it is tried until it works. News sees to it
// that a hint which got lost between two runs is made again.
Result<void> Publisher::send_hint(std::stop_token stop) {
  auto name = c_.own.newest_ever();
  if (!c_.hint_missing || !name) return {};
  TRYV(c_.store.put(name->hint(), {}, stop));
  c_.hint_missing = false;
  for (const RecordName& old : c_.own.take_stale_hints(*name)) (void)c_.store.remove(old.hint(), stop);
  return {};
}

Result<void> Publisher::close_log() {
  if (!c_.own.newest() || outgoing_bytes_ > 0 || c_.revoked) return {};
  ReplicaCounters counters = c_.replica.counters();
  if (counters.pending_files > 0 || counters.dirty_bytes > 0) return {};
  TRYV(publish_empty(Kind::kClose));
  std::stop_source late;
  Nanos deadline = c_.clock.monotonic() + kCloseWithin;
  Rounds sent;
  std::jthread watchdog = start_thread("coffer-close", [&](std::stop_token stop) {
    while (!stop.stop_requested() && c_.clock.monotonic() < deadline) sent.wait_for_work(kWatchChanges);
    if (!stop.stop_requested()) late.request_stop();
  });
  Result<void> outcome = send_outgoing(late.get_token());
  watchdog.request_stop();
  sent.wake();
  return outcome;
}

}  // namespace coffer
