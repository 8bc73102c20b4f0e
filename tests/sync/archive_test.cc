// Records in archives: the format, the store that shows them as if they lay in it one by one, and who puts them there.
#include <algorithm>

#include "base/failpoint.h"
#include "fs/sync/archived_logs.h"
#include "fs/sync/collection.h"
#include "fs/sync/key_rotation.h"
#include "tests/sync/checkpoint_fixture.h"

namespace coffer::test {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

using Records = std::vector<std::pair<RecordName, Bytes>>;

// ---- The format

class ArchiveFormatTest : public SyncUnitTest {
 protected:
  ArchiveFormatTest() {
    // In the order in which they lie there, which is not the index's.
    for (uint64_t number : {7, 1, 2, 300})
      records_.emplace_back(RecordName{fixed_id<LogId>(number == 2 ? 1 : 2), number, 0x1122334455667788 + number},
                            noise(100 + number, number));
  }
  const ObjectId id_ = fixed_id<ObjectId>(9);
  Records records_;
};

TEST_F(ArchiveFormatTest, ComesBack) {
  const Bytes object = make_archive(id_, records_);
  TAKE(ArchiveIndex index, decode_archive_index(id_, object));
  EXPECT_EQ(index.object_size, object.size());
  ASSERT_EQ(index.records.size(), records_.size());
  for (const auto& [name, bytes] : records_) {
    const ArchivedRecord* found = index.find(name);
    ASSERT_TRUE(found);
    const BytesView there = BytesView(object).subspan(found->offset, found->size);
    EXPECT_EQ(to_bytes(there), bytes);
    EXPECT_TRUE(found->is(bytes));
    EXPECT_FALSE(found->is(noise(bytes.size(), 99)));
    EXPECT_FALSE(index.find({name.log, name.number, name.tag + 1}));
  }
}

TEST_F(ArchiveFormatTest, GoldenBytes) {
  const std::string path = std::string(COFFER_SOURCE_DIR) + "/tests/sync/archive_v1.bin";
  if (std::getenv("COFFER_WRITE_GOLDEN") != nullptr) spill(path, make_archive(id_, records_));
  EXPECT_EQ(make_archive(id_, records_), slurp(path));
}

TEST_F(ArchiveFormatTest, EveryFlippedByteOfTheIndexIsFound) {
  Bytes object = make_archive(id_, records_);
  TAKE(size_t end, archive_index_size(object));
  for (size_t i = 0; i < end; ++i) {
    object[i] ^= 0x40;
    EXPECT_FALSE(decode_archive_index(id_, object).has_value()) << "byte " << i;
    object[i] ^= 0x40;
  }
  for (size_t size = 0; size < end; ++size)
    EXPECT_FALSE(decode_archive_index(id_, BytesView(object).first(size)).has_value()) << size;
  EXPECT_CODE(Code::kCorrupt, decode_archive_index(fixed_id<ObjectId>(8), object));
  object[8] = 2;
  EXPECT_CODE(Code::kTooNew, decode_archive_index(id_, object));
}

// ---- The store

class ArchivedLogsTest : public SyncUnitTest {
 protected:
  static constexpr uint64_t kLogs = 20, kEach = 500;
  static constexpr size_t kSize = 4096;  // the least that a record has

  static RecordName name(uint64_t log, uint64_t number) {
    return {fixed_id<LogId>(static_cast<uint8_t>(log)), number, log * 1000 + number};
  }
  // 10,000 records, by turns of each log.
  Records all() const {
    Records out;
    for (uint64_t n = 1; n <= kEach; ++n)
      for (uint64_t log = 1; log <= kLogs; ++log) out.emplace_back(name(log, n), noise(kSize, log * 1000 + n));
    return out;
  }
  void put_single(const Records& records) {
    for (const auto& [name, bytes] : records) ASSERT_OK(memory_->put(name.key(), bytes));
  }
  ObjectId put_archive(std::span<const std::pair<RecordName, Bytes>> records) {
    const ObjectId id = fixed_id<ObjectId>(++archives_);
    EXPECT_OK(memory_->put(archive_key(id), make_archive(id, records)));
    return id;
  }
  void expect_all(const Records& records, ObjectStore& store) {
    for (const auto& [name, bytes] : records) {
      TAKE(Bytes got, store.get(name.key(), kRecordMax));
      ASSERT_EQ(got, bytes);
    }
  }
  static std::vector<std::string> keys_of(std::vector<ObjectInfo> found) {
    std::vector<std::string> out;
    for (const ObjectInfo& info : found)
      if (parse_record_key(info.key)) out.push_back(info.key);
    std::sort(out.begin(), out.end());
    return out;
  }

  std::shared_ptr<MemoryStore> memory_ = std::make_shared<MemoryStore>();
  std::shared_ptr<MeteredStore> metered_ = std::make_shared<MeteredStore>(memory_);
  uint8_t archives_ = 0;
};

// What it is for: 10,000 records are 10 requests to list and as many as they are to read.
TEST_F(ArchivedLogsTest, TenThousandRecordsAreFewObjectsAndFewRequests) {
  const Records records = all();
  constexpr size_t kInOne = (8 << 20) / kSize;
  for (size_t at = 0; at < records.size(); at += kInOne)
    put_archive(std::span(records).subspan(at, std::min(kInOne, records.size() - at)));
  EXPECT_EQ(memory_->snapshot().size(), 5u);

  std::map<ObjectId, Bytes> kept;
  const ArchivedLogs::Memory memory{
      [&](const ObjectId& id) { return kept.contains(id) ? std::optional(kept[id]) : std::nullopt; },
      [&](const ObjectId& id, BytesView beginning) { kept[id] = to_bytes(beginning); },
      [&](const ObjectId& id) { kept.erase(id); }};
  {
    ArchivedLogs store(*metered_, memory);
    TAKE(auto found, store.list(kLogPrefix));
    EXPECT_EQ(keys_of(found).size(), records.size());
    for (const ObjectInfo& info : found) ASSERT_TRUE(!parse_record_key(info.key) || info.size == kSize);
    const StoreCounters listing = metered_->counters();
    EXPECT_EQ(listing.list, 1u);
    EXPECT_EQ(listing.get, 5u);
    expect_all(records, store);
    const StoreCounters reading = metered_->counters();
    EXPECT_LE(reading.get - listing.get, 45u);
    EXPECT_LE(reading.bytes_down - listing.bytes_down, records.size() * kSize * 11 / 10);
    TAKE(found, store.list(kLogPrefix));
    EXPECT_EQ(metered_->counters().get, reading.get);  // nothing is read twice
    TAKE(auto of_one, store.list(log_prefix(name(3, 1).log)));
    EXPECT_EQ(keys_of(of_one).size(), kEach);
  }
  const uint64_t before = metered_->counters().get;
  ArchivedLogs next_run(*metered_, memory);
  TAKE(auto found, next_run.list(kLogPrefix));
  EXPECT_EQ(metered_->counters().get, before);
  memory_->erase(archive_key(fixed_id<ObjectId>(1)));
  TAKE(found, next_run.list(kLogPrefix));
  EXPECT_EQ(keys_of(found).size(), records.size() - kInOne);
  EXPECT_EQ(kept.size(), 4u);
}

TEST_F(ArchivedLogsTest, WhatLiesByItselfAsWellIsThereOnce) {
  Records records = all();
  records.resize(100);
  put_single(records);
  put_archive(std::span(records).first(60));
  put_archive(std::span(records).subspan(40));  // as when two devices do it at once
  ArchivedLogs store(*memory_);
  TAKE(auto found, store.list(kLogPrefix));
  EXPECT_EQ(keys_of(found).size(), 100u);
  for (const auto& [name, bytes] : records) memory_->erase(name.key());
  TAKE(found, store.list(kLogPrefix));
  EXPECT_EQ(keys_of(found).size(), 100u);
  expect_all(records, store);
}

// Archives come, and the objects go, while somebody works with what he listed before.
TEST_F(ArchivedLogsTest, AnArchiveIsFoundWhenSomethingIsMissing) {
  Records records = all();
  records.resize(100);
  put_single(records);
  ArchivedLogs reads(*memory_), lists(*memory_), ranges(*memory_);
  for (ArchivedLogs* store : {&reads, &lists, &ranges}) ASSERT_OK(store->list(kLogPrefix));
  put_archive(records);
  for (const auto& [name, bytes] : records)
    if (name.number != 5) memory_->erase(name.key());  // the last of each log
  expect_all(records, reads);
  TAKE(auto found, lists.list(log_prefix(name(3, 1).log)));
  EXPECT_EQ(keys_of(found).size(), 5u);
  const auto& [name, bytes] = records.front();
  TAKE(Bytes part, ranges.get_range(name.key(), 1000, 5000));
  EXPECT_EQ(part, Bytes(bytes.begin() + 1000, bytes.end()));
  TAKE(part, ranges.get_range(name.key(), kSize, 5));
  EXPECT_TRUE(part.empty());
  EXPECT_CODE(Code::kTooLarge, reads.get(name.key(), kSize - 1));
  EXPECT_CODE(Code::kNotFound, reads.get(RecordName{name.log, name.number, 1}.key(), kSize));
}

TEST_F(ArchivedLogsTest, WhatIsDamagedThereIsReadElsewhereIfItCan) {
  Records records = all();
  records.resize(40);
  const std::string first = archive_key(put_archive(records));
  ArchivedLogs store(*memory_);
  ASSERT_OK(store.list(kLogPrefix));
  Bytes object = memory_->snapshot().at(first);
  object.back() ^= 1;  // of the last record
  memory_->plant(first, object);
  const auto& [name, bytes] = records.back();
  TAKE(Bytes got, store.get(name.key(), kRecordMax));
  EXPECT_NE(got, bytes);  // as it is there: who asked says so
  ASSERT_OK(store.put(name.key(), bytes));
  TAKE(Bytes end, store.get_range(name.key(), kSize - 1, 1));  // nobody could tell this from damage
  EXPECT_EQ(end, Bytes(1, bytes.back()));
  expect_all(records, store);
  memory_->erase(name.key());
  put_archive(records);
  ASSERT_OK(store.list(kLogPrefix));
  expect_all(records, store);
  TAKE(end, store.get_range(name.key(), kSize - 1, 1));  // of the other archive
  EXPECT_EQ(end, Bytes(1, bytes.back()));
  memory_->erase(first);  // between a listing and reading
  expect_all(records, store);

  object.resize(object.size() - 1);
  memory_->plant(first, object);
  ArchivedLogs fresh(*memory_);
  TAKE(ArchivedLogs::Listing listing, fresh.look({}));
  EXPECT_EQ(listing.archives.size(), 1u);  // not the one that is cut off
  expect_all(records, fresh);
  TAKE(listing, store.look({}));
  EXPECT_EQ(listing.archives.size(), 1u);  // nor for who knew it when it was whole
}

TEST_F(ArchivedLogsTest, OneThatCannotBeReadKeepsNobodyFromTheRest) {
  Records records = all();
  records.resize(100);
  const std::string first = archive_key(put_archive(std::span(records).first(60)));
  put_archive(std::span(records).subspan(60));
  auto faults = std::make_shared<FaultStore>(memory_, [&](const FaultCall& call) {
    Fault fault;
    if (call.operation == StoreOperation::kGet && call.key == first) fault.fail_before = Code::kDenied;
    return fault;
  });
  ArchivedLogs store(*faults);
  TAKE(auto found, store.list(kLogPrefix));
  EXPECT_EQ(keys_of(found).size(), 40u);
  faults->set_hook(nullptr);
  TAKE(found, store.list(kLogPrefix));  // it is looked at again
  EXPECT_EQ(keys_of(found).size(), 100u);
  expect_all(records, store);
}

// ---- Devices

class ArchiveTest : public WithCheckpoints {
 protected:
  SyncOptions options() const {
    SyncOptions o = eager();
    o.clock = &clock_;
    o.collect_every = days(1000);
    o.archive_from = 1;
    o.archive_bytes = 64 << 10;
    return o;
  }
  // Does not collect by itself: it has done so already.
  std::unique_ptr<Device> writer(const std::string& name, const SyncOptions& how) {
    auto out = std::make_unique<Device>(volume_, memory_, name, how);
    out->faults().set_hook([](const FaultCall& call) {
      Fault f;
      if (call.operation == StoreOperation::kPut && call.key.starts_with(kObjectPrefix))
        f.fail_before = Code::kUnavailable;
      return f;
    });
    out->start();
    const RowPut row{collection_key(), encode(Collection{clock_.wall(), {}, {}, {}, {}, {}, {}})};
    EXPECT_OK(out->replica().put_rows(std::span(&row, 1), true));
    out->restart();
    out->faults().set_hook(nullptr);
    return out;
  }
  std::unique_ptr<Device> writer(const std::string& name) { return writer(name, options()); }
  SyncOptions reader() const {
    SyncOptions o = quick_options();
    o.clock = &clock_;
    return o;
  }
  static Result<Collection> collect(Device& d, Nanos grace, bool dry_run = false) {
    return d.sync_engine().collect({grace, false, dry_run, {}}, {}, {});
  }
  static void work(Device& d, const std::string& name, uint64_t records) {
    for (uint64_t i = 0; i < records; ++i) {
      d.write(name + std::to_string(i % 7), text(300 + i, i));
      d.must_sync();
    }
  }
  size_t archives() const { return keys(kArchivePrefix).size(); }
  // Objects of records.
  size_t single() const { return keys(kLogPrefix).size() - archives(); }
  // All that a checkpoint of `d` includes, and nothing of it by itself any more.
  void archive_everything(Device& d) {
    wait_for_checkpoint(d);
    TAKE(Collection done, collect(d, Nanos(0)));
    EXPECT_GT(done.archived.objects, 0u);
    TAKE(done, collect(d, Nanos(0)));
    EXPECT_GT(done.single.objects, 0u);
    EXPECT_LE(single(), 3u);  // what came after the checkpoint
  }
  void hide_checkpoints() {
    for (const CheckpointName& name : hints()) memory_->erase(name.hint());
  }
  // A new device, with a checkpoint and without one.
  void expect_joins(Device& d) {
    for (bool from_checkpoint : {true, false}) {
      if (!from_checkpoint) hide_checkpoints();
      Device fresh(volume_, memory_, from_checkpoint ? "joins" : "replays", reader());
      fresh.start();
      EXPECT_EQ(fresh.tree(), d.tree());
      EXPECT_EQ(fresh.problems(), "");
    }
  }

  mutable ShiftedClock clock_;
};

TEST_F(ArchiveTest, TheirObjectsGoAfterTheGrace) {
  auto a = writer("a");
  work(*a, "f", 40);
  wait_for_checkpoint(*a);
  const size_t records = single();
  TAKE(Collection would, collect(*a, days(30), true));
  EXPECT_EQ(archives(), 0u);
  TAKE(Collection done, collect(*a, days(30)));
  EXPECT_EQ(done.archived, would.archived);
  EXPECT_GE(done.archived.objects, 40u);
  EXPECT_GE(archives(), 3u);
  EXPECT_LE(archives(), 4u);  // 16 records of 4 KiB in each
  TAKE(done, collect(*a, days(30)));
  EXPECT_EQ(done.archived, Collection::Sum());
  clock_.advance(days(29));
  a->restart();
  TAKE(done, collect(*a, days(30)));
  EXPECT_EQ(done.single, Collection::Sum());
  EXPECT_GE(single(), records);
  clock_.advance(days(1) + hours(1));
  TAKE(would, collect(*a, days(30), true));
  EXPECT_GE(single(), records);
  TAKE(done, collect(*a, days(30)));
  EXPECT_EQ(done.single, would.single);
  EXPECT_GE(done.single.objects, 40u);
  EXPECT_LE(single() + 40, records + 5);
  EXPECT_EQ(a->sync_engine().status().last_collection, done);
  EXPECT_EQ(a->problems(), "");
  a->restart();
  a->must_sync();
  EXPECT_EQ(a->problems(), "");
  expect_joins(*a);
}

// A look at which the archive is not there begins the grace anew.
TEST_F(ArchiveTest, AnArchiveThatWasAwayIsTrustedLater) {
  auto a = writer("a");
  work(*a, "f", 10);
  wait_for_checkpoint(*a);
  ASSERT_OK(collect(*a, days(30)));
  ASSERT_EQ(archives(), 1u);
  a->stop();
  SyncOptions none = options();
  none.archive_from = 1000;  // it makes none itself
  auto b = writer("b", none);
  b->must_sync();
  ASSERT_OK(collect(*b, days(30)));
  clock_.advance(days(20));
  const std::string key = keys(kArchivePrefix).front();
  const Bytes object = memory_->snapshot().at(key);
  memory_->erase(key);
  ASSERT_OK(collect(*b, days(30)));
  memory_->plant(key, object);
  clock_.advance(days(11));
  TAKE(Collection done, collect(*b, days(30)));
  EXPECT_EQ(done.single, Collection::Sum());
  clock_.advance(days(31));
  TAKE(done, collect(*b, days(30)));
  EXPECT_GT(done.single.objects, 0u);
}

// All of it is read before anything goes.
TEST_F(ArchiveTest, ADamagedArchiveDeletesNothing) {
  auto a = writer("a");
  work(*a, "f", 10);
  wait_for_checkpoint(*a);
  ASSERT_OK(collect(*a, Nanos(0)));
  const std::string key = keys(kArchivePrefix).front();
  Bytes object = memory_->snapshot().at(key);
  TAKE(ArchiveIndex index, decode_archive_index(*parse_archive_key(key), object));
  const ArchivedRecord victim = index.records.front();
  object[victim.offset + 60] ^= 1;
  memory_->plant(key, object);
  const size_t before = single();
  TAKE(Collection done, collect(*a, Nanos(0)));
  EXPECT_EQ(done.single.objects, index.records.size() - 1);
  EXPECT_TRUE(memory_->snapshot().contains(victim.name.key()));
  EXPECT_EQ(single(), before - done.single.objects);
  expect_joins(*a);
}

TEST_F(ArchiveTest, WhoWasAwayFindsTheRest) {
  auto a = writer("a");
  auto b = device("b", reader()), c = device("c", reader());
  work(*a, "first", 5);
  settle({a.get(), b.get(), c.get()});
  b->stop();  // its log is closed, and nobody waits for it
  // c goes on, and does not reach the store.
  c->stop();
  c->open();
  c->must_sync();
  c->faults().set_hook([](const FaultCall&) {
    Fault f;
    f.fail_before = Code::kUnavailable;
    return f;
  });
  clock_.advance(days(61));
  work(*a, "then", 30);
  archive_everything(*a);
  work(*a, "last", 2);
  c->faults().set_hook(nullptr);
  b->start();
  settle({a.get(), b.get(), c.get()});
  expect_equal({a.get(), b.get(), c.get()});
  EXPECT_EQ(a->problems() + b->problems() + c->problems(), "");
  b->write("of b", text(100, 1));
  c->write("of c", text(100, 2));
  settle({a.get(), b.get(), c.get()});
  expect_equal({a.get(), b.get(), c.get()});
  expect_joins(*a);
}

// Packs that ride in records are read from there by their place, which names the record.
TEST_F(ArchiveTest, WhatRecordsCarryIsReadFromArchives) {
  auto a = writer("a");
  a->write("carried", text(3000, 5));
  work(*a, "f", 5);
  archive_everything(*a);
  auto b = device("b", reader());
  TAKE(Bytes read, b->read("carried"));
  EXPECT_EQ(read, text(3000, 5));
}

TEST_F(ArchiveTest, ALostArchiveIsToldAndWhoHasTheRecordsPutsThemBack) {
  auto a = writer("a");
  work(*a, "f", 20);
  archive_everything(*a);
  for (const std::string& key : keys(kArchivePrefix)) memory_->erase(key);
  {
    Device fresh(volume_, memory_, "fresh", reader());
    fresh.start();  // from the checkpoint, which says that they were there
    wait_until([&] { return fresh.problems().find("vanished from it") != std::string::npos; });
    EXPECT_TRUE(fresh.find("f6").has_value());
  }
  a->restart();  // as its hourly listing
  wait_until([&] { return single() >= 20; });
  EXPECT_NE(a->problems().find("put back"), std::string::npos);
  expect_joins(*a);
}

TEST_F(ArchiveTest, MembersAndRevocationsFindFirstRecords) {
  auto a = writer("a");
  auto b = device("b", reader());
  b->write("of b", text(100, 1));
  settle({a.get(), b.get()});
  const DeviceIdentity& identity = b->identity();
  b->stop();
  work(*a, "f", 5);
  auto members = read_members(*memory_, volume_.secrets());
  ASSERT_OK(members);
  const Member of_b{identity.device, identity.certificate.key, "b", {}};
  auto heads = accepted_heads(*memory_, volume_.secrets(), of_b);
  ASSERT_OK(heads);
  archive_everything(*a);
  auto again = read_members(*memory_, volume_.secrets());
  ASSERT_OK(again);
  ASSERT_EQ(again->size(), members->size());
  for (size_t i = 0; i < again->size(); ++i) EXPECT_EQ((*again)[i].device, (*members)[i].device);
  auto heads_again = accepted_heads(*memory_, volume_.secrets(), of_b);
  ASSERT_OK(heads_again);
  EXPECT_EQ(*heads_again, *heads);
  EXPECT_FALSE(heads->empty());
}

// Whatever request it ends at, all records are there, and the next attempt finishes.
TEST_F(ArchiveTest, CutOffAtAnyRequest) {
  auto a = writer("a");
  work(*a, "f", 20);
  wait_for_checkpoint(*a);
  bool whole = false;
  for (size_t cut = 0; cut < 400 && !whole; ++cut) {
    auto count = std::make_shared<std::atomic<size_t>>(0);
    // Polls go on beside it; they fail as well, or take a turn.
    a->faults().set_hook([count, cut](const FaultCall& call) {
      Fault f;
      const bool ours = call.key.starts_with(kLogPrefix) && call.operation != StoreOperation::kList;
      if (ours && (*count)++ >= cut) (cut % 2 == 0 ? f.fail_before : f.fail_after) = Code::kUnavailable;
      return f;
    });
    auto done = collect(*a, Nanos(0));
    a->faults().set_hook(nullptr);
    whole = done && single() <= 3;
    ArchivedLogs store(*memory_);
    TAKE(auto found, store.list(kLogPrefix));
    std::map<LogId, std::set<uint64_t>> numbers;
    for (const ObjectInfo& info : found)
      if (auto name = parse_record_key(info.key)) numbers[name->log].insert(name->number);
    for (const LogTail& tail : a->logs()) ASSERT_EQ(numbers[tail.log].size(), tail.number) << "cut at " << cut;
  }
  EXPECT_TRUE(whole);
  EXPECT_EQ(a->problems(), "");
  expect_joins(*a);
}

TEST_F(ArchiveTest, CutOffAtAnyStep) {
  auto a = writer("a");
  work(*a, "f", 10);
  wait_for_checkpoint(*a);
  for (const char* step : {"sync.put_archive", "sync.archive_put", "sync.archived_removed"}) {
    arm_failpoints(std::string(step) + "=error");
    EXPECT_FALSE(collect(*a, Nanos(0)).has_value()) << step;
    arm_failpoints("");
    a->restart();
    wait_for_checkpoint(*a);
  }
  ASSERT_OK(collect(*a, Nanos(0)));
  ASSERT_OK(collect(*a, Nanos(0)));
  EXPECT_LE(single(), 8u);
  expect_joins(*a);
}

}  // namespace
}  // namespace coffer::test
