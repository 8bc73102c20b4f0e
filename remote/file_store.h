// A store in a directory: a disk, a network file system, or what another program carries elsewhere.
#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "remote/object_store.h"

namespace coffer {

// The object KEY is the file ROOT/KEY. A put writes a temporary file beside it (`.HEX.put`, no valid key), syncs it,
// renames it and syncs the directory, so a reader sees the old object, the new one or none, also after a crash.
// Temporary files older than a day are removed when a listing meets them: whoever still writes one gets an error and
// tries again, so this rests on no clock. Symbolic links, pipes and other things that are not regular files are no
// objects. Keeps nothing open between calls; thread-safe.
class FileStore : public ObjectStore {
 public:
  // `create` makes the directory and its parents when missing; otherwise a missing directory is kUnavailable at each
  // call, since it may be a disk that is not connected.
  static Result<std::unique_ptr<FileStore>> open(std::string root, bool create);

  Result<void> put(const std::string& key, BytesView data, std::stop_token stop = {}) override;
  Result<Bytes> get(const std::string& key, size_t limit, std::stop_token stop = {}) override;
  Result<Bytes> get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop = {}) override;
  Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token stop = {}) override;
  Result<void> remove(const std::string& key, std::stop_token stop = {}) override;
  std::string describe() const override { return "directory " + root_; }

 private:
  struct Opened {
    Fd fd;
    uint64_t size = 0;
  };

  explicit FileStore(std::string root) : root_(std::move(root)) {}
  Result<Fd> open_root() const;
  Result<Fd> open_parent(const Fd& root, const std::string& key) const;  // made when missing
  Result<Opened> open_object(const std::string& key) const;
  Result<Bytes> read(const Opened& object, const std::string& key, uint64_t offset, uint64_t length,
                     const std::stop_token& stop) const;
  Result<void> list_directory(const Fd& parent, const std::string& name, const std::string& prefix,
                              const std::stop_token& stop, std::vector<ObjectInfo>& found) const;
  Error error(std::string_view what, int err) const;

  const std::string root_;
};

}  // namespace coffer
