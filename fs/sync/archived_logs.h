// The store as if each record lay in it by itself, although archives (record_archive.h) hold some of them.
//
// Everything that lists records or reads one goes through here, so nobody else has to know of archives: a listing of log/ has
// the records of all archives in it, and a record whose object is not there is read from an archive. The rest is passed on.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "fs/sync/record_archive.h"
#include "remote/object_store.h"

namespace coffer {

// Thread-safe. Borrows the store.
class ArchivedLogs : public ObjectStore {
 public:
  struct Archive {
    ObjectId id;
    ArchiveIndex index;
  };
  // Keeps the beginnings of archives, up to where records begin, beyond this run: reading them anew costs a request each. It
  // may fail to.
  struct Memory {
    std::function<std::optional<Bytes>(const ObjectId&)> find;
    std::function<void(const ObjectId&, BytesView beginning)> keep;
    std::function<void(const ObjectId&)> forget;
  };

  explicit ArchivedLogs(ObjectStore& store, Memory memory = {}) : store_(store), memory_(std::move(memory)) {}

  Result<void> put(const std::string& key, BytesView data, std::stop_token stop = {}) override;
  Result<Bytes> get(const std::string& key, size_t limit, std::stop_token stop = {}) override;
  Result<Bytes> get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop = {}) override;
  Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token stop = {}) override;
  Result<void> remove(const std::string& key, std::stop_token stop = {}) override { return store_.remove(key, stop); }
  std::string describe() const override { return store_.describe(); }

  struct Listing {
    std::vector<ObjectInfo> objects;  // of log/, as they are
    std::vector<std::shared_ptr<const Archive>> archives;
  };
  // What is there, and where. An archive that is cut off, damaged, too new or cannot be read is not among them.
  Result<Listing> look(std::stop_token stop);

 private:
  struct Known {
    std::shared_ptr<const Archive> archive;
    std::vector<bool> alone;  // for each record: the last listing of everything did not show its object
  };
  struct Place {
    std::shared_ptr<const Archive> archive;
    ArchivedRecord record;
    bool alone = false;
  };
  // A piece of an archive that is here, or is being fetched.
  struct Piece {
    std::shared_ptr<const Bytes> bytes;
    uint64_t used = 0;  // when, by a count
  };
  using PieceName = std::pair<ObjectId, uint64_t>;

  std::vector<Place> places(const RecordName& name) const;
  Result<void> take_archives(const std::vector<ObjectInfo>& found, const std::stop_token& stop);
  Result<std::shared_ptr<const Archive>> open(const ObjectId& id, uint64_t size, const std::stop_token& stop);
  Result<void> look_for_archives(const std::stop_token& stop);
  void add_archived(std::vector<ObjectInfo>& found, const std::optional<LogId>& log) const;
  Result<std::vector<ObjectInfo>> list_log(const LogId& log, const std::string& prefix, const std::stop_token& stop);
  Result<Bytes> read(const Place& place, const std::stop_token& stop);
  Result<std::shared_ptr<const Bytes>> piece(const PieceName& name, const std::stop_token& stop);
  // `from_archive` of a place; `from_object`.
  template <typename FromArchive, typename FromObject>
  Result<Bytes> either(const RecordName& name, const std::stop_token& stop, const FromArchive& from_archive,
                       const FromObject& from_object);

  ObjectStore& store_;
  const Memory memory_;
  mutable Mutex mutex_{Rank::kRemote};
  std::map<ObjectId, Known> known_ GUARDED_BY(mutex_);
  CondVar piece_came_;
  std::map<PieceName, Piece> pieces_ GUARDED_BY(mutex_);
  uint64_t uses_ GUARDED_BY(mutex_) = 0;
  bool looking_ GUARDED_BY(mutex_) = false;  // for archives
  uint64_t looks_ GUARDED_BY(mutex_) = 0;    // that have ended well
  CondVar looked_;
};

}  // namespace coffer
