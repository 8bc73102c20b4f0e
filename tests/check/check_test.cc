// A catalogue of what can be wrong in a store, each with its own words.
#include <algorithm>

#include "fs/check/rebuild.h"
#include "fs/check/store_check.h"
#include "fs/check/store_repair.h"
#include "fs/sync/key_slots.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/record_archive.h"
#include "tests/sync/device.h"

namespace coffer::test {
namespace {

using std::chrono::milliseconds;

// A volume of two devices with all there is: slots and a removal, records that carry files and such that do not, packs, a
// checkpoint in the middle of the logs, hints.
class CheckTest : public DevicesTest {
 protected:
  void SetUp() override {
    secrets_ = volume_.secrets();
    head_ = {secrets_.volume, secrets_.signing_public};
    ASSERT_OK(memory_->put(kVolumeKey, encode(head_)));
    for (int i = 0; i < 3; ++i) {
      TAKE(Bytes slot, make_recovery_slot(secrets_, RecoveryKey::generate()));
      TAKE(SlotHeader header, parse_slot_header(slot));
      slot_ids_.push_back(header.id);
      ASSERT_OK(memory_->put(slot_key(header.id), slot));
    }
    ASSERT_OK(remove_slot(*memory_, head_, secrets_, {}, slot_ids_[2]));
    TAKE(slots_, read_slots(*memory_));

    SyncOptions eager = quick_options();
    eager.publish_after = eager.publish_within = std::chrono::seconds(100);
    eager.checkpoint_from = 1;
    eager.checkpoint_look = milliseconds(20);
    a_ = device("a", eager);
    a_->mkdir("dir");
    a_->write("dir/small", text(1000, 1));
    a_->must_sync();
    a_->write("dir/big", noise(1 << 20, 2));
    a_->write("dir/other", noise(300'000, 3));
    a_->must_sync();
    wait_until([&] { return !checkpoints().empty(); });
    a_->stop(false);
    a_ = nullptr;  // it writes no further checkpoint
    b_ = device("b");
    b_->write("later", text(2000, 4));
    b_->must_sync();
    b_->write("dir/big of b", noise(1 << 20, 5));
    b_->must_sync();
    b_->write("last", text(2000, 6));
    b_->must_sync();
    tails_ = b_->logs();
    tree_ = b_->tree();
    b_->stop(false);
  }

  std::vector<CheckpointName> checkpoints() const {
    std::vector<CheckpointName> out;
    for (const std::string& key : keys(kHintPrefix))
      if (auto name = parse_checkpoint_hint(key)) out.push_back(*name);
    return out;
  }

  CheckOutcome check(const Remembered& remembered = {}, CheckOptions options = {}) {
    TempDir dir;
    TestVolume* volume = &volume_;
    Replica::Keys keys;
    keys.volume = volume->id;
    keys.epochs = std::make_unique<KeyRing>(1, volume->key);
    keys.local = std::make_unique<LocalKeys>(volume->key, Bytes(32, 3));
    auto replica = Replica::open(dir.path(), std::move(keys), {});
    EXPECT_OK(replica);
    auto outcome = check_store(*memory_, secrets_, remembered, **replica, std::move(options));
    EXPECT_OK(outcome);
    return outcome ? std::move(*outcome) : CheckOutcome();
  }
  Remembered remembered() const { return {head_, slots_, tails_}; }

  // The log of the device called so, and the key of its record.
  const LogTail& log(const std::string& name) const {
    for (const LogTail& tail : tails_)
      if (tail.name == name) return tail;
    ADD_FAILURE() << "no log of " << name;
    return tails_.front();
  }
  std::string record(const std::string& name, uint64_t number) const {
    for (const std::string& key : keys(log_prefix(log(name).log)))
      if (parse_record_key(key)->number == number) return key;
    return "";
  }
  // Packs, by the files that are in them: none of the checkpoint's objects.
  std::vector<std::string> packs() const {
    std::vector<std::string> out;
    EpochKeys keys_of_one(1, volume_.key);
    for (const std::string& key : keys(kObjectPrefix)) {
      auto object = memory_->get(key, 64 << 20);
      if (object && read_pack_index(*object, *parse_pack_key(key), volume_.id, keys_of_one)) out.push_back(key);
    }
    return out;
  }
  std::string segment() const {
    auto root = root_object();
    EpochKeys one(1, volume_.key);
    auto opened = open_checkpoint(
        root, volume_.id, checkpoints().front().root, [&](Epoch) { return &one; }, secrets_.signing_public);
    EXPECT_OK(opened);
    return pack_key(opened->segments.front().id);
  }
  Bytes root_object() const { return *memory_->get(pack_key(checkpoints().front().root), 64 << 20); }

  void change(const std::string& key, const std::function<void(Bytes&)>& how) {
    auto object = memory_->get(key, 64 << 20);
    ASSERT_OK(object);
    how(*object);
    memory_->plant(key, *object);
  }
  void flip(const std::string& key) {
    change(key, [](Bytes& b) { b[60] ^= 1; });
  }
  void cut(const std::string& key) {
    change(key, [](Bytes& b) { b.resize(b.size() * 2 / 3 - 1); });
  }
  void exchange(const std::string& key, const std::string& with) {
    auto a = memory_->get(key, 64 << 20), b = memory_->get(with, 64 << 20);
    ASSERT_TRUE(a && b);
    memory_->plant(key, *b);
    memory_->plant(with, *a);
  }

  static const Damage* find(const CheckOutcome& outcome, const std::string& object) {
    for (const Damage& d : outcome.damages)
      if (d.object == object) return &d;
    return nullptr;
  }
  void expect(const CheckOutcome& outcome, const std::string& object, Trouble trouble, const std::string& thing,
              const std::string& words, std::vector<std::string> paths = {}) {
    const Damage* found = find(outcome, object);
    ASSERT_TRUE(found) << object << " is not told; " << list(outcome);
    EXPECT_EQ(to_string(found->trouble), to_string(trouble)) << found->what;
    EXPECT_EQ(found->thing, thing);
    EXPECT_NE(found->what.find(words), std::string::npos) << found->what;
    EXPECT_FALSE(found->todo.empty());
    for (const std::string& path : paths)
      EXPECT_NE(std::ranges::find(found->paths, path), found->paths.end()) << path << ": " << found->what;
  }
  static std::string list(const CheckOutcome& outcome) {
    std::string out;
    for (const Damage& d : outcome.damages)
      out += std::string(to_string(d.trouble)) + " " + d.object + ": " + d.what + "\n";
    return out;
  }

  VolumeSecrets secrets_;
  VolumeHead head_;
  std::vector<ObjectId> slot_ids_;
  std::vector<Bytes> slots_;
  std::vector<LogTail> tails_;
  std::map<std::string, std::string> tree_;
  std::unique_ptr<Device> a_, b_;
};

TEST_F(CheckTest, AWholeVolumeHasNoFault) {
  CheckOutcome outcome = check(remembered());
  EXPECT_EQ(outcome.faults(), 0u) << list(outcome);
  EXPECT_GE(outcome.checkpoints, 1u);
  EXPECT_GE(outcome.records, 5u);
  EXPECT_EQ(outcome.packs_read, outcome.packs);
  EXPECT_GE(outcome.packs, 2u);
  EXPECT_EQ(outcome.files, 6u);
}

TEST_F(CheckTest, Head) {
  cut(kVolumeKey);
  expect(check(), kVolumeKey, Trouble::kCutOff, "head", "cut off");
  memory_->plant(kVolumeKey, encode(VolumeHead{secrets_.volume, fixed_signing_key(1).public_key()}));
  expect(check(), kVolumeKey, Trouble::kExchanged, "head", "another volume");
  memory_->plant(kVolumeKey, text(100, 1));
  expect(check(), kVolumeKey, Trouble::kDamaged, "head", "not written by coffer");
  memory_->erase(kVolumeKey);
  expect(check(), kVolumeKey, Trouble::kMissing, "head", "not there");
}

TEST_F(CheckTest, Slots) {
  const std::string one = slot_key(slot_ids_[0]), other = slot_key(slot_ids_[1]);
  const auto whole = memory_->snapshot();
  flip(one);
  expect(check(), one, Trouble::kDamaged, "slot", "refused");
  memory_->plant(one, whole.at(one));
  cut(one);
  expect(check(remembered()), one, Trouble::kCutOff, "slot", "cut off");
  memory_->plant(one, whole.at(other));
  expect(check(), one, Trouble::kExchanged, "slot", "the object is slot " + slot_ids_[1].str());
  memory_->erase(one);
  EXPECT_EQ(check().faults(), 0u) << "nobody remembers it";
  expect(check(remembered()), one, Trouble::kMissing, "slot", "seen by this device");
  memory_->erase(other);
  expect(check(), kSlotPrefix, Trouble::kMissing, "slot", "no key slot that a person can open");
}

TEST_F(CheckTest, SlotRemovals) {
  const std::string removal = slot_removal_key(slot_ids_[2]);
  const auto whole = memory_->snapshot();
  flip(removal);
  expect(check(), removal, Trouble::kDamaged, "removal", "refused");
  memory_->plant(removal, whole.at(removal));
  cut(removal);
  expect(check(remembered()), removal, Trouble::kCutOff, "removal", "cut off");
  const std::string wrong = slot_removal_key(slot_ids_[0]);
  memory_->plant(removal, whole.at(removal));
  memory_->plant(wrong, whole.at(removal));
  expect(check(), wrong, Trouble::kExchanged, "removal", "removes slot " + slot_ids_[2].str());
  memory_->erase(wrong);
  memory_->erase(removal);
  expect(check(remembered()), removal, Trouble::kMissing, "removal", "seen by this device");
}

// Shows a log as it was a moment before to who lists all of them, as a list in many parts may.
class TornList : public MemoryStore {
 public:
  TornList(const MemoryStore& store, std::string hidden) : hidden_(std::move(hidden)) {
    for (const auto& [key, object] : store.snapshot()) plant(key, object);
  }
  Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token stop = {}) override {
    TRY(auto found, MemoryStore::list(prefix, stop));
    if (prefix.size() <= sizeof kLogPrefix) std::erase_if(found, [&](const ObjectInfo& o) { return o.key == hidden_; });
    return found;
  }

 private:
  const std::string hidden_;
};

TEST_F(CheckTest, WhatIsWrittenWhileItListsIsNoFault) {
  auto c = device("c");
  c->write("of c", noise(100'000, 7));
  c->must_sync();
  std::string newest;
  for (const LogTail& tail : c->logs())
    for (const std::string& key : keys(log_prefix(tail.log)))
      if (tail.name == "c" && parse_record_key(key)->number == tail.number) newest = key;
  ASSERT_NE(newest, "");
  b_->start();
  b_->must_sync();
  b_->write("after c", text(1000, 8));  // its record quotes what c did
  b_->must_sync();
  b_->stop(false);
  c->stop(false);
  const auto all = memory_;
  for (const std::string& key : keys(kHintPrefix))  // listed before the records
    if (auto hint = parse_hint_key(key); hint && hint->key() == newest) memory_->erase(key);
  memory_ = std::make_shared<TornList>(*all, newest);
  CheckOutcome outcome = check();
  EXPECT_EQ(outcome.faults(), 0u) << list(outcome);
}

// Of a record in the middle of a log: what comes after it waits, and so do the files that it names.
TEST_F(CheckTest, RecordInTheMiddle) {
  const std::string middle = record("b", 2), last = record("b", log("b").number);
  const auto whole = memory_->snapshot();
  flip(middle);
  expect(check(), middle, Trouble::kDamaged, "record", "record 2 of b's log", {"/last"});
  memory_->plant(middle, whole.at(middle));
  cut(middle);
  expect(check(), middle, Trouble::kCutOff, "record", "cut off", {"/last"});
  memory_->plant(middle, whole.at(middle));
  exchange(middle, last);
  expect(check(), middle, Trouble::kExchanged, "record", "the object is record " + std::to_string(log("b").number));
  memory_->plant(last, whole.at(last));
  memory_->erase(middle);
  const std::string place = log_prefix(log("b").log) + "2";
  expect(check(), place, Trouble::kMissing, "record", "record 2 of b's log", {"/last"});
}

TEST_F(CheckTest, LastRecord) {
  const std::string last = record("b", log("b").number);
  flip(last);
  expect(check(), last, Trouble::kDamaged, "record", "of b's log");
  memory_->erase(last);
  expect(check(), last, Trouble::kMissing, "record", "although a hint names it");
  // Without a hint only who has seen it misses it.
  for (const std::string& key : keys(kHintPrefix))
    if (parse_hint_key(key)) memory_->erase(key);
  EXPECT_FALSE(find(check(), last));
  expect(check(remembered()), log_prefix(log("b").log) + std::to_string(log("b").number), Trouble::kMissing, "record",
         "was applied on this device");
}

// A checkpoint includes it: nobody waits for it, but what it carries is gone.
TEST_F(CheckTest, RecordBelowACheckpoint) {
  const std::string first = record("a", 1);
  flip(first);
  CheckOutcome outcome = check();
  const Damage* found = find(outcome, first);
  ASSERT_TRUE(found);
  EXPECT_NE(found->todo.find("A checkpoint includes it"), std::string::npos);
  EXPECT_EQ(outcome.files, 6u);
}

TEST_F(CheckTest, Packs) {
  ASSERT_GE(packs().size(), 2u);
  const std::string one = packs()[0], other = packs()[1];
  const auto whole = memory_->snapshot();
  auto touched = [&](const CheckOutcome& outcome) { return find(outcome, one) ? find(outcome, one)->paths.size() : 0; };
  change(one, [](Bytes& b) { b[100] ^= 1; });
  CheckOutcome outcome = check();
  EXPECT_EQ(touched(outcome), 1u) << list(outcome);
  EXPECT_NE(find(outcome, one)->what.find("1 of "), std::string::npos);
  memory_->plant(one, whole.at(one));
  change(one, [](Bytes& b) { b[b.size() - 5] ^= 1; });  // its trailer
  expect(check(), one, Trouble::kDamaged, "pack", "all frames that files need are whole");
  memory_->plant(one, whole.at(one));
  cut(one);
  outcome = check();
  EXPECT_EQ(to_string(find(outcome, one)->trouble), "cut off");
  EXPECT_GE(touched(outcome), 1u);
  memory_->plant(one, whole.at(other));
  EXPECT_NE(find(check(), one)->what.find("the object is " + other), std::string::npos);
  memory_->plant(one, text(5000, 1));
  EXPECT_TRUE(find(check(), one));
  memory_->erase(one);
  outcome = check();
  EXPECT_EQ(to_string(find(outcome, one)->trouble), "missing");
  EXPECT_GE(touched(outcome), 1u);
}

TEST_F(CheckTest, Segments) {
  const std::string key = segment();
  const auto whole = memory_->snapshot();
  flip(key);
  CheckOutcome outcome = check();
  expect(outcome, key, Trouble::kDamaged, "segment", "refused");
  EXPECT_EQ(outcome.checkpoints, 0u);
  EXPECT_EQ(outcome.files, 6u) << "the logs say the same";
  memory_->plant(key, whole.at(key));
  cut(key);
  expect(check(), key, Trouble::kCutOff, "segment", "cut off");
  memory_->erase(key);
  expect(check(), key, Trouble::kMissing, "segment", "not there");
}

TEST_F(CheckTest, CheckpointRoots) {
  const CheckpointName name = checkpoints().front();
  const std::string key = pack_key(name.root);
  const auto whole = memory_->snapshot();
  flip(key);
  expect(check(), key, Trouble::kDamaged, "checkpoint", "refused");
  memory_->plant(key, whole.at(key));
  cut(key);
  expect(check(), key, Trouble::kCutOff, "checkpoint", "cut off");
  memory_->plant(key, whole.at(key));
  CheckpointName second = name;
  second.root.bytes[3] ^= 1;
  memory_->plant(second.hint(), {});
  memory_->plant(pack_key(second.root), whole.at(key));
  expect(check(), pack_key(second.root), Trouble::kExchanged, "checkpoint",
         "that of checkpoint " + name.root.str().substr(0, 8));
  memory_->erase(pack_key(second.root));
  expect(check(), pack_key(second.root), Trouble::kMissing, "checkpoint", "although a hint names it");
}

TEST_F(CheckTest, Hints) {
  const std::string hint = log("b").log.str();
  std::string key;
  for (const std::string& k : keys(kHintPrefix))
    if (k.find(hint) != std::string::npos) key = k;
  memory_->erase(key);
  expect(check(), key, Trouble::kMissing, "hint", "no hint names the newest record of b's log");
  RecordName stale = *parse_record_key(record("b", 1));
  stale.tag ^= 1;
  memory_->plant(stale.hint(), {});
  CheckOutcome outcome = check();
  expect(outcome, stale.hint(), Trouble::kStale, "hint", "not there");
  EXPECT_EQ(outcome.faults(), 1u);
}

TEST_F(CheckTest, WhatIsForeignOrUnneededIsNoFault) {
  memory_->plant("somebody/elses", text(10, 1));
  memory_->plant(pack_key(ObjectId{}), text(4096, 1));
  CheckOutcome outcome = check(remembered());
  expect(outcome, "somebody/elses", Trouble::kForeign, "object", "coffer does not give");
  expect(outcome, kObjectPrefix, Trouble::kUnneeded, "object", "1 objects of 4096 bytes");
  EXPECT_EQ(outcome.faults(), 0u) << list(outcome);
}

TEST_F(CheckTest, ASampleIsASampleAndAnInterruptedCheckGoesOn) {
  CheckOptions some;
  some.sample = 1;
  EXPECT_EQ(check({}, some).packs_read, 1u);
  CheckOptions first;
  std::set<ObjectId> verified;
  first.on_verified = [&](const ObjectId& pack) { verified.insert(pack); };
  const uint64_t all = check({}, first).packs;
  EXPECT_EQ(verified.size(), all);
  CheckOptions again;
  again.verified = {*verified.begin()};
  EXPECT_EQ(check({}, again).packs_read, all - 1);
}

// Whatever lies there, the check ends and says something.
TEST_F(CheckTest, AnyObjectMayBeAnything) {
  const auto whole = memory_->snapshot();
  for (const auto& [key, bytes] : whole) {
    if (bytes.empty() || parse_hint_key(key) || parse_checkpoint_hint(key)) continue;
    for (const Bytes& instead : {Bytes(), Bytes(3, 0xff), noise(70'000, 7)}) {
      memory_->plant(key, instead);
      EXPECT_GE(check(remembered()).faults(), 1u) << key;
    }
    memory_->plant(key, bytes);
  }
}

// What a device has, it puts back; and a second look finds nothing.
TEST_F(CheckTest, RepairPutsBackWhatThisDeviceHas) {
  const auto whole = memory_->snapshot();
  std::string own_pack;
  b_->open();
  for (const std::string& key : packs()) {
    auto place = b_->replica().place_of(*parse_pack_key(key));
    if (place && *place && b_->replica().packs().bytes(*parse_pack_key(key), (*place)->size)) own_pack = key;
  }
  ASSERT_NE(own_pack, "");
  memory_->erase(kVolumeKey);
  flip(slot_key(slot_ids_[0]));
  memory_->erase(slot_removal_key(slot_ids_[2]));
  cut(own_pack);
  flip(segment());
  std::string hint;
  for (const std::string& key : keys(kHintPrefix))
    if (key.find(log("b").log.str()) != std::string::npos) hint = key;
  memory_->erase(hint);
  RecordName stale = *parse_record_key(record("b", 1));
  stale.tag ^= 1;
  memory_->plant(stale.hint(), {});

  CheckOutcome outcome = check(remembered());
  EXPECT_GE(outcome.faults(), 6u) << list(outcome);
  ASSERT_OK(repair_store(*memory_, secrets_, remembered(), &b_->replica(), outcome, {}));
  for (const Damage& d : outcome.damages) EXPECT_TRUE(!d.is_fault() || d.repaired != "") << d.object << ": " << d.what;
  CheckOutcome again = check(remembered());
  EXPECT_EQ(again.faults(), 0u) << list(again);
  EXPECT_TRUE(memory_->get(own_pack, 64 << 20).value() == whole.at(own_pack));
  EXPECT_FALSE(memory_->get(stale.hint(), 10));
  b_->stop(false);
}

// Records too, whatever has become of them.
TEST_F(CheckTest, RepairPutsBackRecordsThatThisDeviceKeeps) {
  b_->open();
  const auto whole = memory_->snapshot();
  const uint64_t last = log("b").number;
  const std::vector<std::string> kept{record("b", last - 1), record("b", last)};
  flip(kept[0]);
  memory_->erase(kept[1]);
  CheckOutcome outcome = check(remembered());
  EXPECT_GE(outcome.faults(), 2u) << list(outcome);
  ASSERT_OK(repair_store(*memory_, secrets_, remembered(), &b_->replica(), outcome, {}));
  for (const std::string& key : kept) EXPECT_TRUE(memory_->snapshot().at(key) == whole.at(key)) << key;
  EXPECT_EQ(check(remembered()).faults(), 0u);
  b_->stop(false);
}

// ---- Archives of records

class ArchivedCheckTest : public CheckTest {
 protected:
  // Puts all records into one, and returns its key.
  std::string archive_all() {
    std::vector<std::pair<RecordName, Bytes>> records;
    for (const std::string& key : keys(kLogPrefix)) {
      records.emplace_back(*parse_record_key(key), *memory_->get(key, kRecordMax));
      memory_->erase(key);
    }
    const ObjectId id = fixed_id<ObjectId>(9);
    memory_->plant(archive_key(id), make_archive(id, records));
    return archive_key(id);
  }
  ArchivedRecord in_archive(const std::string& archive, const std::string& key) {
    return *decode_archive_index(*parse_archive_key(archive), memory_->snapshot().at(archive))
                ->find(*parse_record_key(key));
  }
};

TEST_F(ArchivedCheckTest, RecordsAreReadFromThem) {
  const CheckOutcome before = check(remembered());
  const size_t records = keys(kLogPrefix).size();
  archive_all();
  const CheckOutcome outcome = check(remembered());
  EXPECT_EQ(outcome.faults(), 0u) << list(outcome);
  EXPECT_EQ(outcome.records, before.records);
  EXPECT_EQ(outcome.files, before.files);
  EXPECT_EQ(outcome.objects, before.objects - records + 1);
  EXPECT_EQ(outcome.damages.size(), before.damages.size()) << list(outcome);
}

TEST_F(ArchivedCheckTest, ADamagedRecordInThemIsToldAndPutBack) {
  b_->open();
  const std::string key = record("b", log("b").number);
  const Bytes whole = memory_->snapshot().at(key);
  const std::string archive = archive_all();
  const ArchivedRecord place = in_archive(archive, key);
  change(archive, [&](Bytes& b) { b[place.offset + 60] ^= 1; });
  CheckOutcome outcome = check(remembered());
  expect(outcome, archive, Trouble::kDamaged, "archive", "has 1 records");
  expect(outcome, key, Trouble::kDamaged, "record", "is refused");
  ASSERT_OK(repair_store(*memory_, secrets_, remembered(), &b_->replica(), outcome, {}));
  EXPECT_TRUE(memory_->snapshot().at(key) == whole);
  outcome = check(remembered());
  EXPECT_EQ(outcome.faults(), 0u) << list(outcome);
  expect(outcome, archive, Trouble::kUnneeded, "archive", "elsewhere");
  b_->stop(false);
}

TEST_F(ArchivedCheckTest, WhatIsNoArchiveAnyMoreIsTold) {
  const std::string key = record("a", 1);
  const std::string archive = archive_all();
  const Bytes whole = memory_->snapshot().at(archive);
  cut(archive);
  CheckOutcome outcome = check(remembered());
  expect(outcome, archive, Trouble::kCutOff, "archive", "bytes instead of");
  EXPECT_GE(outcome.faults(), 2u) << list(outcome);  // and what was in it
  memory_->plant(archive, Bytes(whole.begin(), whole.begin() + 20));
  expect(check(), archive, Trouble::kCutOff, "archive", "is refused");
  memory_->plant(archive, whole);
  change(archive, [](Bytes& b) { b[40] ^= 1; });
  expect(check(), archive, Trouble::kDamaged, "archive", "is refused");
  memory_->erase(archive);
  memory_->plant(archive_key(fixed_id<ObjectId>(8)), whole);
  expect(check(), archive_key(fixed_id<ObjectId>(8)), Trouble::kDamaged, "archive", "another archive");
}

// What it has not, it leaves and says so.
TEST_F(CheckTest, RepairDoesNotInvent) {
  const std::string last = record("b", log("b").number);
  flip(last);
  flip(packs()[0]);
  const auto before = memory_->snapshot();
  CheckOutcome outcome = check(remembered());
  ASSERT_OK(repair_store(*memory_, secrets_, remembered(), nullptr, outcome, {}));
  for (const Damage& d : outcome.damages) EXPECT_EQ(d.repaired, "") << d.what;
  EXPECT_TRUE(memory_->snapshot() == before);
}

// A checkpoint that does not verify stays while the logs do not serve either.
TEST_F(CheckTest, RepairKeepsACheckpointWhenTheLogsAreNotWhole) {
  flip(segment());
  flip(record("a", 1));
  const auto before = memory_->snapshot();
  CheckOutcome outcome = check();
  ASSERT_OK(repair_store(*memory_, secrets_, {}, nullptr, outcome, {}));
  EXPECT_TRUE(memory_->snapshot() == before);
}

// Nothing in the store adds up to the state any more; who has it writes it there.
TEST_F(CheckTest, RepairHasThisDeviceWriteACheckpoint) {
  SyncOptions options = quick_options();
  options.checkpoint_look = milliseconds(20);
  options.silent_after = Nanos(0);  // the others are not waited for
  auto c = device("c", options);
  c->must_sync();
  const auto tree = c->tree();
  const CheckpointName damaged = checkpoints().front();
  flip(segment());
  flip(record("a", 1));
  CheckOutcome outcome = check();
  EXPECT_GE(outcome.faults(), 2u);
  ASSERT_OK(repair_store(*memory_, secrets_, {}, &c->replica(), outcome, {}));
  c->restart();
  wait_until([&] { return !checkpoints().empty() && checkpoints().front().root != damaged.root; });
  c->stop();
  outcome = check();
  EXPECT_EQ(outcome.checkpoints, 1u);
  Device fresh(volume_, memory_, "fresh");
  fresh.start();
  fresh.must_sync();
  EXPECT_EQ(fresh.tree(), tree);
}

class RebuildTest : public CheckTest {
 protected:
  // What comes back, by path.
  std::map<std::string, Bytes> rebuild() {
    Rebuild r(*memory_, secrets_, {});
    EXPECT_OK(r.scan());
    std::vector<Bytes> contents(r.files().size());
    for (size_t i = 0; i < contents.size(); ++i) contents[i].resize(r.files()[i].size);
    auto damaged = r.read([&](size_t file, uint64_t offset, BytesView bytes) -> Result<void> {
      EXPECT_LE(offset + bytes.size(), contents[file].size());
      std::copy(bytes.begin(), bytes.end(), contents[file].begin() + static_cast<ptrdiff_t>(offset));
      return {};
    });
    EXPECT_OK(damaged);
    damaged_ = damaged.value_or(0);
    std::map<std::string, Bytes> out;
    for (size_t i = 0; i < contents.size(); ++i) {
      std::string path = r.files()[i].removed ? "removed:" : "";
      for (const std::string& name : r.files()[i].path) path += "/" + name;
      EXPECT_TRUE(out.emplace(path, std::move(contents[i])).second) << path;
    }
    return out;
  }
  void erase_all(const std::string& prefix) {
    for (const std::string& key : keys(prefix)) memory_->erase(key);
  }
  uint64_t damaged_ = 0;
};

// From packs alone: contents byte for byte, by their names. Directories are only known to records.
TEST_F(RebuildTest, FromPacksAlone) {
  b_->open();
  TAKE(model::Ino dir, b_->find("dir"));
  b_->stop(false);
  erase_all(kLogPrefix);
  erase_all(kHintPrefix);
  auto files = rebuild();
  char above[40];
  std::snprintf(above, sizeof above, "/directory-%016llx/", static_cast<unsigned long long>(dir));
  EXPECT_EQ(files.size(), 3u);
  EXPECT_TRUE(files[std::string(above) + "big"] == noise(1 << 20, 2));
  EXPECT_TRUE(files[std::string(above) + "other"] == noise(300'000, 3));
  EXPECT_TRUE(files[std::string(above) + "big of b"] == noise(1 << 20, 5));
  EXPECT_EQ(damaged_, 0u);
}

TEST_F(RebuildTest, FromPacksAndRecordsWithoutCheckpoints) {
  memory_->erase(pack_key(checkpoints().front().root));
  erase_all(kHintPrefix);
  auto files = rebuild();
  EXPECT_EQ(files.size(), 6u);
  EXPECT_TRUE(files["/dir/small"] == text(1000, 1));
  EXPECT_TRUE(files["/dir/big"] == noise(1 << 20, 2));
  EXPECT_TRUE(files["/later"] == text(2000, 4));
  // The same when an archive has the records.
  std::vector<std::pair<RecordName, Bytes>> records;
  for (const std::string& key : keys(kLogPrefix))
    records.emplace_back(*parse_record_key(key), *memory_->get(key, kRecordMax));
  erase_all(kLogPrefix);
  memory_->plant(archive_key(ObjectId{}), make_archive(ObjectId{}, records));
  EXPECT_EQ(rebuild(), files);
  erase_all(kLogPrefix);
  for (const auto& [name, bytes] : records) memory_->plant(name.key(), bytes);
  // One log less: its names and its small files are gone, and what is in packs is not.
  erase_all(log_prefix(log("b").log));
  files = rebuild();
  EXPECT_EQ(files.size(), 4u);
  EXPECT_TRUE(files["/dir/big of b"] == noise(1 << 20, 5));
  EXPECT_FALSE(files.contains("/later"));
}

// Versions of which nothing says which came first are both there.
TEST_F(RebuildTest, VersionsThatOnlyPacksKnowAreKeptApart) {
  b_->start();
  b_->write("dir/big of b", noise(1 << 20, 8));
  b_->must_sync();
  b_->stop(false);
  erase_all(kLogPrefix);
  auto files = rebuild();
  std::set<Bytes> found;
  for (const auto& [path, bytes] : files)
    if (path.find("big of b") != std::string::npos) found.insert(bytes);
  EXPECT_TRUE(found == (std::set<Bytes>{noise(1 << 20, 5), noise(1 << 20, 8)}));
}

TEST_F(RebuildTest, AnyObjectMayBeAnything) {
  for (const auto& [key, bytes] : memory_->snapshot()) {
    for (const Bytes& instead : {Bytes(), Bytes(3, 0xff), noise(70'000, 7)}) {
      memory_->plant(key, instead);
      (void)rebuild();
    }
    memory_->plant(key, bytes);
  }
}

}  // namespace
}  // namespace coffer::test
