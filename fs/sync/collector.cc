#include "fs/sync/collector.h"

#include <algorithm>

#include "base/failpoint.h"
#include "base/log.h"
#include "fs/replica/row_parts.h"
#include "fs/sync/archiver.h"
#include "fs/sync/checkpoint_loader.h"
#include "fs/sync/checkpoint_row.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/pairing.h"
#include "fs/sync/parallel.h"

namespace coffer {

namespace {

constexpr size_t kHintsMost = 8;                    // checkpoints that are kept: anybody can write hints
constexpr uint64_t kRootProbeMax = 4 << 20;         // larger unknown objects are not looked into
constexpr size_t kBatch = 64;                       // objects that are deleted before that is noted
constexpr Nanos kRetry = std::chrono::minutes(15);  // in the background, after the store did not let us

}  // namespace

void Collector::load() {
  auto row = c_.replica.get_row(collection_key());
  auto last = row && *row ? decode_collection(**row) : Result<Collection>(fail(Code::kNotFound, "none"));
  if (!last) return;
  MutexLock lock(mutex_);
  last_ = *last;
}

std::optional<Collection> Collector::last() const {
  MutexLock lock(mutex_);
  return last_;
}

// Whether everybody who is waited for has published what he had pending when he applied the newest changes. The record by
// which a device acknowledges them has that in it, or was made when there was nothing; only the first of a log announces
// it while something is pending.
Result<void> Collector::may_rely_on(const std::vector<LogTail>& tails) const {
  for (const LogTail& tail : tails) {
    if (!tail.open()) continue;
    if (tail.device != c_.identity.device) {
      if (tail.number < 2 && tail.waited_for(c_.identity.device, c_.silent()))
        return fail(Code::kBusy, tail.name + " has not published anything in this run yet");
    } else if (tail.log != c_.own.log() && tail.log != c_.own.predecessor()) {
      return fail(Code::kBusy, "another coffer writes under this device's name");
    }
  }
  return {};
}

Result<Collector::Moment> Collector::take_moment() {
  Turn::Hold hold = c_.turn.take();
  if (!news_.checked_at() || news_.incomplete())
    return fail(Code::kBusy, "there are records that are not applied here yet");
  Moment out;
  if (c_.outstanding_stamp == 0) {
    TRY(out.state, c_.replica.snapshot());
  }
  if (c_.replica.parts().loading()) return fail(Code::kBusy, "the volume's state is not wholly here yet");
  if (!out.state) {
    std::string names;
    for (const std::string& name : c_.tails.waited_for(c_.identity.device, c_.silent()))
      names += (names.empty() ? "" : ", ") + name;
    return fail(Code::kBusy, names.empty() ? "something is on its way to the store"
                                           : "the newest changes are not acknowledged yet by " + names);
  }
  TRYV(may_rely_on(c_.tails.all()));
  // Under the turn: a pack that is new after this moment must not look as if no file referred to it.
  TRY(out.places, c_.replica.places());
  return out;
}

// Everything that belongs to the checkpoints which hints name, and to the one that is known here. kCorrupt and the like:
// one of them cannot be read, so what belongs to it is not known.
Result<std::set<ObjectId>> Collector::objects_of_checkpoints(const std::stop_token& stop) {
  std::set<ObjectId> out;
  auto keys = [this](Epoch e) { return c_.keys_of(e); };
  auto keep = [&out](const ObjectId& root, const Checkpoint& checkpoint) {
    out.insert(root);
    for (const SegmentInfo& s : checkpoint.segments) out.insert(s.id);
  };
  TRY(auto row, c_.replica.get_row(checkpoint_row_key()));
  if (row)
    if (auto known = decode_checkpoint_row(*row, c_.volume, keys, c_.volume_signing))
      keep(known->root, known->checkpoint);
  TRY(std::vector<CheckpointName> names, list_checkpoints(c_.store, stop));
  if (names.size() > kHintsMost) names.resize(kHintsMost);
  for (const CheckpointName& name : names) {
    if (out.contains(name.root)) continue;
    auto object = c_.store.get(pack_key(name.root), kCheckpointMax, stop);
    if (!object && object.error().code() == Code::kNotFound) continue;  // only a hint spoke of it
    if (!object) return fail(object.error());
    TRY(Checkpoint checkpoint, open_checkpoint(*object, c_.volume, name.root, keys, c_.volume_signing));
    keep(name.root, checkpoint);
  }
  return out;
}

// Goes through all objects: finds roots of checkpoints that no hint names any more, and tells what is left over.
Result<void> Collector::survey(const Places& places, const std::set<ObjectId>& kept, Looked& looked,
                               const std::stop_token& stop) {
  TRY(std::vector<ObjectInfo> found, c_.store.list(kObjectPrefix, stop));
  std::map<ObjectId, uint64_t> unknown;
  looked.there.emplace();
  for (const ObjectInfo& info : found) {
    auto id = parse_pack_key(info.key);
    if (!id) continue;
    looked.there->insert(*id);
    if (!places.contains(*id) && !kept.contains(*id) && !looked.dead.contains(*id)) unknown.emplace(*id, info.size);
  }
  auto keys = [this](Epoch e) { return c_.keys_of(e); };
  auto add = [&](const ObjectId& id, DeadObject object) {
    if (places.contains(id) || kept.contains(id) || !looked.dead.emplace(id, object).second) return;
    looked.rows.push_back({dead_object_key(id), encode(object)});
  };
  for (const auto& [id, size] : unknown) {
    if (size > kRootProbeMax || looked.dead.contains(id)) continue;
    auto object = c_.store.get(pack_key(id), kRootProbeMax, stop);
    if (!object && object.error().code() != Code::kNotFound) return fail(object.error());
    if (!object) continue;
    auto root = open_checkpoint(*object, c_.volume, id, keys, c_.volume_signing);
    if (!root) continue;
    for (const SegmentInfo& s : root->segments)
      add(s.id, {DeadObject::Kind::kSegment, s.object_size, looked.sums.when});
    add(id, {DeadObject::Kind::kRoot, size, looked.sums.when});
  }
  for (const auto& [id, size] : unknown)
    if (!looked.dead.contains(id)) looked.sums.unknown.add(size);
  return {};
}

Result<Collector::Looked> Collector::look(const CollectOptions& options, const std::stop_token& stop) {
  TRY(Moment moment, take_moment());
  TRY(std::set<ObjectId> live, moment.state->held_packs(stop));
  moment.state.reset();
  auto kept = objects_of_checkpoints(stop);
  if (!kept && kept.error().retryable()) return fail(kept.error());
  if (!kept) log_line(LogLevel::kWarning, "what belongs to which checkpoint is not known: " + kept.error().what());

  Looked out;
  const WallTime now = out.sums.when = c_.clock.wall();
  TRY(auto rows, c_.replica.rows_with_prefix(kDeadPrefix));
  for (const Row& row : rows) {
    TRY(ObjectId id, parse_dead_object_key(row.key));
    TRY(DeadObject object, decode_dead_object(row.value));
    const bool pack = object.kind == DeadObject::Kind::kPack;
    if (pack ? live.contains(id) || !moment.places.contains(id) : moment.places.contains(id)) {
      out.rows.push_back({dead_object_key(id), std::nullopt});
      continue;
    }
    // The clock went back; or it is in use (or may be) to this day.
    if (object.since > now || (!pack && (!kept || kept->contains(id)))) {
      object.since = now;
      out.rows.push_back({dead_object_key(id), encode(object)});
    }
    out.dead.emplace(id, object);
  }
  for (const auto& [id, place] : moment.places) {
    if (place.key != pack_key(id) || place.size == 0) continue;  // in a record; gone
    if (live.contains(id)) {
      out.sums.live.add(place.size);
    } else if (DeadObject object{DeadObject::Kind::kPack, place.size, now}; out.dead.emplace(id, object).second) {
      out.rows.push_back({dead_object_key(id), encode(object)});
    }
  }
  if (options.list_objects) TRYV(survey(moment.places, kept ? *kept : std::set<ObjectId>(), out, stop));
  std::erase_if(out.dead, [&](const auto& object) {
    return object.second.kind != DeadObject::Kind::kPack && (!kept || kept->contains(object.first));
  });
  return out;
}

Result<Collection> Collector::run(const CollectOptions& options, const std::stop_token& stop, const Report& report) {
  if (c_.revoked) return fail(Code::kNotPermitted, "this device has been revoked");
  if (running_.exchange(true)) return fail(Code::kBusy, "objects are being collected already");
  struct Ended {
    std::atomic<bool>& running;
    ~Ended() { running = false; }
  } ended{running_};
  TRY(Looked looked, look(options, stop));
  Collection& sums = looked.sums;
  std::vector<std::pair<ObjectId, DeadObject>> ripe;
  for (const auto& [id, object] : looked.dead) {
    if (Nanos(sums.when.ns - object.since.ns) < options.grace)
      sums.waiting.add(object.bytes);
    else
      ripe.emplace_back(id, object);
  }
  // A root goes after its segments, so that what is left when this breaks off can be told by it.
  std::stable_sort(ripe.begin(), ripe.end(), [](auto& a, auto& b) { return a.second.kind < b.second.kind; });
  if (options.dry_run) {
    for (const auto& [id, object] : ripe)
      if (!looked.there || looked.there->contains(id)) sums.freed.add(object.bytes);
    TRYV(Archiver(c_, options, stop).run(sums));
    return sums;
  }
  if (auto swept = sweep_pairing(c_.store, sums.when); !swept)
    log_line(LogLevel::kWarning, "old requests to be let in are not swept: " + swept.error().what());
  TRYV(c_.replica.put_rows(looked.rows, false));
  Result<void> removed = remove(ripe, looked, stop, report);
  if (removed) removed = Archiver(c_, options, stop).run(sums);
  RowPut row{collection_key(), encode(sums)};
  TRYV(c_.replica.put_rows(std::span(&row, 1), false));
  {
    MutexLock lock(mutex_);
    last_ = sums;
  }
  TRYV(std::move(removed));
  return sums;
}

// First the object, then what is known of it: what is deleted twice does no harm.
Result<void> Collector::remove(const std::vector<std::pair<ObjectId, DeadObject>>& objects, Looked& looked,
                               const std::stop_token& stop, const Report& report) {
  SyncProgress progress;
  for (const auto& [id, object] : objects) progress.total_bytes += object.bytes;
  for (size_t first = 0; first < objects.size(); first += kBatch) {
    const size_t count = std::min(kBatch, objects.size() - first);
    std::vector<std::optional<Result<void>>> outcomes(count);
    in_parallel("coffer-collect", count, c_.options.uploads, [&](size_t i) {
      outcomes[i] = c_.store.remove(pack_key(objects[first + i].first), stop);
      return outcomes[i]->has_value();
    });
    TRYV(failpoint("sync.collect_removed"));
    std::vector<ObjectId> packs;
    std::vector<RowPut> rows;
    std::optional<Error> trouble;
    for (size_t i = 0; i < count; ++i) {
      const auto& [id, object] = objects[first + i];
      if (!outcomes[i]) continue;  // another failed
      if (!*outcomes[i]) {
        trouble = outcomes[i]->error();
        continue;
      }
      if (object.kind == DeadObject::Kind::kPack) packs.push_back(id);
      rows.push_back({dead_object_key(id), std::nullopt});
      if (!looked.there || looked.there->contains(id)) looked.sums.freed.add(object.bytes);
      progress.done_bytes += object.bytes;
    }
    TRYV(c_.replica.forget_packs(packs, rows));
    if (trouble) return fail(*trouble);
    if (report) report(progress);
  }
  return {};
}

void Collector::run_if_due(const std::stop_token& stop) {
  const WallTime now = c_.clock.wall();
  const Nanos here = c_.clock.monotonic();
  auto before = last();
  const bool recent = before && before->when <= now && Nanos(now.ns - before->when.ns) < c_.options.collect_every;
  if (recent || here.count() < not_before_) return;
  CollectOptions options;
  options.grace = c_.options.collect_grace;
  options.archive_grace = c_.options.archive_grace;
  auto done = run(options, stop, {});
  if (done || done.error().code() == Code::kBusy || stop.stop_requested()) return;
  not_before_ = (here + std::min(kRetry, c_.options.collect_every)).count();
  // Nothing depends on it, and requests that fail are told by the store's watch.
  if (!done.error().retryable())
    log_line(LogLevel::kWarning, "dead objects cannot be collected: " + done.error().what());
}

Result<void> Collector::supersede(const ObjectId& root, const Checkpoint& former, const Checkpoint& current) {
  std::set<ObjectId> shared;
  for (const SegmentInfo& s : current.segments) shared.insert(s.id);
  std::vector<RowPut> rows;
  const WallTime now = c_.clock.wall();
  for (const SegmentInfo& s : former.segments)
    if (!shared.contains(s.id))
      rows.push_back({dead_object_key(s.id), encode(DeadObject{DeadObject::Kind::kSegment, s.object_size, now})});
  rows.push_back({dead_object_key(root), encode(DeadObject{DeadObject::Kind::kRoot, 0, now})});
  return c_.replica.put_rows(rows, false);
}

}  // namespace coffer
