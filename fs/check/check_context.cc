#include "fs/check/check_context.h"

#include "fs/sync/object_keys.h"

namespace coffer {

std::string_view to_string(Trouble trouble) {
  switch (trouble) {
    case Trouble::kMissing:
      return "missing";
    case Trouble::kCutOff:
      return "cut off";
    case Trouble::kDamaged:
      return "damaged";
    case Trouble::kExchanged:
      return "exchanged";
    case Trouble::kForged:
      return "forged";
    case Trouble::kForeign:
      return "foreign";
    case Trouble::kStale:
      return "stale";
    case Trouble::kUnneeded:
      return "unneeded";
    case Trouble::kTooNew:
      return "too new";
  }
  return "";
}

CheckContext::CheckContext(ObjectStore& s, const VolumeSecrets& secrets, CheckOptions o)
    : archived(s),
      store(archived),
      options(std::move(o)),
      volume(secrets.volume),
      volume_signing(secrets.signing_public),
      key_ring(secrets.epoch_keys) {}

KeysOfEpoch CheckContext::keys() const {
  return [this](Epoch epoch) { return keys_of(epoch); };
}

Result<void> CheckContext::list() {
  // Others may write meanwhile. What is referred to is put before what refers to it, so this order finds it.
  TRY(std::vector<ObjectInfo> hints, store.list(kHintPrefix, options.stop));
  for (ObjectInfo& info : hints) objects.emplace(std::move(info.key), info.size);
  TRY(ArchivedLogs::Listing logs, archived.look(options.stop));
  for (ObjectInfo& info : logs.objects) objects.emplace(std::move(info.key), info.size);
  for (const auto& archive : logs.archives)
    for (const ArchivedRecord& record : archive->index.records) {
      if (!objects.emplace(record.name.key(), record.size).second) continue;
      ++in_archives;
      bytes_in_archives += record.size;
    }
  TRY(std::vector<ObjectInfo> rest, store.list("", options.stop));
  for (ObjectInfo& info : rest)
    if (!info.key.starts_with(kHintPrefix) && !info.key.starts_with(kLogPrefix))
      objects.emplace(std::move(info.key), info.size);
  return {};
}

void CheckContext::report(Damage damage) {
  MutexLock lock(mutex_);
  damages_.push_back(std::move(damage));
}

std::vector<Damage> CheckContext::take_damages() {
  MutexLock lock(mutex_);
  return std::exchange(damages_, {});
}

Result<std::optional<Bytes>> CheckContext::get(const std::string& key, size_t limit,
                                               const std::function<void(Error)>& refused) {
  auto object = store.get(key, limit, options.stop);
  if (object) return std::optional(std::move(*object));
  switch (object.error().code()) {
    case Code::kNotFound:
    case Code::kTooLarge:
    case Code::kCorrupt:
      refused(object.error());
      return std::optional<Bytes>();
    default:
      return fail(object.error());
  }
}

}  // namespace coffer
