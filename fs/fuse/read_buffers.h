// Buffers for what is read, reused last in first out, so that few are touched.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/mutex.h"

namespace coffer::fuse {

// Thread-safe. Outlives its buffers.
class ReadBuffers {
 public:
  static constexpr size_t kSize = 1 << 20;  // the longest read that the kernel sends
  static constexpr size_t kKept = 4;        // idle ones beyond this are freed

  class Buffer {
   public:
    Buffer(ReadBuffers& home, std::unique_ptr<uint8_t[]> bytes) : home_(&home), bytes_(std::move(bytes)) {}
    Buffer(Buffer&&) = default;
    Buffer& operator=(Buffer&&) = delete;
    ~Buffer() {
      if (bytes_) home_->give_back(std::move(bytes_));
    }
    uint8_t* data() const { return bytes_.get(); }

   private:
    ReadBuffers* home_;
    std::unique_ptr<uint8_t[]> bytes_;
  };

  Buffer take() {
    {
      MutexLock lock(mutex_);
      if (!idle_.empty()) {
        auto bytes = std::move(idle_.back());
        idle_.pop_back();
        return Buffer(*this, std::move(bytes));
      }
    }
    return Buffer(*this, std::make_unique_for_overwrite<uint8_t[]>(kSize));
  }

 private:
  void give_back(std::unique_ptr<uint8_t[]> bytes) {
    MutexLock lock(mutex_);
    if (idle_.size() < kKept) idle_.push_back(std::move(bytes));
  }

  Mutex mutex_{Rank::kLeaf};
  std::vector<std::unique_ptr<uint8_t[]>> idle_ GUARDED_BY(mutex_);
};

}  // namespace coffer::fuse
