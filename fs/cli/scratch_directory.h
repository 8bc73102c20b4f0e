// A directory for one command, in $TMPDIR or /tmp: only its user's, and gone with the object.
#pragma once

#include <string>

#include "fs/cli/failure.h"

namespace coffer::cli {

class ScratchDirectory {
 public:
  static Outcome<ScratchDirectory> make();
  ScratchDirectory(ScratchDirectory&& o) noexcept : path_(std::exchange(o.path_, "")) {}
  ScratchDirectory& operator=(ScratchDirectory&&) = delete;
  ~ScratchDirectory();

  const std::string& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace coffer::cli
