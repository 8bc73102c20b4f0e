#include "fs/sync/checkpoint_loader.h"

#include <algorithm>

#include "fs/sync/checkpoint_row.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/parallel.h"
#include "fs/sync/part_loader.h"

namespace coffer {

namespace {

constexpr size_t kTries = 8;  // checkpoints that are looked at: anybody can write hints

}  // namespace

bool blames_checkpoint(Code code) {
  return code == Code::kCorrupt || code == Code::kTooNew || code == Code::kDenied || code == Code::kTooLarge ||
         code == Code::kNotFound;
}

std::string place_row_key(const ObjectId& pack) { return "P" + std::string(as_string(pack.view())); }

Bytes encode_place(const PackPlace& place) {
  Bytes out;
  Writer w(out);
  w.string(place.key);
  w.varint(place.offset);
  w.varint(place.size);
  return out;
}

Result<std::pair<ObjectId, PackPlace>> decode_place(std::string_view key, BytesView value) {
  Reader in(value);
  PackPlace place;
  place.key = in.string();
  place.offset = in.varint();
  place.size = in.varint();
  // A record that carries only the end of a pack: the pack would begin before the object, so the offset wraps around.
  const bool before_object = 0 - place.offset <= UINT32_MAX;
  if (!in.at_end() || key.size() != 1 + ObjectId::kSize || !valid_object_key(place.key) || place.size > UINT32_MAX ||
      (place.offset > kRecordMax && !before_object))
    return fail(Code::kCorrupt, "a pack's place makes no sense");
  return std::pair(ObjectId::from(as_bytes(key.substr(1))), std::move(place));
}

Result<std::vector<CheckpointName>> list_checkpoints(ObjectStore& store, const std::stop_token& stop) {
  TRY(std::vector<ObjectInfo> found, store.list(kHintPrefix, stop));
  std::vector<CheckpointName> names;
  for (const ObjectInfo& info : found)
    if (auto name = parse_checkpoint_hint(info.key)) names.push_back(*name);
  std::sort(names.rbegin(), names.rend());
  return names;
}

Result<void> CheckpointLoader::load(const std::stop_token& stop) {
  if (!ready_) {
    TRY(ready_, find(stop));
  }
  if (!ready_) return {};
  Turn::Hold hold = c_.turn.take();
  TRYV(c_.replica.load(ready_->state, ready_->parts, ready_->stamp, ready_->places, ready_->bookkeeping, stop));
  ready_.reset();
  TRY(auto rows, c_.replica.rows_with_prefix(LogTails::kTailPrefix));
  TRYV(c_.tails.load(rows));
  return c_.load_revocations();
}

Result<std::unique_ptr<CheckpointLoader::Ready>> CheckpointLoader::find(const std::stop_token& stop) {
  TRY(std::vector<CheckpointName> names, list_checkpoints(c_.store, stop));
  if (names.size() > kTries) names.resize(kTries);
  auto keys = [this](Epoch e) { return c_.keys_of(e); };
  for (const CheckpointName& name : names) {
    auto object = c_.store.get(pack_key(name.root), kCheckpointMax, stop);
    if (!object && object.error().code() == Code::kNotFound) continue;  // only a hint spoke of it
    auto attempt = [&]() -> Result<std::unique_ptr<Ready>> {
      if (!object) return std::unexpected(object.error());
      auto root = open_checkpoint(*object, c_.volume, name.root, keys, c_.volume_signing);
      if (!root && root.error().code() == Code::kUnavailable) return fail(Code::kCorrupt, root.error().what());
      if (!root) return std::unexpected(root.error());
      if (c_.revocations.revoked(root->certificate))
        return std::unique_ptr<Ready>();  // nothing wrong, and nothing to use
      TRY(std::unique_ptr<Ready> ready, fetch(*root, stop));
      ready->bookkeeping.push_back({checkpoint_row_key(), encode_checkpoint_row(name.root, *object)});
      return ready;
    }();
    if (attempt && !*attempt) continue;
    if (attempt) return attempt;
    if (!blames_checkpoint(attempt.error().code())) return attempt;
    if (attempt.error().code() == Code::kNotFound && missing_segment_) {
      absent_.push_back({name.root, *missing_segment_, c_.clock.monotonic()});
      tell(absent_.back());
      continue;
    }
    c_.problems.set("checkpoint " + name.root.str(),
                    "the checkpoint " + name.root.str().substr(0, 8) + "... is refused: " + attempt.error().what(),
                    "An object was damaged, replaced or removed in the store, or its author's machine has a fault. "
                    "This device was filled from what came before it; nothing is missing. Ask whoever runs the store.");
  }
  return std::unique_ptr<Ready>();
}

Result<std::vector<Bytes>> CheckpointLoader::get_segments(const Checkpoint& checkpoint, const std::vector<bool>& which,
                                                          const std::stop_token& stop) {
  const auto& segments = checkpoint.segments;
  std::vector<size_t> wanted;
  for (size_t i = 0; i < segments.size(); ++i)
    if (which[i]) wanted.push_back(i);
  std::vector<std::optional<Result<Bytes>>> got(wanted.size());
  auto keys = [this](Epoch e) { return c_.keys_of(e); };
  in_parallel("coffer-segments", wanted.size(), c_.options.fetches, [&](size_t i) {
    const SegmentInfo& info = segments[wanted[i]];
    auto object = c_.store.get(pack_key(info.id), info.object_size, stop);
    got[i] = object ? open_segment(*object, c_.volume, info, keys) : std::move(object);
    return got[i]->has_value();
  });
  std::vector<Bytes> out(segments.size());
  missing_segment_.reset();
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!got[i]) continue;  // another failed
    if (!*got[i]) {
      if (got[i]->error().code() == Code::kNotFound) missing_segment_ = segments[wanted[i]].id;
      return std::unexpected(got[i]->error());
    }
    out[wanted[i]] = std::move(**got[i]);
  }
  return out;
}

void CheckpointLoader::tell(const Absent& absent) {
  const std::string key = "checkpoint " + absent.checkpoint.str(), object = pack_key(absent.segment);
  const std::string what = "segment " + absent.segment.str().substr(0, 8) + "... of checkpoint " +
                           absent.checkpoint.str().substr(0, 8) + "...";
  if (c_.clock.monotonic() - absent.since < c_.options.missing_after) return c_.not_here_yet.set(key, what, "");
  c_.not_here_yet.clear(key);
  c_.problems.set(
      key, what + " is not in the store",
      "This device was filled from what came before it; nothing is missing here. The next checkpoint that a "
      "device writes takes its place. Ask whoever runs the store for the object " +
          object);
}

void CheckpointLoader::look_again(const std::stop_token& stop) {
  std::erase_if(absent_, [&](Absent& absent) {
    const Nanos now = c_.clock.monotonic();
    if (now < absent.retry_at) return false;
    absent.retry_at = now + absent.backoff.next();
    if (!c_.store.get_range(pack_key(absent.segment), 0, 1, stop)) {
      tell(absent);
      return false;
    }
    const std::string key = "checkpoint " + absent.checkpoint.str();
    c_.problems.clear(key);
    c_.not_here_yet.clear(key);
    return true;
  });
}

namespace {

// The segments that a device needs before it can do anything: with what is known of the logs and of revocations, with the root
// directory and its entries.
std::vector<bool> needed_first(const Checkpoint& checkpoint) {
  const std::string root = model::inode_key(model::kRootIno).bytes, entries = model::entry_prefix(model::kRootIno);
  const auto& segments = checkpoint.segments;
  std::vector<bool> out(segments.size());
  auto need = [&](const std::string& from, const std::string& to) {
    for (size_t i = 0; i < segments.size(); ++i) {
      const bool ends_before = i + 1 < segments.size() && segments[i + 1].first_key <= from;
      if (!ends_before && segments[i].first_key < to) out[i] = true;
    }
  };
  need("S", "T");
  need(root, root + '\0');
  need(entries, model::entry_prefix(model::kRootIno + 1));
  return out;
}

}  // namespace

Result<std::unique_ptr<CheckpointLoader::Ready>> CheckpointLoader::fetch(const Checkpoint& checkpoint,
                                                                         const std::stop_token& stop) {
  const auto& segments = checkpoint.segments;
  const bool whole = checkpoint.object_bytes() < c_.options.parts_from;
  const std::vector<bool> which = whole ? std::vector<bool>(segments.size(), true) : needed_first(checkpoint);
  TRY(std::vector<Bytes> plain, get_segments(checkpoint, which, stop));
  if (std::find(which.begin(), which.end(), false) == which.end())
    return assemble_checkpoint(checkpoint, std::move(plain));
  PartRowsTaken taken;
  auto ready = std::make_unique<Ready>();
  for (size_t i = 0; i < segments.size(); ++i) {
    ready->parts.list.push_back({segments[i].first_key, encode_part(segments[i])});
    if (!which[i]) continue;
    TRYV(take_part(plain[i], segments[i], i + 1 < segments.size() ? segments[i + 1].first_key : "", taken));
  }
  ready->parts.here = which;
  TRYV(take_over(checkpoint, std::move(taken), *ready));
  return ready;
}

Result<void> take_part(BytesView plain, const SegmentInfo& info, std::string_view end, PartRowsTaken& out) {
  auto take = [&](std::string_view key, BytesView value) -> Result<void> {
    if (!end.empty() && key >= end) return fail(Code::kCorrupt, "a key is in two segments of the checkpoint");
    if (key.starts_with(LogTails::kTailPrefix)) {
      out.tails.push_back({std::string(key), to_bytes(value)});
    } else if (key.starts_with(LogTails::kMarkPrefix)) {
      out.marks.push_back({std::string(key), to_bytes(value)});
    } else if (key == Revocations::row_key().bytes) {
      TRYV(Revocations::decode(value));
      out.revocations = to_bytes(value);
    } else if (key.starts_with('P')) {
      TRY(auto place, decode_place(key, value));
      out.placed.insert(place.first);
      out.places.push_back(std::move(place));
    } else {
      return out.state.add(key, value);
    }
    return {};
  };
  return visit_rows(plain, info, take);
}

// What is told of the logs is checked as a whole.
Result<void> take_over(const Checkpoint& checkpoint, PartRowsTaken taken, LoadedCheckpoint& out) {
  TRY(LogExtent logs, check_log_rows(taken.tails, taken.marks));
  if (logs.stamp != checkpoint.stamp || logs.records != checkpoint.records)
    return fail(Code::kCorrupt, "the checkpoint does not include the records that it says");
  TRY(auto root, taken.state.get(model::inode_key(model::kRootIno)));
  if (!root) return fail(Code::kCorrupt, "the checkpoint has no root directory");
  out.stamp = checkpoint.stamp;
  out.state = std::move(taken.state);
  out.places = std::move(taken.places);
  if (taken.revocations) out.bookkeeping.push_back({Revocations::row_key(), std::move(*taken.revocations)});
  for (std::vector<Row>* rows : {&taken.tails, &taken.marks})
    for (Row& row : *rows) out.bookkeeping.push_back({clear_key(std::move(row.key)), std::move(row.value)});
  return {};
}

Result<std::unique_ptr<LoadedCheckpoint>> assemble_checkpoint(const Checkpoint& checkpoint, std::vector<Bytes> plain) {
  const auto& segments = checkpoint.segments;
  PartRowsTaken taken;
  for (size_t i = 0; i < plain.size(); ++i) {
    TRYV(take_part(plain[i], segments[i], i + 1 < segments.size() ? segments[i + 1].first_key : "", taken));
    plain[i] = {};
  }
  for (const ObjectId& pack : taken.state.packs())
    if (!taken.placed.contains(pack))
      return fail(Code::kCorrupt, "the checkpoint does not say where pack " + pack.str() + " is");
  auto ready = std::make_unique<LoadedCheckpoint>();
  TRYV(take_over(checkpoint, std::move(taken), *ready));
  TRY(std::vector<std::string> faults, ready->state.find_faults());
  if (!faults.empty()) return fail(Code::kCorrupt, "the checkpoint is no sound state: " + faults.front());
  return ready;
}

}  // namespace coffer
