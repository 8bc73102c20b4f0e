// The copies of key slots in a volume's directory, for the daemon.
#pragma once

#include "base/log.h"
#include "fs/cli/state_directory.h"
#include "fs/sync/key_slots.h"

namespace coffer::cli {

// Borrows the directory. Called by one thread.
class DirectorySlots : public SlotCopies {
 public:
  explicit DirectorySlots(VolumeDirectory& directory) : directory_(directory) {}

  std::vector<Bytes> kept() override {
    auto known = directory_.kept();
    return known && *known ? std::move((*known)->slots) : std::vector<Bytes>();
  }
  void keep(const VolumeHead& head, const std::vector<Bytes>& objects) override {
    if (auto done = directory_.keep(head, objects); !done) log_line(LogLevel::kWarning, done.error().what);
  }

 private:
  VolumeDirectory& directory_;
};

}  // namespace coffer::cli
