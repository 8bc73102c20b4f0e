// Devices of one volume whose keys get new epochs.
#pragma once

#include <string>
#include <utility>

#include "fs/sync/key_rotation.h"
#include "fs/sync/object_keys.h"
#include "tests/sync/device.h"
#include "tests/sync/memory_slots.h"

namespace coffer::test {

class RotatingTest : public DevicesTest {
 protected:
  RotatingTest() : head_{volume_.id, volume_.signing.public_key()} {
    memory_->plant(kVolumeKey, encode(head_));
    Bytes slot = make_passphrase_slot(volume_.secrets(), pass("word"), kCheap).value();
    memory_->plant(slot_key(parse_slot_header(slot)->id), slot);
  }

  std::unique_ptr<Device> watching(const std::string& name, SlotCopies& copies, SyncOptions options = quick_options(),
                                   const SpaceLimits& limits = {}) {
    options.slot_copies = &copies;
    return device(name, options, limits);
  }
  OpenedVolume opened() { return open_volume(head_, read_slots(*memory_).value(), pass("word")).value(); }
  Epoch rotate(const std::vector<Member>& members) {
    OpenedVolume with = opened();
    auto done = rotate_key(*memory_, head_, with, {}, members, {},
                           [&](const std::vector<Bytes>& objects) { return unlock(head_, objects, pass("word")); });
    EXPECT_OK(done);
    return done->epoch;
  }
  Epoch rotate() { return rotate(read_members(*memory_, opened().secrets).value()); }
  static Epoch newest(Device& d) { return d.replica().key_ring().newest().epoch(); }

  const VolumeHead head_;
  MemorySlots slots_a_, slots_b_;
};

}  // namespace coffer::test
