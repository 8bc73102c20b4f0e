#include "fs/sync/key_rotation.h"

#include "base/failpoint.h"
#include "crypto/key_ring.h"
#include "fs/sync/object_keys.h"
#include "remote/fault_store.h"
#include "remote/memory_store.h"
#include "tests/sync/fixture.h"

namespace coffer::test {
namespace {

class KeyRotationTest : public SyncUnitTest {
 protected:
  ~KeyRotationTest() override { arm_failpoints(""); }

  void SetUp() override { make(); }
  void make() {
    store_ = std::make_shared<MemoryStore>();
    recovery_.emplace(RecoveryKey::generate());
    TAKE(VolumeSecrets made, create_volume(*store_, pass("first"), &*recovery_, kCheap));
    head_ = {made.volume, made.signing_public};
    Bytes second = make_passphrase_slot(made, pass("second"), kCheap, {"two", {2}, "b"}).value();
    EXPECT_OK(add_slot(*store_, second, [](BytesView o) { return open_passphrase_slot(o, pass("second")); }));
    second_ = parse_slot_header(second)->id;
  }

  std::vector<Bytes> objects() { return read_slots(*store_).value_or(std::vector<Bytes>{}); }
  Result<VolumeSecrets> opened_by(std::string_view passphrase) { return unlock(head_, objects(), pass(passphrase)); }
  size_t epochs_of(std::string_view passphrase) {
    auto opened = opened_by(passphrase);
    return opened ? opened->epoch_keys.size() : 0;
  }
  void expect_epochs(size_t count) {
    EXPECT_EQ(epochs_of("first"), count);
    EXPECT_EQ(epochs_of("second"), count);
    auto recovered = unlock(head_, objects(), *recovery_);
    EXPECT_TRUE(recovered && recovered->epoch_keys.size() == count);
  }
  // By who knows this passphrase.
  Result<Rotation> rotate(ObjectStore& store, std::string_view passphrase, const std::vector<Member>& members = {},
                          const std::vector<Bytes>& kept = {}) {
    TRY(std::vector<Bytes> all, read_slots(store));
    TRY(OpenedVolume opened, open_volume(head_, all, pass(passphrase)));
    return rotate_key(store, head_, opened, kept, members, {"", {3}, "a"},
                      [&](const std::vector<Bytes>& objects) { return unlock(head_, objects, pass(passphrase)); });
  }
  Result<Rotation> rotate(std::string_view passphrase, const std::vector<Member>& members = {}) {
    return rotate(*store_, passphrase, members);
  }
  size_t slots_of(SlotKind kind) {
    size_t count = 0;
    for (const CountingSlot& slot : counting_slots(head_, objects())) count += slot.header.kind == kind;
    return count;
  }
  Member member(uint8_t byte) {
    DeviceIdentity device = make_device(byte);
    return {device.device, device.key.public_key(), device.name};
  }
  std::map<Epoch, Secret> taken_by(uint8_t byte) {
    std::map<Epoch, Secret> keys;
    take_device_slots(head_, objects(), fixed_signing_key(byte), keys);
    return keys;
  }
  // Calls `during` once, before the n-th request; false: there were fewer.
  static FaultStore::Hook at_request(int n, bool& done, std::function<void()> during) {
    return [n, &done, during = std::move(during), seen = 0](const FaultCall&) mutable {
      if (++seen == n && !done) {
        done = true;
        during();
      }
      return Fault{};
    };
  }

  std::shared_ptr<MemoryStore> store_;
  std::optional<RecoveryKey> recovery_;
  VolumeHead head_;
  ObjectId second_;
};

TEST_F(KeyRotationTest, ANewEpochIsInEverySlot) {
  const std::vector<Bytes> before = objects();
  TAKE(Rotation done, rotate("first", {member(7), member(8)}));
  EXPECT_EQ(done.people, 3u);
  EXPECT_EQ(done.devices, 2u);
  expect_epochs(2);
  TAKE(VolumeSecrets opened, opened_by("second"));
  EXPECT_EQ(opened.epoch_keys.rbegin()->first, done.epoch);
  EXPECT_GT(done.epoch, 1u);
  EXPECT_EQ(taken_by(7).size(), 2u);
  EXPECT_EQ(taken_by(8).size(), 2u);
  EXPECT_EQ(taken_by(9).size(), 0u);
  for (const Bytes& old : before) EXPECT_FALSE(store_->snapshot().contains(slot_key(parse_slot_header(old)->id)));
  EXPECT_TRUE(store_->snapshot().contains(epoch_hint(done.epoch)));
  // What a device that is offline remembers opens what it always did, and a device that comes back learns the rest.
  EXPECT_EQ(unlock(head_, before, pass("second"))->epoch_keys.size(), 1u);
  EXPECT_EQ(unlock(head_, join_slots(head_, objects(), before), pass("second"))->epoch_keys.size(), 2u);
  // Labels stay.
  bool labelled = false;
  for (const CountingSlot& slot : counting_slots(head_, objects()))
    labelled = labelled || read_slot_note(slot.object, opened)->label == "two";
  EXPECT_TRUE(labelled);
  TAKE(Rotation again, rotate("second"));
  EXPECT_GT(again.epoch, done.epoch);
  EXPECT_EQ(again.devices, 2u);
  expect_epochs(3);
  EXPECT_FALSE(store_->snapshot().contains(epoch_hint(done.epoch)));
}

TEST_F(KeyRotationTest, CutOffAnywhereEverybodyOpensStill) {
  for (int n = 1;; ++n) {
    make();
    FaultStore failing(store_, nullptr);
    int seen = 0;
    failing.set_hook([&](const FaultCall&) {
      Fault f;
      if (++seen >= n) f.fail_before = Code::kUnavailable;
      return f;
    });
    auto rotated = rotate(failing, "first", {member(7)});
    for (std::string_view one : {"first", "second"}) EXPECT_GE(epochs_of(one), 1u) << n;
    EXPECT_TRUE(unlock(head_, objects(), *recovery_)) << n;
    // A device never gets keys that a person has not got.
    const auto taken = taken_by(7);
    for (const auto& [epoch, key] : taken)
      for (std::string_view one : {"first", "second"}) EXPECT_TRUE(opened_by(one)->epoch_keys.contains(epoch)) << n;
    if (rotated) break;
    ASSERT_LT(n, 1000);
    // Others can go on from there, and whoever began it clears up.
    TAKE(Rotation next, rotate("second", {member(7)}));
    for (std::string_view one : {"first", "second"}) EXPECT_TRUE(opened_by(one)->epoch_keys.contains(next.epoch)) << n;
    EXPECT_TRUE(taken_by(7).contains(next.epoch)) << n;
    ASSERT_OK(rotate("first", {member(7)}));
    EXPECT_EQ(slots_of(SlotKind::kPassphrase), 2u) << n;
    EXPECT_EQ(slots_of(SlotKind::kRecoveryKey), 1u) << n;
    EXPECT_EQ(slots_of(SlotKind::kDevice), 1u) << n;
    EXPECT_EQ(epochs_of("first"), epochs_of("second")) << n;
  }
}

TEST_F(KeyRotationTest, TheFailpointsAreBetweenTheSteps) {
  for (const char* at : {"key_rotation_people_put", "key_rotation_devices_put", "key_rotation_removed"}) {
    make();
    arm_failpoints(std::string(at) + "=error@1");
    EXPECT_CODE(Code::kIo, rotate("first", {member(7)}));
    arm_failpoints("");
    expect_epochs(2);
    EXPECT_EQ(taken_by(7).empty(), std::string_view(at) == "key_rotation_people_put") << at;
  }
}

// One rotation within another, at each of its requests.
TEST_F(KeyRotationTest, TwoAtTheSameMomentBothSucceed) {
  for (int n = 1;; ++n) {
    make();
    ASSERT_OK(rotate("first", {member(7)}));
    FaultStore other(store_, nullptr);
    bool done = false;
    other.set_hook(at_request(n, done, [&] { ASSERT_OK(rotate("second", {member(8)})); }));
    ASSERT_OK(rotate(other, "first", {member(7)}));
    if (!done) break;
    expect_epochs(4);
    EXPECT_EQ(taken_by(7).size(), 4u) << n;
    EXPECT_EQ(taken_by(8).size(), 4u) << n;
    // Whatever is left twice is cleared up by the next.
    ASSERT_OK(rotate("second"));
    expect_epochs(5);
    EXPECT_EQ(slots_of(SlotKind::kPassphrase), 2u) << n;
    EXPECT_EQ(slots_of(SlotKind::kDevice), 2u) << n;
  }
}

TEST_F(KeyRotationTest, WhatIsRemovedMeanwhileStaysRemoved) {
  auto remove_second = [this](ObjectStore& store) {
    auto all = read_slots(store);
    auto opened = all ? open_volume(head_, *all, pass("first")) : Result<OpenedVolume>(fail(all.error()));
    if (!opened) return Result<void>(fail(opened.error()));
    auto second = open_volume(head_, *all, pass("second"));
    if (!second) return Result<void>(fail(second.error()));
    return remove_slot(store, head_, opened->secrets, {}, second->slot);
  };
  for (int n = 1;; ++n) {
    make();
    FaultStore other(store_, nullptr);
    bool done = false;
    other.set_hook(at_request(n, done, [&] { ASSERT_OK(remove_second(*store_)); }));
    ASSERT_OK(rotate(other, "first"));
    if (!done) break;
    EXPECT_EQ(epochs_of("second"), 0u) << n;
    EXPECT_EQ(epochs_of("first"), 2u) << n;
  }
  for (int n = 1;; ++n) {
    make();
    FaultStore other(store_, nullptr);
    bool done = false;
    other.set_hook(at_request(n, done, [&] { ASSERT_OK(rotate("first")); }));
    // Whoever saw a slot that has gone meanwhile says so.
    auto removed = remove_second(other);
    if (!done) break;
    if (!removed) {
      EXPECT_EQ(removed.error().code(), Code::kNotFound) << removed.error().what();
      ASSERT_OK(remove_second(*store_));
    }
    EXPECT_EQ(epochs_of("second"), 0u) << n;
    EXPECT_EQ(epochs_of("first"), 2u) << n;
  }
}

// The way in that is counted must be another person's, not the same one's under another id.
TEST_F(KeyRotationTest, TheLastPersonsSlotStaysAlsoWhenItIsThereTwice) {
  arm_failpoints("key_rotation_devices_put=error@1");
  EXPECT_CODE(Code::kIo, rotate("first"));
  arm_failpoints("");
  TAKE(OpenedVolume opened, open_volume(head_, objects(), pass("first")));
  for (const CountingSlot& slot : counting_slots(head_, objects())) {
    bool firsts = open_passphrase_slot(slot.object, pass("first")).has_value();
    if (!firsts) (void)remove_slot(*store_, head_, opened.secrets, {}, slot.header.id);
  }
  EXPECT_CODE(Code::kNotPermitted, remove_slot(*store_, head_, opened.secrets, {}, opened.slot));
  EXPECT_EQ(epochs_of("first"), 2u);
}

TEST_F(KeyRotationTest, ADeviceTakesNothingThatTheStoreHasMade) {
  MemoryStore other;
  TAKE(VolumeSecrets theirs, create_volume(other, pass("x"), nullptr, kCheap));
  DeviceIdentity device = make_device(7);
  VolumeSecrets forged;
  forged.volume = head_.volume;
  forged.epoch_keys.emplace(99, Secret::random(32));
  forged.signing_secret = SigningKey::from_secret(theirs.signing_secret->secret().clone()).value();
  forged.signing_public = theirs.signing_public;
  Bytes planted = make_device_slot(forged, device.key.public_key()).value();
  store_->plant(slot_key(parse_slot_header(planted)->id), planted);
  EXPECT_TRUE(taken_by(7).empty());
  EXPECT_CODE(Code::kCorrupt, open_device_slot(planted, device.key, head_.volume, head_.signing_public));
}

TEST_F(KeyRotationTest, EpochsOfTheSameMomentHaveDifferentNumbers) {
  std::map<Epoch, Secret> keys;
  keys.emplace(1, Secret::random(32));
  std::set<Epoch> numbers;
  for (int i = 0; i < 20; ++i) numbers.insert(next_epoch(keys).value());
  EXPECT_GT(numbers.size(), 18u);
  for (Epoch n : numbers) {
    std::map<Epoch, Secret> more;
    more.emplace(n, Secret::random(32));
    EXPECT_GT(next_epoch(more).value(), *numbers.rbegin());
    KeyRing ring(more);
    for (Epoch other : numbers) EXPECT_TRUE(ring.may_come(other));
    EXPECT_FALSE(ring.may_come(0));
    EXPECT_FALSE(ring.may_come(1));
  }
  keys.emplace(UINT32_MAX - 5, Secret::random(32));
  EXPECT_CODE(Code::kTooLarge, next_epoch(keys));
}

}  // namespace
}  // namespace coffer::test
