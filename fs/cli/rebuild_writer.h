// Writes recovered files into a new directory.
#pragma once

#include <list>
#include <map>
#include <string>
#include <vector>

#include "base/fd.h"
#include "fs/check/rebuild.h"
#include "fs/cli/failure.h"

namespace coffer::cli {

// Names come from hostile bytes: each is one component below `destination`, symbolic links are not followed, and nothing
// that is there is written over: a second file of a name gets a number. Not thread-safe.
class RebuildWriter {
 public:
  // Makes `destination`, which must not exist; below it `files`, and `removed` for what had no name any more.
  static Outcome<RebuildWriter> make(const std::string& destination);

  Outcome<void> make_all(const Rebuild& rebuild);
  Outcome<void> write(size_t file, uint64_t offset, BytesView bytes);
  Outcome<void> finish(const Rebuild& rebuild);  // sizes
  const std::string& path(size_t file) const { return paths_[file]; }

 private:
  Outcome<Fd> directory(const std::vector<std::string>& path, size_t depth, std::string& shown);
  Outcome<Fd> open(size_t file);

  std::string destination_;
  Fd top_;
  std::vector<std::string> paths_;  // below the destination
  std::map<size_t, Fd> open_;
};

}  // namespace coffer::cli
