#include "fs/check/checkpoint_check.h"

#include <algorithm>

#include "crypto/hash.h"
#include "crypto/padding.h"
#include "fs/sync/object_keys.h"

namespace coffer {
namespace {

constexpr char kTodo[] =
    "Nothing is lost: a checkpoint only saves new devices time. They take an older one, or read the logs instead. "
    "`coffer check --repair` takes it out of use; a mounted device writes the next one by itself.";

std::string named(const CheckpointName& name) { return "checkpoint " + name.root.str().substr(0, 8) + "..."; }

}  // namespace

void CheckpointCheck::tell(Trouble trouble, const std::string& thing, const std::string& key, std::string what,
                           const CheckpointName& name) {
  Damage damage{trouble, thing, key, std::move(what), kTodo, {}};
  damage.hint = name.hint();
  c_.report(std::move(damage));
}

Result<void> CheckpointCheck::run() {
  for (const auto& [key, size] : c_.objects)
    if (auto name = parse_checkpoint_hint(key)) names_.push_back(*name);
  std::sort(names_.rbegin(), names_.rend());

  std::vector<std::pair<CheckpointName, Checkpoint>> roots;
  for (const CheckpointName& name : names_) {
    TRY(std::optional<Checkpoint> root, open_root(name));
    if (!root || c_.revocations.revoked(root->certificate)) continue;
    needed_.insert(pack_key(name.root));
    for (const SegmentInfo& s : root->segments) {
      needed_.insert(pack_key(s.id));
      by_seal_.emplace(s.sealed, s.id);
    }
    roots.emplace_back(name, std::move(*root));
  }
  std::set<ObjectId> read;  // a segment that several share is read once, unless it is wanted for its content
  for (auto& [name, root] : roots) {
    std::vector<Bytes> plain;
    bool whole = true;
    for (const SegmentInfo& info : root.segments) {
      if (newest_ && read.contains(info.id)) {
        whole = whole && !bad_segments_.contains(info.id);
        continue;
      }
      TRY(std::optional<Bytes> content, open_one(name, info));
      read.insert(info.id);
      whole = whole && content;
      if (content && !newest_) plain.push_back(std::move(*content));
    }
    if (!whole) continue;
    ++sound_;
    if (newest_) continue;
    auto loaded = assemble_checkpoint(root, std::move(plain));
    if (loaded) {
      newest_ = std::move(*loaded);
    } else {
      --sound_;
      tell(Trouble::kForged, "checkpoint", pack_key(name.root), named(name) + " is refused: " + loaded.error().what(),
           name);
    }
  }
  return {};
}

Result<std::optional<Checkpoint>> CheckpointCheck::open_root(const CheckpointName& name) {
  const std::string key = pack_key(name.root);
  auto report = [&](Trouble trouble, const std::string& why) {
    tell(trouble, "checkpoint", key, "the root of " + named(name) + " " + why, name);
  };
  if (!c_.has(key)) {
    report(Trouble::kMissing, "is not there, although a hint names it");
    return std::optional<Checkpoint>();
  }
  TRY(std::optional<Bytes> object, c_.get(key, kCheckpointMax, [&](const Error& e) {
    report(e.code() == Code::kNotFound ? Trouble::kMissing : Trouble::kDamaged, "cannot be read: " + e.what());
  }));
  if (!object) return std::optional<Checkpoint>();
  auto root = open_checkpoint(*object, c_.volume, name.root, c_.keys(), c_.volume_signing);
  if (root) return std::optional(std::move(*root));
  switch (root.error().code()) {
    case Code::kTooNew:
      report(Trouble::kTooNew, "is refused: " + root.error().what());
      return std::optional<Checkpoint>();
    case Code::kUnavailable:
      report(Trouble::kCutOff, "is cut off: " + std::to_string(object->size()) + " bytes are there");
      return std::optional<Checkpoint>();
    default:
      break;
  }
  auto opens_as = [&](const CheckpointName& other) {
    return other.root != name.root &&
           open_checkpoint(*object, c_.volume, other.root, c_.keys(), c_.volume_signing).has_value();
  };
  if (auto other = std::ranges::find_if(names_, opens_as); other != names_.end())
    report(Trouble::kExchanged, "is not there: the object is that of " + named(*other));
  else if (padded_size(object->size()) != object->size())  // no object has such a size
    report(Trouble::kCutOff, "is cut off: " + std::to_string(object->size()) + " bytes are there");
  else
    report(Trouble::kDamaged, "is refused: " + root.error().what());
  return std::optional<Checkpoint>();
}

Result<std::optional<Bytes>> CheckpointCheck::open_one(const CheckpointName& name, const SegmentInfo& info) {
  const std::string key = pack_key(info.id);
  auto report = [&](Trouble trouble, const std::string& why) {
    bad_segments_.insert(info.id);
    tell(trouble, "segment", key, "a segment of " + named(name) + " " + why, name);
  };
  auto listed = c_.objects.find(key);
  if (listed == c_.objects.end()) {
    report(Trouble::kMissing, "is not there");
    return std::optional<Bytes>();
  }
  if (listed->second < info.object_size) {
    report(Trouble::kCutOff, "is cut off: " + std::to_string(listed->second) + " of " +
                                 std::to_string(info.object_size) + " bytes are there");
    return std::optional<Bytes>();
  }
  TRY(std::optional<Bytes> object, c_.get(key, info.object_size, [&](const Error& e) {
    report(e.code() == Code::kNotFound ? Trouble::kMissing : Trouble::kDamaged, "cannot be read: " + e.what());
  }));
  if (!object) return std::optional<Bytes>();
  auto plain = open_segment(*object, c_.volume, info, c_.keys());
  Result<void> rows = plain ? visit_rows(*plain, info, [](std::string_view, BytesView) -> Result<void> { return {}; })
                            : fail(plain.error());
  if (rows) return std::optional(std::move(*plain));
  auto other = by_seal_.find(blake2b(*object));
  if (rows.error().code() == Code::kTooNew)
    report(Trouble::kTooNew, "is refused: " + rows.error().what());
  else if (other != by_seal_.end() && other->second != info.id)
    report(Trouble::kExchanged, "is not there: the object is " + pack_key(other->second));
  else
    report(Trouble::kDamaged, "is refused: " + rows.error().what());
  return std::optional<Bytes>();
}

}  // namespace coffer
