#include "fs/sync/key_slots.h"

#include <atomic>
#include <thread>

#include "base/failpoint.h"
#include "crypto/random.h"
#include "fs/sync/object_keys.h"
#include "remote/fault_store.h"
#include "remote/memory_store.h"
#include "tests/sync/fixture.h"

namespace coffer::test {
namespace {

class KeySlotsTest : public SyncUnitTest {
 protected:
  void SetUp() override {
    auto made = create_volume(*store_, pass("first"), nullptr, kCheap, {"one", {1}, "a"});
    ASSERT_TRUE(made);
    secrets_ = std::move(*made);
    head_ = {secrets_.volume, secrets_.signing_public};
    first_ = header(objects().at(0)).id;
  }
  std::vector<Bytes> objects() { return read_slots(*store_).value_or(std::vector<Bytes>{}); }
  static SlotHeader header(const Bytes& object) { return parse_slot_header(object).value(); }
  // A slot of this passphrase, put into the store.
  ObjectId add(std::string_view passphrase) {
    Bytes slot = make_passphrase_slot(secrets_, pass(passphrase), kCheap).value();
    EXPECT_OK(add_slot(*store_, slot, [&](BytesView o) { return open_passphrase_slot(o, pass(passphrase)); }));
    return header(slot).id;
  }
  Result<void> remove(const ObjectId& id, const std::vector<Bytes>& kept = {}) {
    return remove_slot(*store_, head_, secrets_, kept, id);
  }
  bool opens(std::string_view passphrase) { return opens(passphrase, objects()); }
  bool opens(std::string_view passphrase, const std::vector<Bytes>& of) {
    return unlock(head_, of, pass(passphrase)).has_value();
  }

  std::shared_ptr<MemoryStore> store_ = std::make_shared<MemoryStore>();
  VolumeSecrets secrets_;
  VolumeHead head_;
  ObjectId first_;
};

TEST_F(KeySlotsTest, SeveralPassphrasesOpenAndARemovedOneDoesNot) {
  ObjectId second = add("second");
  EXPECT_TRUE(opens("first"));
  EXPECT_TRUE(opens("second"));
  TAKE(OpenedVolume opened, open_volume(head_, objects(), pass("second")));
  EXPECT_EQ(opened.slot, second);
  EXPECT_OK(remove(first_));
  EXPECT_FALSE(opens("first"));
  EXPECT_TRUE(opens("second"));
  EXPECT_FALSE(store_->snapshot().contains(slot_key(first_)));
  EXPECT_CODE(Code::kNotFound, remove(first_));
}

TEST_F(KeySlotsTest, TheLastOneStays) {
  EXPECT_CODE(Code::kNotPermitted, remove(first_));
  EXPECT_TRUE(opens("first"));
  // Neither a slot that the store has planted, nor one that was removed and shown again, is a way in.
  MemoryStore other;
  ASSERT_TRUE(create_volume(other, pass("theirs"), nullptr, kCheap));
  for (auto& [key, object] : other.snapshot())
    if (key.starts_with(kSlotPrefix)) store_->plant(key, object);
  EXPECT_CODE(Code::kNotPermitted, remove(first_));
  ObjectId second = add("second");
  Bytes replayed = store_->snapshot().at(slot_key(second));
  EXPECT_OK(remove(second));
  std::vector<Bytes> kept = objects();
  store_->erase(slot_removal_key(second));
  store_->plant(slot_key(second), replayed);
  EXPECT_CODE(Code::kNotPermitted, remove(first_, kept));
  EXPECT_TRUE(opens("first"));
}

TEST_F(KeySlotsTest, ADeviceThatHasSeenTheRemovalIsNotFooled) {
  ObjectId second = add("second");
  const auto before = store_->snapshot();
  std::vector<Bytes> kept = objects();
  EXPECT_OK(remove(second));
  kept = join_slots(head_, objects(), kept);
  EXPECT_FALSE(opens("second", kept));
  // The store shows everything as it was.
  store_->erase(slot_removal_key(second));
  for (auto& [key, object] : before) store_->plant(key, object);
  EXPECT_TRUE(opens("second"));  // a new machine cannot know
  kept = join_slots(head_, objects(), kept);
  EXPECT_FALSE(opens("second", kept));
  EXPECT_TRUE(opens("first", kept));
  // And the removal comes back for the others.
  TAKE(std::vector<std::string> put, put_back_slots(*store_, head_, kept, objects()));
  EXPECT_EQ(put, std::vector{slot_removal_key(second)});
  EXPECT_FALSE(opens("second"));
}

TEST_F(KeySlotsTest, WhatVanishedIsRememberedAndPutBack) {
  ObjectId second = add("second");
  std::vector<Bytes> kept = objects();
  store_->erase(slot_key(second));
  std::vector<Bytes> joined = join_slots(head_, objects(), kept);
  EXPECT_TRUE(opens("second", joined));
  TAKE(std::vector<std::string> put, put_back_slots(*store_, head_, joined, objects()));
  EXPECT_EQ(put, std::vector{slot_key(second)});
  EXPECT_TRUE(opens("second"));
  TAKE(put, put_back_slots(*store_, head_, joined, objects()));
  EXPECT_TRUE(put.empty());
}

TEST_F(KeySlotsTest, PlantedSlotsAreNotRemembered) {
  MemoryStore other;
  ASSERT_TRUE(create_volume(other, pass("first"), nullptr, kCheap));
  std::vector<Bytes> shown = objects(), foreign = read_slots(other).value();
  shown.insert(shown.end(), foreign.begin(), foreign.end());
  shown.push_back(make_slot_removal(head_.volume, SigningKey::generate(), first_));
  shown.push_back(noise(100, 1));
  EXPECT_EQ(counting_slots(head_, shown).size(), 1u);
  EXPECT_EQ(join_slots(head_, shown, {}).size(), 1u);
  EXPECT_TRUE(opens("first", shown));
}

// A removal that nobody followed up: the process died between its two steps.
TEST_F(KeySlotsTest, ACutOffRemovalIsFinishedByTheNextChange) {
  ObjectId second = add("second"), third = add("third");
  arm_failpoints("key_slot_removal_put=error@1");
  EXPECT_CODE(Code::kIo, remove(second));
  arm_failpoints("");
  EXPECT_FALSE(opens("second"));
  EXPECT_TRUE(store_->snapshot().contains(slot_key(second)));
  EXPECT_OK(remove(third));
  EXPECT_FALSE(store_->snapshot().contains(slot_key(second)));
  EXPECT_TRUE(opens("first"));
}

// Two devices, each of which removes the other's only slot: after the first step of both, neither may go on.
TEST_F(KeySlotsTest, TwoThatRemoveEachOthersSlotLeaveOne) {
  ObjectId second = add("second");
  FaultStore other(store_, nullptr);
  bool done = false;
  other.set_hook([&](const FaultCall& call) {
    // The whole of the other device's removal, between our first look and our own.
    if (call.operation == StoreOperation::kPut && !done) {
      done = true;
      EXPECT_OK(remove(first_));
    }
    return Fault{};
  });
  EXPECT_CODE(Code::kBusy, remove_slot(other, head_, secrets_, {}, second));
  EXPECT_TRUE(opens("second"));
  EXPECT_FALSE(opens("first"));
  // It stays so whatever else is added and removed.
  ObjectId third = add("third");
  EXPECT_TRUE(opens("second"));
  EXPECT_OK(remove(third));
  EXPECT_TRUE(opens("second"));
}

TEST_F(KeySlotsTest, WhenBothAreCutOffTheRemovalsDoNotCount) {
  ObjectId second = add("second");
  store_->plant(slot_removal_key(first_), make_slot_removal(head_.volume, *secrets_.signing_secret, first_));
  store_->plant(slot_removal_key(second), make_slot_removal(head_.volume, *secrets_.signing_secret, second));
  EXPECT_TRUE(opens("first"));
  EXPECT_TRUE(opens("second"));
}

TEST_F(KeySlotsTest, ManyDevicesAddAndRemoveAtOnce) {
  constexpr int kDevices = 4;
  std::vector<ObjectId> old;
  for (int i = 0; i < kDevices; ++i) old.push_back(add("old" + std::to_string(i)));
  std::vector<std::thread> devices;
  std::atomic<int> failed = 0;
  for (int i = 0; i < kDevices; ++i) {
    devices.emplace_back([&, i] {
      add("new" + std::to_string(i));
      if (!remove(old[static_cast<size_t>(i)])) ++failed;
    });
  }
  for (auto& d : devices) d.join();
  EXPECT_EQ(failed, 0);
  for (int i = 0; i < kDevices; ++i) {
    EXPECT_TRUE(opens("new" + std::to_string(i)));
    EXPECT_FALSE(opens("old" + std::to_string(i)));
  }
  EXPECT_TRUE(opens("first"));
}

TEST_F(KeySlotsTest, ASlotThatDoesNotComeBackWholeIsNoSlot) {
  FaultStore losing(store_, [&](const FaultCall& call) {
    Fault f;
    f.hide_for = call.operation == StoreOperation::kPut ? 1000 : 0;
    return f;
  });
  Bytes slot = make_passphrase_slot(secrets_, pass("second"), kCheap).value();
  auto open = [](BytesView o) { return open_passphrase_slot(o, pass("second")); };
  EXPECT_CODE(Code::kNotFound, add_slot(losing, slot, open));
  auto wrong = [](BytesView o) { return open_passphrase_slot(o, pass("third")); };
  EXPECT_CODE(Code::kDenied, add_slot(*store_, slot, wrong));
  EXPECT_FALSE(store_->snapshot().contains(slot_key(header(slot).id)));
  EXPECT_TRUE(opens("first"));
}

TEST_F(KeySlotsTest, SecretsFromElsewhereAreHeldAgainstTheSlots) {
  auto current = [&](auto change) -> Result<bool> {
    TRY(VolumeSecrets s, unlock(head_, objects(), pass("first")));
    s.signing_secret.reset();
    change(s);
    return secrets_are_current(head_, objects(), s);
  };
  EXPECT_TRUE(current([](VolumeSecrets&) {}).value());
  EXPECT_FALSE(current([](VolumeSecrets& s) { s.volume.bytes[0] ^= 1; }).value());
  EXPECT_FALSE(current([](VolumeSecrets& s) { s.signing_public.bytes[0] ^= 1; }).value());
  EXPECT_FALSE(current([](VolumeSecrets& s) { s.epoch_keys.at(1) = Secret::random(32); }).value());
  EXPECT_FALSE(current([](VolumeSecrets& s) { s.epoch_keys.emplace(2, Secret::random(32)); }).value());
  // A new epoch has begun.
  secrets_.epoch_keys.emplace(2, Secret::random(32));
  add("second");
  EXPECT_FALSE(current([](VolumeSecrets&) {}).value());
}

TEST_F(KeySlotsTest, NamesAreReadBack) {
  ObjectId id = random_id<ObjectId>();
  EXPECT_EQ(parse_slot_key(slot_key(id)), (SlotName{id, false}));
  EXPECT_EQ(parse_slot_key(slot_removal_key(id)), (SlotName{id, true}));
  for (const char* odd : {"slot/", "slot/README", "slot/.removed", "slots/00", "slot/00.removed"})
    EXPECT_FALSE(parse_slot_key(odd)) << odd;
  std::string upper = slot_key(id);
  upper.back() = 'A';
  EXPECT_FALSE(parse_slot_key(upper));
}

}  // namespace
}  // namespace coffer::test
