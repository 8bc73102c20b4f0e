#include "fs/sync/checkpoint_writer.h"

#include <algorithm>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/thread.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "fs/sync/checkpoint_loader.h"
#include "fs/sync/checkpoint_policy.h"

namespace coffer {

using model::RowKind;

CheckpointWriter::CheckpointWriter(SyncContext& context, const News& news, Collector& collector)
    : c_(context),
      news_(news),
      collector_(collector),
      backoff_(4 * c_.options.checkpoint_look, std::max<Nanos>(std::chrono::hours(1), 4 * c_.options.checkpoint_look)) {
}

CheckpointWriter::~CheckpointWriter() { stop(); }

void CheckpointWriter::start() {
  if (auto wanted = c_.replica.get_row(checkpoint_wanted_key()); wanted && *wanted) write_anew();
  thread_ = start_thread("coffer-checkpt", [this](std::stop_token stop) { run(std::move(stop)); });
}

void CheckpointWriter::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  rounds_.wake();
  thread_.join();
}

void CheckpointWriter::write_anew() {
  anew_ = true;
  hurry_ = true;
  rounds_.wake();
}

void CheckpointWriter::run(std::stop_token stop) {
  Nanos next = c_.clock.monotonic() + c_.options.checkpoint_look;
  while (!stop.stop_requested()) {
    rounds_.wait_for_work(next - c_.clock.monotonic());
    if (!hurry_.exchange(false) && c_.clock.monotonic() < next) continue;
    auto wait = step(stop);
    if (wait) {
      backoff_.reset();
    } else if (!stop.stop_requested()) {
      // Nothing depends on it, and requests that fail are told by the store's watch.
      log_line(LogLevel::kInfo, "no checkpoint could be written: " + wait.error().what());
    }
    if (wait && known_ && c_.own.newest() && c_.options.checkpoint_from > 0) collector_.run_if_due(stop);
    next = c_.clock.monotonic() + (wait ? *wait : backoff_.next());
  }
}

Result<Nanos> CheckpointWriter::step(const std::stop_token& stop) {
  const Nanos later = c_.options.checkpoint_look, soon = later / 10;
  const bool anew = anew_;
  if ((!c_.own.newest() && !anew) || c_.revoked) return later;  // who only reads does not write
  if (!row_read_) {
    TRY(auto row, c_.replica.get_row(checkpoint_row_key()));
    row_read_ = true;
    // One that does not open is as none.
    auto keys = [this](Epoch e) { return c_.keys_of(e); };
    auto known = row ? decode_checkpoint_row(*row, c_.volume, keys, c_.volume_signing)
                     : Result<KnownCheckpoint>(fail(Code::kNotFound, "no checkpoint is known"));
    if (known) known_ = std::move(*known);
  }
  if (!due() && !anew) return later;
  TRY(std::optional<Moment> moment, take_moment());
  if (!moment) return soon;
  TRY(std::vector<CheckpointName> hints, look_for_newer(stop));
  if (!due() && !anew) return later;
  TRYV(write(std::move(*moment), hints, anew, stop));
  if (anew) {
    RowPut done{checkpoint_wanted_key(), std::nullopt};
    TRYV(c_.replica.put_rows(std::span(&done, 1), false));
    anew_ = false;
  }
  return later;
}

bool CheckpointWriter::due() {
  ReplayCost cost;
  for (const LogTail& tail : c_.tails.all()) cost.records += tail.number;
  uint64_t included = known_ ? known_->checkpoint.records : 0;
  cost.records -= std::min(included, cost.records);
  cost.bytes = c_.record_bytes - record_bytes_;
  return checkpoint_due(cost, known_ ? known_->checkpoint.object_bytes() : 0, c_.options.checkpoint_from);
}

Result<std::optional<CheckpointWriter::Moment>> CheckpointWriter::take_moment() {
  Turn::Hold hold = c_.turn.take();
  if (c_.outstanding_stamp != 0 || news_.incomplete()) return std::optional<Moment>();
  // With what is void a state is nobody's.
  if (c_.in_state.encode() != c_.revocations.encode()) return std::optional<Moment>();
  Moment out;
  TRY(out.state, c_.replica.snapshot());
  if (!out.state) return std::optional<Moment>();
  out.tails = c_.tails.all();
  if (!c_.in_state.empty()) out.revocations = c_.in_state.encode();
  out.record_bytes = c_.record_bytes;
  return std::optional(std::move(out));
}

// All hints that there are. When one is of a good checkpoint that includes more than the one that is known, it is known now.
Result<std::vector<CheckpointName>> CheckpointWriter::look_for_newer(const std::stop_token& stop) {
  TRY(std::vector<CheckpointName> hints, list_checkpoints(c_.store, stop));
  constexpr size_t kTries = 4;
  for (size_t i = 0; i < hints.size() && i < kTries; ++i) {
    if (known_ && (hints[i].root == known_->root || hints[i].stamp <= known_->checkpoint.stamp)) break;
    auto object = c_.store.get(pack_key(hints[i].root), kCheckpointMax, stop);
    if (!object) continue;
    auto keys = [this](Epoch e) { return c_.keys_of(e); };
    auto opened = open_checkpoint(*object, c_.volume, hints[i].root, keys, c_.volume_signing);
    if (!opened || c_.revocations.revoked(opened->certificate) || (known_ && opened->stamp <= known_->checkpoint.stamp))
      continue;
    TRYV(know({hints[i].root, std::move(*opened)}, *object));
    break;
  }
  return hints;
}

Result<void> CheckpointWriter::know(KnownCheckpoint known, BytesView object) {
  RowPut row{checkpoint_row_key(), encode_checkpoint_row(known.root, object)};
  TRYV(c_.replica.put_rows(std::span(&row, 1), false));
  known_ = std::move(known);
  record_bytes_ = c_.record_bytes;
  return {};
}

// The segment of an earlier checkpoint (or of an attempt that did not come to its end) with the same rows serves again.
Result<void> CheckpointWriter::add(SegmentContent content, std::vector<SegmentInfo>& list,
                                   const std::stop_token& stop) {
  SegmentInfo info;
  info.plain = blake2b(content.plain);
  if (auto there = in_store_.find(info.plain); there != in_store_.end()) {
    list.push_back(there->second);
    return {};
  }
  random_bytes(info.id.bytes);
  const EpochKeys& keys = c_.replica.epoch_keys();
  Bytes object = seal_segment(content.plain, c_.volume, info.id, keys);
  info.sealed = blake2b(object);
  info.object_size = object.size();
  info.plain_size = content.plain.size();
  info.rows = content.rows;
  info.first_key = std::move(content.first_key);
  TRYV(failpoint("sync.put_segment"));
  TRYV(c_.store.put(pack_key(info.id), object, stop));
  in_store_.emplace(info.plain, info);
  list.push_back(std::move(info));
  return {};
}

// What the store has lost, or cut off, or does not show yet, is not used again: one segment that is missing would be missing in
// every checkpoint to come.
Result<void> CheckpointWriter::keep_what_is_there(const std::stop_token& stop) {
  if (in_store_.empty()) return {};
  TRY(std::vector<ObjectInfo> found, c_.store.list(kObjectPrefix, stop));
  std::map<std::string, uint64_t> there;
  for (ObjectInfo& info : found) there.emplace(std::move(info.key), info.size);
  std::erase_if(in_store_, [&](const auto& segment) {
    auto it = there.find(pack_key(segment.second.id));
    return it == there.end() || it->second != segment.second.object_size;
  });
  return {};
}

Result<void> CheckpointWriter::write(Moment moment, const std::vector<CheckpointName>& hints, bool anew,
                                     const std::stop_token& stop) {
  if (anew)
    in_store_.clear();
  else if (known_)
    for (const SegmentInfo& s : known_->checkpoint.segments) in_store_.emplace(s.plain, s);
  TRYV(keep_what_is_there(stop));
  Checkpoint out;
  out.certificate = c_.identity.certificate;
  out.when = c_.clock.wall();
  SegmentCutter cutter;
  auto put = [&](std::string_view key, BytesView value) -> Result<void> {
    auto ended = cutter.add(key, value);
    return ended ? add(std::move(*ended), out.segments, stop) : Result<void>{};
  };
  // In the order of the keys' first letters.
  TRYV(moment.state->survey(stop));
  for (RowKind kind : {RowKind::kBitmap, RowKind::kExtents, RowKind::kEntry, RowKind::kInode, RowKind::kLink})
    TRYV(moment.state->visit(kind, put, stop));
  // Of all packs, since a later record may name one that no file has at the moment: a version that somebody still had open,
  // for example.
  TRY(auto places, c_.replica.places());
  // One that a late record brought back after it was collected: gone, which a size of zero says.
  for (const ObjectId& pack : moment.state->packs()) places.try_emplace(pack, pack_key(pack), 0, 0);
  for (const auto& [pack, place] : places) TRYV(put(place_row_key(pack), encode_place(place)));
  std::map<LogId, uint64_t> numbers;
  for (const LogTail& tail : moment.tails) {
    numbers[tail.log] = tail.number;
    out.records += tail.number;
    out.stamp = std::max(out.stamp, tail.stamp);
  }
  TRY(auto marks, c_.replica.rows_with_prefix(LogTails::kMarkPrefix));
  for (const Row& row : marks) {
    auto place = LogTails::parse_mark_key(row.key);
    auto number = place ? numbers.find(place->first) : numbers.end();
    if (number != numbers.end() && place->second <= number->second) TRYV(put(row.key, row.value));
  }
  for (const LogTail& tail : moment.tails) TRYV(put(LogTails::tail_key(tail.log).bytes, encode(tail)));
  if (!moment.revocations.empty()) TRYV(put(Revocations::row_key().bytes, moment.revocations));
  TRYV(moment.state->visit(RowKind::kXattrs, put, stop));
  moment.state.reset();
  if (auto last = cutter.finish()) TRYV(add(std::move(*last), out.segments, stop));

  CheckpointName name{out.stamp, random_id<ObjectId>()};
  TRY(Bytes root, seal_checkpoint(out, c_.volume, name.root, c_.replica.epoch_keys(), c_.identity.key));
  TRYV(failpoint("sync.put_checkpoint"));
  TRYV(c_.store.put(pack_key(name.root), root, stop));
  TRYV(failpoint("sync.checkpoint_put"));
  TRYV(c_.store.put(name.hint(), {}, stop));
  // The one before stays to be found, should this one be damaged; unless it is to go, since it is under older keys.
  std::optional<ObjectId> former = known_ && !anew ? std::optional(known_->root) : std::nullopt;
  for (const CheckpointName& old : hints)
    if ((old.stamp < name.stamp || anew) && old.root != former) (void)c_.store.remove(old.hint(), stop);
  in_store_.clear();
  if (known_) TRYV(collector_.supersede(known_->root, known_->checkpoint, out));
  TRYV(know({name.root, std::move(out)}, root));
  record_bytes_ = moment.record_bytes;
  return {};
}

}  // namespace coffer
