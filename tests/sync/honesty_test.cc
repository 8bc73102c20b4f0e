// What a store can do to objects that devices have seen, or that others refer to: kind by kind, as the table in
// coffer-security(7) has it.
#include <algorithm>

#include "crypto/random.h"
#include "fs/sync/checkpoint.h"
#include "fs/sync/key_rotation.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/problems.h"
#include "tests/sync/checkpoint_fixture.h"
#include "tests/sync/device.h"
#include "tests/sync/memory_slots.h"
#include "tests/sync/veil.h"

namespace coffer::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string not_here_yet(Device& d) {
  std::string out;
  for (const Problem& p : d.sync_engine().status().not_here_yet) out += p.what + "\n";
  return out;
}

bool tells(Device& d, const std::string& what) { return d.problems().find(what) != std::string::npos; }

class HonestyTest : public WithCheckpoints {
 protected:
  static std::map<std::string, Bytes> only(std::map<std::string, Bytes> objects, const std::string& prefix) {
    std::erase_if(objects, [&](const auto& object) { return !object.first.starts_with(prefix); });
    return objects;
  }
  std::string newest_key(const LogTail& tail) const {
    return keys(log_prefix(tail.log) + std::to_string(tail.number) + "-").front();
  }
  static LogTail log_of(Device& seen_by, const std::string& name) {
    for (const LogTail& tail : seen_by.logs())
      if (tail.name == name) return tail;
    ADD_FAILURE() << "nothing of " << name;
    return {};
  }
  static std::string record_text(const LogTail& tail) {
    return "record " + std::to_string(tail.number) + " of " + tail.name + "'s log " + tail.log.str().substr(0, 8);
  }
};

// ---- Records, by a device that has applied them and still has their bytes

struct RecordAttack {
  const char* name;
  bool seen_at_start;  // by the listing of everything; else by the next poll
  // `victim`: the newest record's key; `before`: the store without that record.
  void (*act)(MemoryStore& store, const RecordName& victim, const std::map<std::string, Bytes>& before);
};

void roll_back_to(MemoryStore& store, const RecordName&, const std::map<std::string, Bytes>& before) {
  for (const auto& [key, object] : store.snapshot())
    if (!before.contains(key)) store.erase(key);
  for (const auto& [key, object] : before) store.plant(key, object);
}

const RecordAttack kRecordAttacks[] = {
    {"RolledBack", false, roll_back_to},
    {"DeletedWithItsHint", false,
     [](MemoryStore& store, const RecordName& victim, const auto&) {
       store.erase(victim.key());
       store.erase(victim.hint());
     }},
    {"DeletedAlone", true,
     [](MemoryStore& store, const RecordName& victim, const auto&) { store.erase(victim.key()); }},
    {"CutOff", true,
     [](MemoryStore& store, const RecordName& victim, const auto&) {
       const Bytes whole = store.snapshot().at(victim.key());
       store.plant(victim.key(), BytesView(whole).first(whole.size() / 2));
     }},
    {"Replaced", true,
     [](MemoryStore& store, const RecordName& victim, const auto&) { store.plant(victim.key(), noise(10'000, 1)); }},
};

class SeenRecord : public HonestyTest, public ::testing::WithParamInterface<RecordAttack> {};

TEST_P(SeenRecord, IsMissedToldAndPutBack) {
  auto a = device("a");
  auto b = device("b");
  a->write("one", text(1000, 1));
  settle({a.get(), b.get()});
  a->must_sync();
  const auto before = memory_->snapshot();
  a->write("two", text(1000, 2));
  a->must_sync();
  b->must_sync();
  a->stop(false);  // only b is left that has the record
  const LogTail tail = log_of(*b, "a");
  const RecordName victim = *parse_record_key(newest_key(tail));
  const auto whole = only(memory_->snapshot(), kLogPrefix);
  if (GetParam().seen_at_start) b->stop(false);
  GetParam().act(*memory_, victim, before);
  ASSERT_NE(only(memory_->snapshot(), kLogPrefix), whole);
  if (GetParam().seen_at_start) b->start();
  wait_until([&] { return tells(*b, record_text(tail)) && tells(*b, "put back"); });
  // Also what b wrote itself, and the tree of whoever comes new is whole.
  wait_until([&] { return only(memory_->snapshot(), kLogPrefix) == whole; });
  b->write("three", text(1000, 3));  // work goes on
  b->must_sync();
  auto c = device("c");
  expect_equal({b.get(), c.get()});
  EXPECT_EQ(c->tree().size(), 3u);
  EXPECT_EQ(c->problems(), "");
}

INSTANTIATE_TEST_SUITE_P(Attacks, SeenRecord, ::testing::ValuesIn(kRecordAttacks),
                         [](const auto& attack) { return std::string(attack.param.name); });

// In the middle of a log, which no hint speaks of.
TEST_F(HonestyTest, ARecordInTheMiddleOfALogIsMissedAtTheNextStart) {
  auto a = device("a");
  for (const char* name : {"one", "two", "three"}) {
    a->write(name, text(1000, 1));
    a->must_sync();
  }
  const LogTail tail = log_of(*a, "a");
  const auto whole = only(memory_->snapshot(), kLogPrefix);
  a->stop(false);
  const std::string middle = keys(log_prefix(tail.log) + "2-").front();
  memory_->erase(middle);
  a->start();
  wait_until([&] { return tells(*a, "record 2 of a's log " + tail.log.str().substr(0, 8)); });
  wait_until([&] { return only(memory_->snapshot(), kLogPrefix) == whole; });
}

// A store that shows one device everything but what it has seen: putting it back does not help, telling does.
TEST_F(HonestyTest, ARecordThatIsWithheldAfterItWasSeenIsTold) {
  auto a = device("a");
  auto veil = std::make_shared<Veil>(memory_);
  Device b(volume_, veil, "b");
  b.start();
  a->write("one", text(1000, 1));
  a->must_sync();
  b.must_sync();
  const LogTail tail = log_of(b, "a");
  veil->hide(newest_key(tail));
  b.restart();
  wait_until([&] { return tells(b, record_text(tail)); });
  b.write("two", text(1000, 2));
  b.must_sync();
  a->must_sync();
  EXPECT_TRUE(a->find("two"));
}

// Late is told from lost: what a listing does not show is asked for by its name.
TEST_F(HonestyTest, ALateListingIsNoLoss) {
  auto a = device("a");
  auto veil = std::make_shared<Veil>(memory_);
  Device b(volume_, veil, "b");
  b.start();
  a->write("one", text(1000, 1));
  a->must_sync();
  b.must_sync();
  const std::string key = newest_key(log_of(b, "a"));
  veil->hide_in_lists(key);
  veil->hide_in_lists(parse_record_key(key)->hint());
  b.restart();
  for (int i = 0; i < 10; ++i) b.must_sync();
  EXPECT_EQ(b.problems(), "");
  EXPECT_EQ(not_here_yet(b), "");
  EXPECT_EQ(veil->puts(key), 0u);
}

// Nor is a record one that was new a moment ago, when it is not to be had by its name either.
TEST_F(HonestyTest, WhatIsNewMayBeLateByItsNameToo) {
  auto a = device("a");
  SyncOptions patient = quick_options();
  patient.missing_after = seconds(600);
  auto veil = std::make_shared<Veil>(memory_);
  Device b(volume_, veil, "b", patient);
  b.start();
  a->write("one", text(1000, 1));
  a->must_sync();
  b.must_sync();
  const LogTail tail = log_of(b, "a");
  const std::string key = newest_key(tail);
  veil->hide(key);
  b.restart();
  wait_until([&] { return not_here_yet(b).find(record_text(tail)) != std::string::npos; });
  EXPECT_EQ(b.problems(), "");
  EXPECT_EQ(veil->puts(key), 0u);
  veil->show_all();
  wait_until([&] { return not_here_yet(b).empty(); });
  EXPECT_EQ(b.problems(), "");
}

// Records that this device never had (a checkpoint includes them): first they may be late, then they are missing, and when they
// come all is well, without waiting for the next hour.
TEST_F(HonestyTest, WhatNobodyHasIsLateThenVanished) {
  SyncOptions eager = quick_options();
  eager.checkpoint_from = 1;
  eager.checkpoint_look = milliseconds(20);
  auto a = device("a", eager);
  a->write("one", text(1000, 1));
  a->must_sync();
  wait_until([&] {
    return std::ranges::any_of(keys(kHintPrefix),
                               [](const auto& key) { return parse_checkpoint_hint(key).has_value(); });
  });
  a->stop();
  SyncOptions patient = quick_options();
  patient.missing_after = seconds(4);
  auto veil = std::make_shared<Veil>(memory_);
  Device b(volume_, veil, "b", patient);
  b.start();
  b.must_sync();
  const LogTail tail = log_of(b, "a");
  b.stop(false);
  const std::string key = keys(log_prefix(tail.log) + "1-").front();
  veil->hide(key);
  b.start();
  wait_until([&] { return not_here_yet(b).find("record 1 of a's log") != std::string::npos; });
  wait_until([&] {
    return tells(b, "record 1 of a's log " + tail.log.str().substr(0, 8) + "... was in the store and vanished");
  });
  EXPECT_EQ(not_here_yet(b), "");
  EXPECT_EQ(veil->puts(key), 0u);
  veil->show_all();
  wait_until([&] { return b.problems().empty(); });
}

// ---- Records that are new to a device

TEST_F(HonestyTest, AWithheldRecordThatAnotherQuotesIsLateThenMissing) {
  auto a = device("a");
  auto c = device("c");
  SyncOptions patient = quick_options();
  patient.missing_after = seconds(4);
  auto veil = std::make_shared<Veil>(memory_);
  Device b(volume_, veil, "b", patient);
  b.start();
  settle({a.get(), c.get(), &b});
  b.stop(false);  // it would look for hints
  a->write("of a", text(1000, 1));
  a->must_sync();
  const LogTail tail = log_of(*a, "a");
  const RecordName victim = *parse_record_key(newest_key(tail));
  c->must_sync();
  c->write("of c", text(1000, 2));  // on top of it
  c->must_sync();
  veil->hide(victim.key());
  veil->hide(victim.hint());
  b.start();
  wait_until([&] { return not_here_yet(b).find("of a's log " + tail.log.str().substr(0, 8)) != std::string::npos; });
  wait_until([&] { return tells(b, "of a's log " + tail.log.str().substr(0, 8)); });
  EXPECT_FALSE(b.find("of c"));    // it quotes what is missing
  b.write("of b", text(1000, 3));  // and all else goes on
  b.must_sync();
  EXPECT_TRUE(a->sync() && a->find("of b"));
  veil->show_all();
  wait_until([&] { return b.find("of c").has_value() && b.problems().empty(); });
}

TEST_F(HonestyTest, AReplayedRecordIsRefusedInANewPlace) {
  auto a = device("a"), b = device("b");
  a->write("one", text(1000, 1));
  settle({a.get(), b.get()});
  a->stop(false);
  const LogTail tail = log_of(*b, "a");
  const RecordName next{tail.log, tail.number + 1, 7};
  memory_->plant(next.key(), memory_->snapshot().at(newest_key(tail)));
  memory_->plant(next.hint(), {});
  wait_until([&] {
    return tells(
        *b, "record " + std::to_string(next.number) + " of a's log " + tail.log.str().substr(0, 8) + "... is refused");
  });
  b->write("two", text(1000, 1));
  b->must_sync();
}

// Two records of one number, by a copy of the author's machine or of its key, each shown to one device: as soon as one of the
// two sees what the other has written since.
TEST_F(HonestyTest, AForkedLogIsToldWhenTheTwoViewsMeet) {
  auto a = device("a"), b = device("b"), c = device("c");
  settle({a.get(), b.get(), c.get()});
  a->write("x", text(100, 1));
  settle({a.get(), b.get(), c.get()});
  a->stop(false);
  const LogTail tail = log_of(*b, "a");
  auto fork = [&](int64_t when) {
    Record record;
    record.stamp = tail.stamp + 1;
    record.previous = tail.hash;
    record.when = {when};
    record.acknowledgement = true;
    const EpochKeys epoch(1, volume_.key);
    auto sealed = seal_record(record, {}, volume_.id, tail.log, tail.number + 1, epoch, a->identity().key);
    EXPECT_OK(sealed);
    return sealed->object;
  };
  const RecordName one{tail.log, tail.number + 1, 1}, other{tail.log, tail.number + 1, 2};
  b->stop(false);
  memory_->plant(one.key(), fork(1));
  memory_->plant(one.hint(), {});
  c->must_sync();
  c->write("of c", text(100, 2));
  c->must_sync();
  const std::string log_of_c = log_of(*c, "c").log.str();
  c->stop(false);
  // b is shown the other one.
  const auto shown_to_c = memory_->snapshot();
  for (const auto& [key, object] : shown_to_c)
    if (key == one.key() || key == one.hint() || key.find(log_of_c) != std::string::npos) memory_->erase(key);
  memory_->plant(other.key(), fork(2));
  memory_->plant(other.hint(), {});
  b->start();
  b->must_sync();
  EXPECT_EQ(log_of(*b, "a").number, tail.number + 1);
  for (const auto& [key, object] : shown_to_c) memory_->plant(key, object);
  wait_until([&] {
    return tells(*b,
                 "it quotes another record " + std::to_string(tail.number + 1) + " of a's log than this device has");
  });
  EXPECT_FALSE(b->find("of c"));
  b->write("of b", text(100, 3));
  b->must_sync();
}

// ---- Hints

// A listing that does not show our own hint is answered by putting it again, ever more seldom.
TEST_F(HonestyTest, AHintThatIsListedLateIsNotPutAgainAllTheTime) {
  auto veil = std::make_shared<Veil>(memory_);
  Device a(volume_, veil, "a");
  a.start();
  a.write("x", text(100, 1));
  a.must_sync();
  const std::string hint = keys(kHintPrefix).front();
  const size_t puts = veil->puts(hint), lists = veil->lists();
  veil->hide_in_lists(hint);
  wait_until([&] { return veil->puts(hint) > puts && veil->lists() >= lists + 40; });
  EXPECT_LT(veil->puts(hint) - puts, 10u);
  EXPECT_EQ(a.problems(), "");
}

// ---- The volume's head, slots, removals and revocations

class HonestKeysTest : public HonestyTest {
 protected:
  HonestKeysTest() : head_{volume_.id, volume_.signing.public_key()} {
    memory_->plant(kVolumeKey, encode(head_));
    for (const char* word : {"one", "two"}) {
      Bytes slot = make_passphrase_slot(volume_.secrets(), pass(word), kCheap).value();
      slots_.push_back(parse_slot_header(slot)->id);
      memory_->plant(slot_key(slots_.back()), slot);
    }
    removed_ = memory_->snapshot().at(slot_key(slots_[1]));
    EXPECT_OK(remove_slot(*memory_, head_, volume_.secrets(), {}, slots_[1]));
    Revocation revocation;
    revocation.device = random_id<DeviceId>();
    EXPECT_OK(put_revocation(*memory_, head_, volume_.secrets(), {}, revocation));
    SyncOptions options = quick_options();
    options.slot_copies = &copies_;
    a_ = device("a", options);
    wait_until([&] { return copies_.kept().size() == 3; });
  }
  ~HonestKeysTest() override { a_->stop(false); }

  std::string revocation() const {
    for (const std::string& key : keys(kSlotPrefix))
      if (key.ends_with(".revoked")) return key;
    return "";
  }
  bool is_there(const std::string& key, const Bytes& whole) const {
    auto objects = memory_->snapshot();
    return objects.contains(key) && objects.at(key) == whole;
  }
  // The next contact, without waiting for an hour.
  void look() { memory_->plant(epoch_hint(epoch_++), {}); }

  const VolumeHead head_;
  std::vector<ObjectId> slots_;
  Bytes removed_;
  MemorySlots copies_;
  std::unique_ptr<Device> a_;
  Epoch epoch_ = 77;
};

TEST_F(HonestKeysTest, WhateverBecomesOfOneItIsToldAndPutBack) {
  const std::map<std::string, std::string> kinds = {
      {std::string(kVolumeKey), "the volume's head"},
      {slot_key(slots_[0]), "key slot " + slots_[0].str().substr(0, 8)},
      {slot_removal_key(slots_[1]), "the removal of key slot " + slots_[1].str().substr(0, 8)},
      {revocation(), "the revocation"},
  };
  for (const auto& [key, told] : kinds) {
    const Bytes whole = memory_->snapshot().at(key);
    auto expect_put_back = [&](const std::string& how) {
      SCOPED_TRACE(key + " " + how);
      look();
      wait_until([&] { return is_there(key, whole); });
      wait_until([&] { return tells(*a_, told) && tells(*a_, "put back"); });
    };
    memory_->erase(key);
    expect_put_back("deleted");
    memory_->plant(key, BytesView(whole).first(whole.size() / 2));
    expect_put_back("cut off");
    memory_->plant(key, noise(whole.size(), 1));
    expect_put_back("replaced");
  }
  // The next look that finds everything takes it back.
  look();
  wait_until([&] { return a_->problems().empty(); });
}

// All of slot/ as it was before: the removed slot is there again, its removal is not.
TEST_F(HonestKeysTest, ARemovedSlotThatIsShownAgainDoesNotCount) {
  memory_->erase(slot_removal_key(slots_[1]));
  memory_->plant(slot_key(slots_[1]), removed_);
  look();
  wait_until([&] { return memory_->get(slot_removal_key(slots_[1]), 4096).has_value(); });
  EXPECT_CODE(Code::kDenied, unlock(head_, read_slots(*memory_).value(), pass("two")));
}

TEST_F(HonestKeysTest, TheHeadOfAnotherVolumeIsToldAndLeftAlone) {
  const Bytes other = encode(VolumeHead{random_id<VolumeId>(), fixed_signing_key(1).public_key()});
  memory_->plant(kVolumeKey, other);
  look();
  wait_until([&] { return tells(*a_, "another volume"); });
  EXPECT_EQ(memory_->get(kVolumeKey, 4096).value(), other);
}

// It may be a disk that is not mounted.
TEST_F(HonestKeysTest, APlaceWithoutTheVolumeIsNotFilled) {
  for (const std::string& key : keys("")) memory_->erase(key);
  look();
  wait_until([&] { return tells(*a_, "nothing of the volume's head and key slots"); });
  EXPECT_FALSE(memory_->get(kVolumeKey, 4096));
  EXPECT_TRUE(keys(kSlotPrefix).empty());
}

// Where records have gone, slots are looked at without waiting for the hour.
TEST_F(HonestKeysTest, ARolledBackStoreIsSeenByItsHintsAndPutRight) {
  auto b = device("b");
  b->write("one", text(1000, 1));
  settle({b.get(), a_.get()});
  auto before = memory_->snapshot();
  before.erase(revocation());
  b->write("two", text(1000, 2));
  settle({b.get(), a_.get()});
  b->stop(false);
  auto whole = memory_->snapshot();
  roll_back_to(*memory_, {}, before);
  wait_until([&] { return only(memory_->snapshot(), kLogPrefix) == only(whole, kLogPrefix); });
  wait_until([&] { return only(memory_->snapshot(), kSlotPrefix) == only(whole, kSlotPrefix); });
}

// ---- Packs and checkpoints

TEST_F(HonestyTest, AMissingPackIsLateThenMissing) {
  auto a = device("a");
  a->write("big", noise(300'000, 1));
  a->must_sync();
  const std::string pack = keys(kObjectPrefix).front();
  const Bytes whole = memory_->snapshot().at(pack);
  SyncOptions patient = quick_options();
  patient.missing_after = seconds(4);
  patient.fetch_timeout = milliseconds(300);
  auto b = device("b", patient);
  memory_->erase(pack);
  EXPECT_CODE(Code::kUnavailable, b->read("big"));
  EXPECT_NE(not_here_yet(*b).find(pack), std::string::npos) << not_here_yet(*b);
  EXPECT_EQ(b->problems(), "");
  wait_until([&] { return tells(*b, "the object " + pack + " is not in the store"); });
  EXPECT_EQ(not_here_yet(*b), "");
  b->write("else", text(100, 1));
  b->must_sync();
  memory_->plant(pack, whole);
  EXPECT_EQ(b->read("big").value(), noise(300'000, 1));
  EXPECT_EQ(b->problems(), "");
}

using HonestCheckpointsTest = HonestyTest;

// What the store has lost is not built upon: the next checkpoint is whole.
TEST_F(HonestCheckpointsTest, ALostSegmentIsWrittenAnewWithTheNext) {
  auto a = device("a", eager());
  a->write("one", text(1000, 1));
  for (int i = 0; i < 8000; ++i) {  // several segments, of which few change afterwards
    model::NewInode what;
    what.mode = 0644;
    ASSERT_OK(a->replica().make(model::kRootIno, "file number " + std::to_string(i), what));
  }
  wait_for_checkpoint(*a);
  const CheckpointName first = hints().front();
  ASSERT_GT(open(first).segments.size(), 2u);
  for (const SegmentInfo& s : open(first).segments) memory_->erase(pack_key(s.id));
  for (uint64_t i = 0; i < 40 && hints().front() == first; ++i) {
    a->write("more", text(1000, i));
    a->must_sync();
    std::this_thread::sleep_for(milliseconds(100));
  }
  ASSERT_NE(hints().front(), first);
  for (const SegmentInfo& s : open(hints().front()).segments) EXPECT_FALSE(keys(pack_key(s.id)).empty());
  a->stop();
  for (const std::string& key : keys(kLogPrefix)) memory_->erase(key);
  auto b = device("b");  // from the checkpoint alone
  EXPECT_TRUE(b->find("one"));
}

// A segment that comes late has been no problem.
TEST_F(HonestCheckpointsTest, ALateSegmentIsForgottenWhenItComes) {
  auto a = device("a", eager());
  a->write("one", text(1000, 1));
  a->must_sync();
  wait_until([&] { return !hints().empty(); });
  a->stop();
  auto veil = std::make_shared<Veil>(memory_);
  veil->hide(pack_key(open(hints().front()).segments.front().id));
  SyncOptions patient = quick_options();
  patient.missing_after = seconds(4);
  Device b(volume_, veil, "b", patient);
  b.start();
  EXPECT_TRUE(b.find("one"));  // by the logs
  EXPECT_EQ(b.problems(), "");
  EXPECT_NE(not_here_yet(b).find("segment"), std::string::npos);
  wait_until([&] { return tells(b, "is not in the store"); });
  veil->show_all();
  wait_until([&] { return b.problems().empty(); });
  EXPECT_EQ(not_here_yet(b), "");
}

// ---- What is said about a store in trouble

TEST(StoreAdvice, IsToThePoint) {
  auto advice = [](const std::string& what) { return store_advice(Error(Code::kUnavailable, what)); };
  EXPECT_NE(advice("cannot connect (refused)").find("Check the network"), std::string::npos);
  for (const char* answer : {"the server answers 500", "put x: the server answers 503 (SlowDown): trouble",
                             "the server answers 429 (slow down): too many requests"})
    EXPECT_EQ(advice(answer).find("Check the network"), std::string::npos) << answer;
  EXPECT_NE(advice("the server answers 429").find("fewer requests"), std::string::npos);
}

}  // namespace
}  // namespace coffer::test
