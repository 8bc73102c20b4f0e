// Copies a tree of a volume into an ordinary directory.
#pragma once

#include <map>
#include <string>

#include "base/fd.h"
#include "fs/cli/failure.h"
#include "fs/cli/store_reader.h"

namespace coffer::cli {

// Keeps modes, times, symbolic and hard links, extended attributes and holes; owners when root. What the destination
// cannot take (an attribute, a device node) is left out with a warning. Works on descriptors, not paths, so that depth
// does not matter and nothing outside the destination is touched.
class Exporter {
 public:
  explicit Exporter(StoreReader& reader) : reader_(reader) {}

  // Makes `destination`, which must not exist.
  Outcome<void> run(const model::Node& node, const std::string& destination);
  uint64_t files() const { return files_; }
  uint64_t bytes() const { return bytes_; }
  uint64_t left_out() const { return left_out_; }

 private:
  Outcome<void> copy(const model::Node& node, int dir, const std::string& name, const std::string& path);
  Outcome<void> copy_directory(const model::Node& node, int dir, const std::string& name, const std::string& path);
  Outcome<void> copy_file(const model::Node& node, int dir, const std::string& name, const std::string& path);
  Outcome<void> copy_special(const model::Node& node, int dir, const std::string& name, const std::string& path);
  bool copy_as_link(const model::Node& node, int dir, const std::string& name, const std::string& path);
  void copy_xattrs(const model::Node& node, int dir, const std::string& name, const std::string& path);
  void copy_attributes(const model::Node& node, int dir, const std::string& name, const std::string& path);
  void leave_out(const std::string& path, const std::string& what, int err);

  StoreReader& reader_;
  std::map<Ino, std::string> first_names_;  // of inodes with several links
  uint64_t files_ = 0, bytes_ = 0, left_out_ = 0;
};

}  // namespace coffer::cli
