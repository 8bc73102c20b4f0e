// What the parts of a check share.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "fs/check/damage.h"
#include "fs/replica/replica.h"
#include "fs/sync/archived_logs.h"
#include "fs/sync/checkpoint.h"
#include "fs/sync/revocation.h"
#include "fs/sync/volume.h"
#include "remote/object_store.h"

namespace coffer {

struct CheckProgress {
  uint64_t done_bytes = 0, total_bytes = 0;  // of packs that are read
};

struct CheckOptions {
  unsigned sample = 100;        // percent of the packs that are read
  uint64_t seed = 0;            // which
  std::set<ObjectId> verified;  // packs that are not read again: an earlier part of this check has
  unsigned threads = 4;
  std::stop_token stop;
  std::function<void(const CheckProgress&)> progress;     // may be empty; from any thread, one at a time
  std::function<void(const ObjectId& pack)> on_verified;  // the same
};

// Thread-safe: report(). Everything else belongs to the thread that checks.
class CheckContext {
 public:
  CheckContext(ObjectStore& store, const VolumeSecrets& secrets, CheckOptions options);

  const EpochKeys* keys_of(Epoch epoch) const { return key_ring.find(epoch); }
  KeysOfEpoch keys() const;

  // What the store listed, by key, and the records that only archives have, as if they were objects. Filled once.
  Result<void> list();
  bool has(const std::string& key) const { return objects.contains(key); }

  void report(Damage damage);
  // A GET whose failure says something about the object; nullopt: it was reported, or is not there now. An error is one of
  // the network, and ends the check.
  Result<std::optional<Bytes>> get(const std::string& key, size_t limit, const std::function<void(Error)>& refused);

  ArchivedLogs archived;
  ObjectStore& store;  // `archived`
  const CheckOptions options;
  const VolumeId volume;
  const PublicKey volume_signing;
  const KeyRing key_ring;
  Revocations revocations;                          // filled before logs are looked at
  std::map<std::string, uint64_t> objects;          // key, size
  uint64_t in_archives = 0, bytes_in_archives = 0;  // of them: what is no object of its own

  std::vector<Damage> take_damages();

 private:
  Mutex mutex_{Rank::kLeaf};
  std::vector<Damage> damages_ GUARDED_BY(mutex_);
};

}  // namespace coffer
