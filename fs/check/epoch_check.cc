#include "fs/check/epoch_check.h"

#include <algorithm>

#include "cache/pack_index.h"
#include "cache/pack_store.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/parallel.h"

namespace coffer {
namespace {

Result<std::optional<Epoch>> epoch_of_pack(CheckContext& c, const std::string& key, const ObjectId& pack,
                                           uint64_t size) {
  if (size < kPackTrailer) return std::nullopt;
  auto trailer = c.store.get_range(key, size - kPackTrailer, kPackTrailer, c.options.stop);
  if (!trailer && trailer.error().retryable()) return fail(trailer.error());
  if (!trailer) return std::nullopt;
  for (const EpochKeys* keys : c.key_ring.all())
    if (open_trailer(*trailer, size, pack, c.volume, *keys)) return keys->epoch();
  return std::nullopt;
}

// Records, segments and roots begin with it.
Result<std::optional<Epoch>> epoch_in_front(CheckContext& c, const std::string& key) {
  auto front = c.store.get_range(key, 0, sizeof(Epoch), c.options.stop);
  if (!front && front.error().retryable()) return fail(front.error());
  if (!front || front->size() != sizeof(Epoch)) return std::nullopt;
  return Reader(*front).u32();
}

}  // namespace

Result<OldKeys> find_old_keys(CheckContext& c, const std::set<std::string>& data,
                              const std::set<std::string>& checkpoints) {
  OldKeys out;
  out.epochs = c.key_ring.size();
  if (out.epochs < 2) return out;
  std::vector<std::string> keys(data.begin(), data.end());
  keys.insert(keys.end(), checkpoints.begin(), checkpoints.end());
  std::vector<Result<std::optional<Epoch>>> found(keys.size(), std::optional<Epoch>());
  in_parallel("coffer-check", keys.size(), c.options.threads, [&](size_t i) {
    auto there = c.objects.find(keys[i]);
    if (there == c.objects.end()) return true;
    auto pack = checkpoints.contains(keys[i]) ? std::nullopt : parse_pack_key(keys[i]);
    found[i] = pack ? epoch_of_pack(c, keys[i], *pack, there->second) : epoch_in_front(c, keys[i]);
    return found[i].has_value();
  });
  for (size_t i = 0; i < keys.size(); ++i) {
    TRY(std::optional<Epoch> epoch, found[i]);
    if (!epoch || *epoch >= c.key_ring.newest().epoch()) continue;
    out.bytes += c.objects.at(keys[i]);
    auto& list = checkpoints.contains(keys[i]) ? out.checkpoints : parse_pack_key(keys[i]) ? out.packs : out.records;
    list.push_back(keys[i]);
  }
  return out;
}

}  // namespace coffer
