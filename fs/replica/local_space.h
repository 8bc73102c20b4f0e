// The room that a replica takes on the local disk: how much it may cache, and what happens when the disk gets full.
//
//   cache limit   pack files take no more than this, unless what no store has yet takes it; then a quarter of it
//   free space    so much of the file system stays free, as long as something can be evicted
//   reserve       a preallocated file, given up when the disk is full: what is journalled, committed, removed or
//                 uploaded then still finds room. It is taken again when there is room for it.
//
// Writers come last: when less is free than a margin and what they have written and not sealed yet, they get ENOSPC.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "cache/pack_store.h"
#include "cache/space_reserve.h"

namespace coffer {

struct SpaceLimits {
  uint64_t cache = 0;    // bytes of pack files; 0: as much as the disk has
  uint64_t free = 0;     // bytes of the file system
  uint64_t reserve = 0;  // bytes; 0: no reserve, and writers are not told before the disk itself says so
};

// What suits the file system that `directory` lies on: no limit of the cache, a twentieth of it (at most 4 GiB) free, and
// a reserve of a thirty-second (at most 128 MiB).
Result<SpaceLimits> usual_space_limits(const std::string& directory);

// Thread-safe. Borrows the packs. Called with no lock held.
class LocalSpace {
 public:
  struct Backend {
    const Clock* clock = &Clock::system();
    std::function<bool(const ObjectId&)> may_go;  // the store has this pack, and a crash would not forget that
    std::function<uint64_t()> unsent_bytes;       // on disk, and in no store
    std::function<uint64_t()> bytes_in_memory;    // taken from writers, and not on disk yet
  };

  static Result<std::unique_ptr<LocalSpace>> open(const std::string& directory, PackStore& packs,
                                                  const SpaceLimits& limits, Backend backend);

  // Before `bytes` are taken from a writer. Evicts, and slows the writer down while what he wrote is being uploaded;
  // kNoSpace when all of that makes no room.
  Result<void> admit(uint64_t bytes);
  // Before so many fetched bytes are kept: evicts others instead of growing beyond the limits. They may go again, so
  // they are never refused.
  void admit_fetched(uint64_t bytes);
  // From time to time: keeps to the limits, takes the reserve again. (It is given up for what needs it only: whatever is free
  // goes to whoever is first.)
  void tidy();
  // So many bytes more may be evicted than when it was last tried.
  void more_may_go(uint64_t bytes);
  // Something has met a full disk: whether trying again makes sense, since the reserve is given up now, or was for somebody
  // else who met it at the same time.
  bool give_up_reserve();

  const SpaceLimits& limits() const { return limits_; }
  // When it was last looked at (tidy), hardly anything was left but the reserve, or a part of that was missing.
  bool full() const { return full_; }

 private:
  LocalSpace(std::string directory, PackStore& packs, const SpaceLimits& limits, Backend backend)
      : directory_(std::move(directory)), packs_(packs), limits_(limits), backend_(std::move(backend)) {}

  Result<void> look(int64_t bytes) EXCLUDES(mutex_);
  // Free for everybody, with what the reserve should hold and does not counted as taken.
  int64_t room() const REQUIRES(mutex_);
  // Evicts down to the limits with `more` bytes to come.
  void keep_limits(uint64_t more) REQUIRES(mutex_);
  uint64_t evict(uint64_t bytes) REQUIRES(mutex_);
  void restore_reserve() REQUIRES(mutex_);
  uint64_t margin() const;

  const std::string directory_;
  PackStore& packs_;
  const SpaceLimits limits_;
  const Backend backend_;

  std::atomic<int64_t> credit_{0};  // what may be taken from writers without looking
  std::atomic<bool> full_{false};
  std::atomic<uint64_t> may_go_since_{0};  // bytes that may be evicted and came after the last try

  Mutex mutex_{Rank::kSync};
  SpaceReserve reserve_ GUARDED_BY(mutex_);
  Nanos fruitless_until_ GUARDED_BY(mutex_){0};
};

}  // namespace coffer
