// Deleting from the store what nobody needs any more, and nothing else.
#include <future>
#include <thread>

#include "base/failpoint.h"
#include "crypto/hash.h"
#include "fs/sync/object_keys.h"
#include "tests/sync/device.h"

namespace coffer::test {
namespace {

using model::Ino;
using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

class CollectorTest : public DevicesTest {
 protected:
  SyncOptions options(bool checkpoints = false) const {
    SyncOptions o = quick_options();
    o.clock = &clock_;
    o.publish_after = o.publish_within = seconds(100);  // when it is told to
    o.collect_every = days(1000);
    o.checkpoint_from = checkpoints ? 1 : 0;
    o.checkpoint_look = milliseconds(20);
    return o;
  }
  static Result<Collection> collect(Device& d, Nanos grace, bool list_objects = false) {
    return d.sync_engine().collect({grace, list_objects, false}, {}, {});
  }
  uint64_t stored_bytes() const {
    uint64_t sum = 0;
    for (const auto& [key, object] : memory_->snapshot())
      if (key.starts_with(kObjectPrefix)) sum += object.size();
    return sum;
  }
  static void copy(Device& d, const std::string& from, const std::string& to) {
    TAKE(Ino source, d.find(from));
    model::NewInode what;
    what.mode = 0644;
    TAKE(model::Node target, d.replica().make(model::kRootIno, to, what));
    TAKE(model::Inode inode, d.replica().attributes(source));
    TAKE(uint64_t copied, d.replica().copy_range(source, 0, target.ino, 0, inode.size, false));
    EXPECT_EQ(copied, inode.size);
  }
  // A new device reads this, all of it from the store.
  void expect_read(const std::string& path, BytesView content) {
    Device fresh(volume_, memory_, "fresh");
    fresh.start();
    auto read = fresh.read(path);
    ASSERT_TRUE(read.has_value()) << read.error().what();
    EXPECT_EQ(blake2b(*read), blake2b(content));
  }
  static void refuse(Device& d, StoreOperation operation, const std::string& key_part) {
    d.faults().set_hook([operation, key_part](const FaultCall& call) {
      Fault f;
      if (call.operation == operation && call.key.find(key_part) != std::string::npos)
        f.fail_before = Code::kUnavailable;
      return f;
    });
  }

  mutable ShiftedClock clock_;
  const Bytes big_ = noise(3 << 20, 1), other_ = noise(2 << 20, 2);
};

TEST_F(CollectorTest, ADeadPackGoesAfterTheGrace) {
  auto a = device("a", options());
  a->write("removed", big_);
  a->must_sync();
  a->write("kept", other_);
  a->must_sync();
  const uint64_t before = stored_bytes();
  a->remove("removed");
  TAKE(Collection first, collect(*a, days(30)));
  EXPECT_EQ(first.freed, Collection::Sum());
  EXPECT_GE(first.waiting.bytes, big_.size());
  EXPECT_GE(first.live.bytes, other_.size());
  clock_.advance(days(29));
  TAKE(first, collect(*a, days(30)));
  EXPECT_EQ(stored_bytes(), before);
  a->restart();  // it is not forgotten since when
  clock_.advance(days(1) + hours(1));
  const uint64_t on_disk = a->replica().counters().disk_bytes;
  TAKE(Collection second, collect(*a, days(30)));
  EXPECT_GE(second.freed.bytes, big_.size());
  EXPECT_EQ(second.waiting, Collection::Sum());
  EXPECT_LE(stored_bytes() + big_.size(), before);
  EXPECT_EQ(a->sync_engine().status().last_collection, second);
  wait_until([&] { return a->replica().counters().disk_bytes + big_.size() <= on_disk; });
  expect_read("kept", other_);
  TAKE(Collection third, collect(*a, Nanos(0)));
  EXPECT_EQ(third.freed, Collection::Sum());
  a->restart();
  EXPECT_EQ(a->sync_engine().status().last_collection, third);
  EXPECT_EQ(a->problems(), "");
}

TEST_F(CollectorTest, ADryRunDeletesNothing) {
  auto a = device("a", options());
  a->write("removed", big_);
  a->must_sync();
  a->remove("removed");
  a->must_sync();
  const auto before = memory_->snapshot();
  TAKE(Collection would, a->sync_engine().collect({Nanos(0), true, true}, {}, {}));
  EXPECT_GE(would.freed.bytes, big_.size());
  EXPECT_TRUE(memory_->snapshot() == before);
  TAKE(Collection did, collect(*a, Nanos(0), true));
  EXPECT_EQ(did.freed, would.freed);
}

TEST_F(CollectorTest, WhatAnotherFileSharesStays) {
  auto a = device("a", options());
  a->write("source", big_);
  a->must_sync();
  copy(*a, "source", "copy");
  a->remove("source");
  TAKE(Collection done, collect(*a, Nanos(0)));
  EXPECT_EQ(done.freed, Collection::Sum());
  expect_read("copy", big_);
}

TEST_F(CollectorTest, WhatIsRemovedAndStillOpenStays) {
  auto a = device("a", options());
  a->write("open", big_);
  a->must_sync();
  TAKE(Ino open, a->find("open"));
  ASSERT_OK(a->replica().unlink(model::kRootIno, "open"));
  TAKE(Collection done, collect(*a, Nanos(0)));
  EXPECT_EQ(done.freed, Collection::Sum());
  EXPECT_GE(stored_bytes(), big_.size());
  a->replica().forget(open);
  TAKE(done, collect(*a, Nanos(0)));
  EXPECT_GE(done.freed.bytes, big_.size());
}

TEST_F(CollectorTest, WhoHasNotSeenTheRemovalIsWaitedFor) {
  auto a = device("a", options()), b = device("b", options());
  a->write("removed", big_);
  settle({a.get(), b.get()});
  for (int i = 0; i < 2; ++i) {
    b->write("of b", text(10, static_cast<uint64_t>(i)));
    b->must_sync();
  }
  a->remove("removed");
  auto refused = collect(*a, Nanos(0));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kBusy);
  EXPECT_NE(refused.error().what().find("acknowledged yet by b"), std::string::npos) << refused.error().what();
  EXPECT_GE(stored_bytes(), big_.size());
  b->must_sync();
  b->write("of b", text(10, 9));
  b->must_sync();
  TAKE(Collection done, collect(*a, Nanos(0)));
  EXPECT_GE(done.freed.bytes, big_.size());
  expect_equal({a.get(), b.get()});
}

// b copies a file, and learns only then that a has removed it. The copy refers to frames of which nothing else speaks any
// more when the announcement of b's log quotes the removal.
TEST_F(CollectorTest, ACopyThatMeetsTheRemovalKeepsItsBytes) {
  auto a = device("a", options());
  a->write("source", big_);
  a->must_sync();
  auto b = device("b", options());
  copy(*b, "source", "copy");
  a->remove("source");
  a->must_sync();
  refuse(*b, StoreOperation::kPut, "/2-");
  wait_until([&] { return !b->find("source").has_value(); });
  std::jthread publishing([&] { (void)b->sync(); });
  auto announced = [&] {
    auto logs = a->logs();
    return std::any_of(logs.begin(), logs.end(), [&](auto& l) { return l.device == b->identity().device; });
  };
  wait_until(announced);
  for (int i = 0; i < 3; ++i) {
    auto refused = collect(*a, Nanos(0));
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().what().find("b has not published anything"), std::string::npos) << refused.error().what();
  }
  b->faults().set_hook(nullptr);
  publishing.join();
  b->must_sync();
  TAKE(Collection done, collect(*a, Nanos(0)));
  EXPECT_EQ(done.freed, Collection::Sum());
  expect_read("copy", big_);
}

TEST_F(CollectorTest, WhatNoRecordNamesIsNotTouched) {
  auto a = device("a", options());
  a->must_sync();
  auto b = device("b", options());
  // b has uploaded a pack, and its record does not get through.
  refuse(*b, StoreOperation::kPut, kLogPrefix);
  b->write("of b", big_);
  std::jthread publishing([&] { (void)b->sync(); });
  const std::string foreign = pack_key(fixed_id<ObjectId>(9));
  memory_->plant(foreign, noise(1000, 5));
  clock_.advance(days(1000));
  std::this_thread::sleep_for(milliseconds(200));
  const auto before = keys(kObjectPrefix);
  for (int i = 0; i < 2; ++i) {
    TAKE(Collection done, collect(*a, Nanos(0), true));
    EXPECT_EQ(done.freed, Collection::Sum());
    EXPECT_EQ(done.unknown.objects, before.size());
  }
  EXPECT_EQ(keys(kObjectPrefix), before);
  b->faults().set_hook(nullptr);
  publishing.join();
  b->must_sync();
  expect_read("of b", big_);
}

TEST_F(CollectorTest, WhatBreaksOffIsDoneAgain) {
  auto a = device("a", options());
  for (int i = 0; i < 3; ++i) {
    a->write("removed " + std::to_string(i), noise(200'000, static_cast<uint64_t>(i)));
    a->must_sync();
  }
  for (int i = 0; i < 3; ++i) a->remove("removed " + std::to_string(i));
  a->must_sync();
  refuse(*a, StoreOperation::kRemove, kObjectPrefix);
  auto failed = collect(*a, Nanos(0));
  EXPECT_FALSE(failed.has_value());
  EXPECT_EQ(keys(kObjectPrefix).size(), 3u);
  EXPECT_EQ(a->problems(), "");
  a->faults().set_hook(nullptr);
  arm_failpoints("sync.collect_removed=error");
  failed = collect(*a, Nanos(0));
  EXPECT_FALSE(failed.has_value());
  arm_failpoints("");
  a->restart();
  TAKE(Collection done, collect(*a, Nanos(0)));
  EXPECT_EQ(keys(kObjectPrefix).size(), 0u);
  EXPECT_EQ(done.waiting, Collection::Sum());
  TAKE(auto places, a->replica().places());
  for (const auto& [id, place] : places) EXPECT_NE(place.key, pack_key(id));
}

// Overwritten and removed, again and again, by two; what a third reads in the end comes all from the store.
TEST_F(CollectorTest, NothingThatIsLiveGoes) {
  auto a = device("a", options(true)), b = device("b", options(true));
  std::mt19937_64 random(7);
  for (int round = 0; round < 12; ++round) {
    for (Device* d : {a.get(), b.get()}) {
      for (int i = 0; i < 6; ++i) {
        const std::string name = "f" + std::to_string(random() % 12);
        const auto there = d->find(name);
        if (there && random() % 3 == 0)
          d->remove(name);
        else if (there && random() % 2 == 0 && !d->find("copy of " + name))
          copy(*d, name, "copy of " + name);
        else
          d->write(name, noise(1 + random() % 300'000, random()), random() % 100'000);
      }
      d->must_sync();
    }
    for (Device* d : {a.get(), b.get()}) {
      d->must_sync();
      auto done = collect(*d, Nanos(0), round % 3 == 0);
      EXPECT_TRUE(done || done.error().code() == Code::kBusy) << done.error().what();
    }
  }
  settle({a.get(), b.get()});
  b->stop();
  TAKE(Collection done, collect(*a, Nanos(0), true));
  EXPECT_EQ(done.unknown, Collection::Sum());
  b->start();
  Device fresh(volume_, memory_, "fresh");
  fresh.start();
  expect_equal({&fresh, a.get(), b.get()});
  for (auto& [name, content] : fresh.tree()) EXPECT_FALSE(content.starts_with("error")) << name << ": " << content;
  EXPECT_EQ(a->problems() + b->problems() + fresh.problems(), "");
}

// c was away with its log closed, so nobody waited for it: it copied a file that the others removed, without having its
// bytes. What it wrote itself is all there; the copy is a file whose bytes are gone, and says so; and all goes on.
TEST_F(CollectorTest, WhoWasAwayTooLongKeepsWhatHeWrote) {
  auto a = device("a", options(true));
  a->write("source", big_);
  a->write("changed", big_);
  a->must_sync();
  auto elsewhere = std::make_shared<MemoryStore>();
  auto carry = [](const MemoryStore& from, MemoryStore& to) {
    for (const auto& [key, object] : from.snapshot()) to.plant(key, object);
  };
  carry(*memory_, *elsewhere);
  Device c(volume_, elsewhere, "c", options());
  c.start();
  c.write("of c", other_);
  c.must_sync();
  c.stop();
  carry(*elsewhere, *memory_);
  a->must_sync();

  const Bytes block = noise(4096, 9);
  c.start();
  copy(c, "source", "copy");
  c.write("changed", block, 1 << 20);
  c.must_sync();
  a->remove("source");
  a->remove("changed");
  a->must_sync();
  const auto before_collecting = memory_->snapshot();
  TAKE(Collection done, collect(*a, Nanos(0)));
  EXPECT_GE(done.freed.bytes, 2 * big_.size());
  c.stop();
  for (const auto& [key, object] : elsewhere->snapshot())
    if (!before_collecting.contains(key)) memory_->plant(key, object);

  auto b = device("b", options());
  settle({a.get(), b.get()});
  for (Device* d : {a.get(), b.get()}) {
    TAKE(Bytes read, d->read("of c"));
    EXPECT_EQ(read, other_);
    TAKE(Ino changed, d->find("changed"));
    Bytes mine(block.size());
    TAKE(auto outcome, d->replica().read(changed, 1 << 20, mine));
    if (!outcome.missing.empty()) {  // it began with a checkpoint that includes the record
      std::promise<Result<void>> fetched;
      d->sync_engine().fetch(outcome.missing, {}, [&](Result<void> r) { fetched.set_value(std::move(r)); });
      ASSERT_OK(fetched.get_future().get());
      TAKE(outcome, d->replica().read(changed, 1 << 20, mine));
    }
    EXPECT_TRUE(outcome.missing.empty());
    EXPECT_EQ(mine, block);
    TAKE(auto faults, d->replica().find_faults());
    EXPECT_EQ(faults, std::vector<std::string>());
  }
  b->stop();
  // Checkpoints go on, and whoever begins with one knows the same.
  auto newest = [&] {
    uint64_t stamp = 0;
    for (const std::string& key : keys(kHintPrefix))
      if (auto name = parse_checkpoint_hint(key)) stamp = std::max(stamp, name->stamp);
    return stamp;
  };
  const uint64_t before = newest();
  for (int i = 0; i < 100 && newest() <= before + 1; ++i) {
    a->write("more", text(100, static_cast<uint64_t>(i)));
    a->must_sync();
    std::this_thread::sleep_for(milliseconds(60));
  }
  EXPECT_GT(newest(), before + 1);
  auto d = device("d");
  EXPECT_EQ(d->problems(), "");
  auto gone = d->read("copy");
  ASSERT_FALSE(gone.has_value());
  EXPECT_NE(gone.error().what().find("no file needed it"), std::string::npos) << gone.error().what();
}

class CollectedCheckpointsTest : public CollectorTest {
 protected:
  std::vector<CheckpointName> hints() const {
    std::vector<CheckpointName> out;
    for (const std::string& key : keys(kHintPrefix))
      if (auto name = parse_checkpoint_hint(key)) out.push_back(*name);
    return out;
  }
  void write_checkpoints(Device& d, int count) {
    for (int i = 0; i < count; ++i) {
      auto before = hints();
      auto written = [&] { return hints() != before; };
      for (int round = 0; round < 100 && !written(); ++round) {
        d.write("f" + std::to_string(round % 5), text(500, ++seed_));
        d.must_sync();
        std::this_thread::sleep_for(milliseconds(60));
      }
      EXPECT_TRUE(written());
    }
  }
  // What a device that joins takes from records.
  size_t records_read_by_a_new_device(Device& like) {
    Device fresh(volume_, memory_, "fresh");
    auto count = std::make_shared<std::atomic<size_t>>(0);
    fresh.faults().set_hook([count](const FaultCall& call) {
      if (call.operation == StoreOperation::kGet && call.key.starts_with(kLogPrefix)) ++*count;
      return Fault{};
    });
    fresh.start();
    fresh.must_sync();
    expect_equal({&like, &fresh});
    EXPECT_EQ(fresh.problems(), "");
    return *count;
  }
  uint64_t seed_ = 0;
};

TEST_F(CollectedCheckpointsTest, TheNewestTwoStay) {
  auto a = device("a", options(true));
  write_checkpoints(*a, 5);
  const auto before = keys(kObjectPrefix);
  EXPECT_GE(before.size(), 10u);  // a segment and a root each
  TAKE(Collection done, collect(*a, days(30)));
  EXPECT_EQ(keys(kObjectPrefix), before);
  clock_.advance(days(31));
  TAKE(done, collect(*a, days(30)));
  EXPECT_LE(keys(kObjectPrefix).size(), 4u + 2u);  // one may be written meanwhile
  EXPECT_EQ(hints().size(), 2u);
  for (const CheckpointName& name : hints()) EXPECT_TRUE(memory_->snapshot().contains(pack_key(name.root)));
  EXPECT_LE(records_read_by_a_new_device(*a), 1u);
}

// Who wrote them is gone, and no hint names them any more.
TEST_F(CollectedCheckpointsTest, OldOnesOfOthersAreFound) {
  auto a = device("a", options(true));
  write_checkpoints(*a, 5);
  a->stop();
  auto b = device("b", options());
  TAKE(Collection done, collect(*b, Nanos(0)));
  EXPECT_EQ(done.freed, Collection::Sum());
  TAKE(done, collect(*b, Nanos(0), true));
  EXPECT_GE(done.freed.objects, 6u);
  EXPECT_EQ(done.unknown, Collection::Sum());
  EXPECT_EQ(keys(kObjectPrefix).size(), 4u);
  EXPECT_LE(records_read_by_a_new_device(*b), 2u);  // the last, and the end of the log
}

// One that cannot be read may share what it lists with those that are superseded.
TEST_F(CollectedCheckpointsTest, WhileOneCannotBeReadAllStay) {
  auto a = device("a", options(true));
  write_checkpoints(*a, 4);
  a->stop();
  memory_->plant(CheckpointName{1'000'000, fixed_id<ObjectId>(3)}.hint(), {});
  memory_->plant(pack_key(fixed_id<ObjectId>(3)), noise(3000, 1));
  const auto before = keys(kObjectPrefix);
  auto b = device("b", options());
  TAKE(Collection done, collect(*b, Nanos(0), true));
  EXPECT_EQ(keys(kObjectPrefix), before);
  memory_->erase(pack_key(fixed_id<ObjectId>(3)));
  TAKE(done, collect(*b, Nanos(0), true));
  EXPECT_LT(keys(kObjectPrefix).size(), before.size() - 1);
}

TEST_F(CollectedCheckpointsTest, TheBackgroundCollectsByItself) {
  SyncOptions often = options(true);
  often.collect_grace = Nanos(0);
  often.collect_every = milliseconds(50);
  auto a = device("a", often);
  a->write("removed", big_);
  a->must_sync();
  a->remove("removed");
  write_checkpoints(*a, 3);
  wait_until([&] { return stored_bytes() < big_.size() / 2; });
  wait_until([&] { return keys(kObjectPrefix).size() <= 6; });
  EXPECT_TRUE(a->sync_engine().status().last_collection.has_value());
  EXPECT_LE(records_read_by_a_new_device(*a), 1u);
}

}  // namespace
}  // namespace coffer::test
