// Counters by a 64-bit key, for very many of them: 16 bytes a slot, no allocation per key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace coffer::fuse {

// Open addressing with linear probing; a removal moves later slots back, so that there are no tombstones. Grows at three
// quarters, shrinks at one eighth. Key 0 is not allowed. Not thread-safe.
class CountTable {
 public:
  size_t size() const { return size_; }
  bool contains(uint64_t key) const;
  // The new count.
  uint64_t add(uint64_t key, uint64_t count);
  // Takes up to `count` off; the slot goes with the last one. What is left; 0 as well when there was nothing.
  uint64_t subtract(uint64_t key, uint64_t count);

 private:
  struct Slot {
    uint64_t key = 0;
    uint64_t count = 0;
  };
  size_t home(uint64_t key) const;
  size_t find(uint64_t key) const;  // its slot, or the free one where it would go
  void remove_at(size_t slot);
  void resize(size_t slots);

  std::vector<Slot> slots_;  // a power of two, or none
  size_t size_ = 0;
};

}  // namespace coffer::fuse
