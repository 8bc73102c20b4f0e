// Disk space set aside: a preallocated file that is given up when the disk is full, so that what must go on (journal,
// LMDB, removing, uploading) has room to do so.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace coffer {

// Not thread-safe. Owns the file; what is in it means nothing, and it stays for the next run.
class SpaceReserve {
 public:
  // Opens or makes the file at `path` and takes what it holds already; take() gets the rest. `size` 0 removes it.
  static Result<SpaceReserve> open(const std::string& path, uint64_t size);

  uint64_t size() const { return size_; }
  uint64_t missing() const { return size_ - held_; }
  // Takes all that is missing, or nothing: kNoSpace.
  Result<void> take();
  // Gives all of it back to the file system; whether there was anything.
  bool give_up();

 private:
  Fd fd_;
  uint64_t size_ = 0;
  uint64_t held_ = 0;
};

}  // namespace coffer
