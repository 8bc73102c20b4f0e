// Deletes from the store what nobody needs any more: packs to which no file refers, and what superseded checkpoints have
// left. Records stay, and with them the packs that they carry; old ones move into archives (archiver.h).
//
// A pack is dead when no file of this replica's refers to it, at a moment when nothing is pending here, every record that
// is known is applied, and every record with changes is below the stable line. Each device whose log is open has then
// applied those records too, and has published since what it had pending on top of an older state (see may_rely_on). A
// record that comes later changes what is there, so it cannot refer to a dead pack, whatever its author does from now on. Who
// is not waited for (a device that is away and closed its log, a store that shows records late) is what the grace is for:
// an object goes only when it was dead the first time that long ago, by this machine's clock, and at every look since.
//
// A pack that no record names yet is not known here and is never touched; the same holds for a checkpoint that is being
// written.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>

#include "fs/replica/snapshot.h"
#include "fs/sync/checkpoint.h"
#include "fs/sync/collection.h"
#include "fs/sync/context.h"
#include "fs/sync/news.h"

namespace coffer {

// Thread-safe.
class Collector {
 public:
  using Report = std::function<void(const SyncProgress&)>;

  Collector(SyncContext& context, const News& news) : c_(context), news_(news) {}

  // What the last collection of this replica did, also of an earlier run.
  void load();
  std::optional<Collection> last() const;

  // kBusy: there is no such moment now (the message says who is waited for), or another is under way; or what the store
  // says. Whatever it ends with, what was deleted is noted.
  Result<Collection> run(const CollectOptions& options, const std::stop_token& stop, const Report& report);
  // One in the background, if the last is long enough ago.
  void run_if_due(const std::stop_token& stop);

  // `current` follows `former` as the newest checkpoint. What belongs to no checkpoint that a hint names will be collected.
  Result<void> supersede(const ObjectId& root, const Checkpoint& former, const Checkpoint& current);

 private:
  using Places = std::map<ObjectId, PackPlace>;
  using Dead = std::map<ObjectId, DeadObject>;
  struct Moment {
    std::unique_ptr<StateSnapshot> state;
    Places places;
  };
  struct Looked {
    Dead dead;
    std::vector<RowPut> rows;                 // what is to be noted of it
    std::optional<std::set<ObjectId>> there;  // what the store listed
    Collection sums;
  };

  Result<Moment> take_moment();
  Result<void> may_rely_on(const std::vector<LogTail>& tails) const;
  Result<Looked> look(const CollectOptions& options, const std::stop_token& stop);
  Result<std::set<ObjectId>> objects_of_checkpoints(const std::stop_token& stop);
  Result<void> survey(const Places& places, const std::set<ObjectId>& kept, Looked& looked,
                      const std::stop_token& stop);
  Result<void> remove(const std::vector<std::pair<ObjectId, DeadObject>>& objects, Looked& looked,
                      const std::stop_token& stop, const Report& report);

  SyncContext& c_;
  const News& news_;
  std::atomic<bool> running_{false};
  std::atomic<int64_t> not_before_{0};  // monotonic ns; of run_if_due

  mutable Mutex mutex_{Rank::kLeaf};
  std::optional<Collection> last_ GUARDED_BY(mutex_);
};

}  // namespace coffer
