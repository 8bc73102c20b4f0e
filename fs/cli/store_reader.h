// Reading a volume without mounting it: a replica in a temporary directory (sealed, like any other), that sees what is
// in the store and publishes nothing.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "fs/cli/failure.h"
#include "fs/cli/open_drive.h"
#include "fs/cli/scratch_directory.h"
#include "fs/cli/target.h"

namespace coffer::cli {

// Not thread-safe.
class StoreReader {
 public:
  // Asks for the passphrase, and waits until every record is applied.
  static Outcome<std::unique_ptr<StoreReader>> open(Target target, std::stop_token stop);

  Replica& replica() { return *drive_->replica; }
  const Synchronizer& synchronizer() const { return *drive_->synchronizer; }
  const VolumeSecrets& secrets() const { return drive_->volume->secrets; }
  // "a/b/c", with or without a leading slash; symbolic links are not followed.
  Outcome<model::Node> find(std::string_view path);
  // Calls `visit` for every entry of a directory, in its order.
  Outcome<void> for_each(Ino dir, const std::function<Outcome<void>(const Replica::ListedNode&)>& visit);
  // Hands the contents of a file to `sink` piece by piece, fetching what is needed.
  Outcome<void> read_all(Ino ino, const std::function<Outcome<void>(uint64_t offset, BytesView)>& sink);

 private:
  explicit StoreReader(std::stop_token stop) : stop_(std::move(stop)) {}
  Outcome<void> fetch(std::vector<Missing> missing);

  const std::stop_token stop_;
  std::optional<ScratchDirectory> temporary_;  // outlives what lies in it
  std::optional<OpenDrive> drive_;             // always there, until the end
};

}  // namespace coffer::cli
