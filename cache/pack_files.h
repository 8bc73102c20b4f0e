// The files of a pack directory: which there are, where, and a bounded set of open descriptors. Internal to this layer.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "base/result.h"

namespace coffer {

class PackFiles;

inline constexpr uint64_t kUseGrain = 1 << 20;  // what is used and evicted together: a multiple of kFetchGrid
inline constexpr size_t kUseRanges = 20;        // as many as a full pack has; the last one reaches to the end of any

// One pack that has a file here. Its fields belong to the PackFiles that made it; others only hold and pass it on.
// Outlives its removal for whoever still holds it.
class PackFile {
 public:
  explicit PackFile(const ObjectId& id) : id_(id) {}
  const ObjectId& id() const { return id_; }

 private:
  friend class PackFiles;
  const ObjectId id_;
  bool unfinished_ = false;  // lies in new/
  bool removed_ = false;     // not in the map any more
  bool disk_stale_ = false;  // in PackFiles::stale_
  uint64_t disk_bytes_ = 0;  // as last counted
  // For each range, when it was last used, by PackFiles::uses_; 0: nothing of it is here. A file of a former run starts
  // with kFormerRun, and has the seconds of its times in place of it once it has been counted. Free of locks.
  std::array<std::atomic<uint64_t>, kUseRanges> used_{};
  std::shared_ptr<const Fd> fd_;                 // null when not cached
  std::list<PackFile*>::iterator place_in_lru_;  // valid while fd_ is set
};

using PackFilePtr = std::shared_ptr<PackFile>;

// Thread-safe. Owns the directory; one instance per directory. A descriptor that was handed out stays good for its
// holder whatever happens to the file or the cache.
class PackFiles {
 public:
  static constexpr size_t kMaxOpen = 256;

  // Makes `dir` when there is none, and learns what lies in it. Files of other names are left alone.
  static Result<std::unique_ptr<PackFiles>> open(const std::string& dir);

  PackFilePtr find(const ObjectId& id) const;  // null when there is none
  // A new, empty, unfinished pack; `id` is fresh. Its directory entry is durable after sync_new().
  Result<PackFilePtr> create_unfinished(const ObjectId& id);
  // An existing pack, or a new one that counts as finished (a container for fetched ranges).
  Result<PackFilePtr> find_or_create(const ObjectId& id);
  // Moves an unfinished pack to where finished ones lie, durably. Idempotent.
  Result<void> mark_finished(const PackFilePtr& file);
  // Ok when there is none.
  Result<void> remove(const ObjectId& id);
  Result<void> sync_new();

  // Opened for reading and writing. kNotFound when the file is gone.
  Result<std::shared_ptr<const Fd>> fd(const PackFilePtr& file);
  bool unfinished(const PackFilePtr& file) const;
  std::vector<ObjectId> ids(bool unfinished_only = false) const;

  // To be called after something in the range was read or written.
  void used(const PackFilePtr& file, uint64_t offset, uint64_t length);
  // What could be evicted: all ranges of finished packs of which something may be here, least recently used first.
  struct Range {
    uint64_t used = 0;
    PackFilePtr file;
    size_t index = 0;
  };
  std::vector<Range> ranges_by_use();
  // Frees the range's blocks, and removes the file when nothing is left in it; the bytes that became free.
  Result<uint64_t> evict(const Range& range);

  // To be called after each change of the blocks of a file.
  void changed(const PackFilePtr& file);
  uint64_t disk_bytes();

 private:
  explicit PackFiles(std::string dir) : dir_(std::move(dir)) {}
  Result<void> learn(const std::string& subdir, bool unfinished);
  std::string path(const ObjectId& id, bool unfinished) const;
  // The directory of a finished pack; durable.
  Result<void> make_shard(const ObjectId& id) EXCLUDES(names_mutex_);
  Result<PackFilePtr> create(const ObjectId& id, bool unfinished) EXCLUDES(mutex_);
  void mark_stale(const PackFilePtr& file) REQUIRES(mutex_);
  // Takes the descriptor out of the cache; the caller lets go of it after unlocking, since closing an unlinked file
  // frees its blocks, which takes a while.
  [[nodiscard]] std::shared_ptr<const Fd> uncache(PackFile& file) REQUIRES(mutex_);

  static constexpr uint64_t kFormerRun = 1;
  static constexpr uint64_t kThisRun = uint64_t{1} << 40;  // later than the seconds of any file

  const std::string dir_;
  std::atomic<uint64_t> uses_{kThisRun};
  // Held while a file of an id that others may know is made, renamed or unlinked, so that these cannot overtake each
  // other. Never taken by reads and appends.
  mutable Mutex names_mutex_{Rank::kPacks};
  mutable Mutex mutex_{Rank::kLeaf};
  std::unordered_map<ObjectId, PackFilePtr> files_ GUARDED_BY(mutex_);
  std::list<PackFile*> lru_ GUARDED_BY(mutex_);  // most recently used first; exactly those with a cached descriptor
  std::vector<PackFilePtr> stale_ GUARDED_BY(mutex_);
  uint64_t disk_total_ GUARDED_BY(mutex_) = 0;
};

}  // namespace coffer
