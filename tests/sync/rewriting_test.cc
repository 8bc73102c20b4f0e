// Everything that files consist of comes under the newest keys, whatever it is cut off at and whoever works on it meanwhile.
#include <gtest/gtest.h>

#include <thread>

#include "base/failpoint.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "fs/check/store_check.h"
#include "tests/sync/rotating.h"

namespace coffer::test {
namespace {

using model::Ino;
using std::chrono::milliseconds;

class RewritingTest : public RotatingTest {
 protected:
  static SyncOptions options() {
    SyncOptions o = quick_options();
    o.checkpoint_look = milliseconds(50);
    o.silent_after = Nanos(0);  // a checkpoint waits for nobody's acknowledgement
    return o;
  }
  std::unique_ptr<Device> watcher(const std::string& name, MemorySlots& slots, const SpaceLimits& limits = {}) {
    return watching(name, slots, options(), limits);
  }
  // Large and small files, one in two packs, one with holes, one that shares what another has, one with two names.
  static void fill(Device& d) {
    d.mkdir("dir");
    d.write("dir/large", noise(1'500'000, 1));
    d.must_sync();
    d.write("dir/large", noise(700'000, 2), 1'300'000);
    d.write("small", noise(300, 3));
    d.must_sync();
    d.write("sparse", noise(200'000, 4), 40'000'000);
    d.write("tiny", noise(10, 5));
    TAKE(Ino source, d.find("dir/large"));
    model::NewInode what;
    what.mode = 0600;
    TAKE(model::Node copy, d.replica().make(model::kRootIno, "copy", what));
    TAKE(uint64_t copied, d.replica().copy_range(source, 5000, copy.ino, 0, 900'000, false));
    EXPECT_EQ(copied, 900'000u);
    TAKE(Ino small, d.find("small"));
    ASSERT_OK(d.replica().link(small, model::kRootIno, "link"));
    d.must_sync();
    d.write("alone", noise(100, 6));  // rides inside its record
    d.must_sync();
  }
  // Who has published nothing is unknown to whoever begins an epoch, and gets no keys of it.
  static void join(Device& d) {
    d.write("joined", noise(10, 8));
    d.must_sync();
  }
  static Result<void> rewrite(Device& d, Epoch epoch = 0, std::stop_token stop = {}) {
    return d.sync_engine().rewrite(epoch, std::move(stop), {});
  }
  static Rewriting state(Device& d) { return d.sync_engine().status().rewriting.value_or(Rewriting{}); }
  static void wait_until_done(Device& d) {
    wait_until([&] { return state(d).phase == Rewriting::Phase::kDone; });
  }

  // What check says, who comes to the state as a new device would.
  OldKeys old_keys() {
    const VolumeSecrets secrets = opened().secrets;
    TempDir dir;
    Replica::Keys keys;
    keys.volume = volume_.id;
    keys.epochs = std::make_unique<KeyRing>(secrets.epoch_keys);
    keys.local = std::make_unique<LocalKeys>(volume_.key, Bytes(32, 3));
    auto scratch = Replica::open(dir.path(), std::move(keys), {});
    EXPECT_OK(scratch);
    auto outcome = check_store(*memory_, secrets, {}, **scratch, {});
    EXPECT_OK(outcome);
    if (!outcome) return {};
    for (const Damage& d : outcome->damages) EXPECT_FALSE(d.is_fault()) << d.what;
    return outcome->old_keys;
  }
  void expect_nothing_old() {
    const OldKeys old = old_keys();
    EXPECT_GE(old.epochs, 2u);
    EXPECT_EQ(old.packs, std::vector<std::string>());
    EXPECT_EQ(old.records, std::vector<std::string>());
    EXPECT_EQ(old.checkpoints, std::vector<std::string>());
  }
  uint64_t stored(const std::string& prefix = kObjectPrefix) const {
    uint64_t sum = 0;
    for (const auto& [key, object] : memory_->snapshot())
      if (key.starts_with(prefix)) sum += object.size();
    return sum;
  }
  // Names, contents, and what a rewriting must not touch.
  static std::map<std::string, std::string> all_of(Device& d) {
    auto out = d.tree();
    for (auto& [path, what] : out) {
      auto ino = d.find(path);
      auto inode = ino ? d.replica().attributes(*ino) : Result<model::Inode>(fail(ino.error()));
      if (!inode) continue;
      what += " " + std::to_string(inode->version) + " " + std::to_string(inode->mtime.ns) + " " +
              std::to_string(inode->ctime.ns) + " " + std::to_string(inode->size) + " " + std::to_string(inode->nlink);
    }
    return out;
  }
};

TEST_F(RewritingTest, EverythingComesUnderTheNewestKeys) {
  auto a = watcher("a", slots_a_), b = watcher("b", slots_b_);
  fill(*a);
  join(*b);
  settle({a.get(), b.get()});
  const auto before = all_of(*a);
  const uint64_t bytes = stored();
  const Epoch epoch = rotate();
  const OldKeys at_first = old_keys();
  EXPECT_GE(at_first.packs.size(), 2u);
  EXPECT_GE(at_first.records.size(), 1u);  // small files ride inside records
  EXPECT_FALSE(a->sync_engine().status().rewriting);

  uint64_t most = 0, last_left = 1;
  ASSERT_OK(a->sync_engine().rewrite(epoch, {}, [&](const SyncProgress& p) {
    most = std::max(most, p.total_bytes);
    last_left = p.total_bytes - p.done_bytes;
  }));
  EXPECT_GE(most, 2'200'000u);
  EXPECT_LT(most, 2'600'000u);  // what two files share counts once
  EXPECT_EQ(last_left, 0u);
  EXPECT_EQ(state(*a).left_bytes, 0u);
  expect_nothing_old();
  EXPECT_LT(stored(), bytes + bytes * 5 / 4 + 100'000);  // and is there once
  settle({b.get(), a.get()});
  EXPECT_EQ(all_of(*a), before);
  EXPECT_EQ(all_of(*b), before);
  EXPECT_EQ(a->sync_engine().status().conflicts + b->sync_engine().status().conflicts, 0u);
  wait_until(
      [&] { return (a->problems() + b->problems()).empty(); });  // b may get the keys a moment after the first record

  // What it was goes with the next collection after the grace; everything can be read without.
  settle({a.get(), b.get()});
  TAKE(Collection gone, a->sync_engine().collect({Nanos(0), true, false}, {}, {}));
  EXPECT_GE(gone.freed.bytes, 2'000'000u);
  b->restart();
  EXPECT_EQ(all_of(*b), before);
  expect_nothing_old();
  EXPECT_TRUE(state(*a).finished);
}

// The same without what is here: it is fetched, and does not stay.
TEST_F(RewritingTest, WhatIsNotHereIsFetchedAndGoesAgain) {
  auto a = watcher("a", slots_a_);
  fill(*a);
  const auto before = all_of(*a);
  a->stop();
  auto b = watcher("b", slots_b_);
  b->write("mine", noise(100, 9));
  b->must_sync();
  const Epoch epoch = rotate();
  ASSERT_OK(rewrite(*b, epoch));
  expect_nothing_old();
  wait_until([&] { return b->replica().counters().disk_bytes < 700'000; });
  a->start();
  settle({a.get(), b.get()});
  auto after = all_of(*a);
  after.erase("mine");
  EXPECT_EQ(after, before);
}

// Each failure of one of its steps, and each end of the process there, costs time only.
TEST_F(RewritingTest, ItGoesOnWhereverItIsCutOff) {
  auto a = watcher("a", slots_a_), b = watcher("b", slots_b_);
  fill(*a);
  join(*b);
  settle({a.get(), b.get()});
  const auto before = all_of(*a);
  for (const char* step : {"sync.rewrite_publish=error@2", "sync.rewrite_sealed=error@1", "sync.rewrite_sealed=error@2",
                           "sync.packs_uploaded=error@1", "sync.put_record=error@1", "sync.rewrite_checkpoint=error@1",
                           "sync.put_segment=error@1", "sync.checkpoint_put=error@1"}) {
    SCOPED_TRACE(step);
    const Epoch epoch = rotate();
    wait_until([&] { return newest(*a) == epoch; });
    arm_failpoints(step);
    std::stop_source enough;
    std::jthread asks([&] { (void)rewrite(*a, epoch, enough.get_token()); });
    wait_until([&] { return state(*a).epoch == epoch; });
    std::this_thread::sleep_for(milliseconds(100));
    enough.request_stop();
    asks.join();
    a->restart();
    arm_failpoints("");
    wait_until_done(*a);
    expect_nothing_old();
    settle({a.get(), b.get()});
    EXPECT_EQ(all_of(*a), before);
    EXPECT_EQ(all_of(*b), before);
  }
}

TEST_F(RewritingTest, OthersWriteAndRotateMeanwhile) {
  auto a = watcher("a", slots_a_), b = watcher("b", slots_b_);
  fill(*a);
  join(*b);
  settle({a.get(), b.get()});
  Epoch epoch = rotate();
  // Each pack that goes up lets the other change the same files.
  std::atomic<int> packs{0};
  a->faults().set_hook([&](const FaultCall& call) {
    if (call.operation == StoreOperation::kPut && call.key.starts_with(kObjectPrefix) && packs++ < 3) {
      const int n = packs;
      b->write("dir/large", noise(1000, 50 + n), 100'000 * n);
      b->write("small", noise(50, 60 + n), 10 * n);
      b->write("new" + std::to_string(n), noise(70'000, 70 + n));
      b->must_sync();
      if (n == 2) epoch = rotate();
    }
    return Fault{};
  });
  ASSERT_OK(rewrite(*a, epoch));
  a->faults().set_hook(nullptr);
  settle({a.get(), b.get()});
  // The second epoch may have come when all was done under the first.
  ASSERT_OK(rewrite(*a, epoch));
  settle({a.get(), b.get(), a.get()});
  expect_nothing_old();
  expect_equal({a.get(), b.get()});
  EXPECT_EQ(a->sync_engine().status().conflicts + b->sync_engine().status().conflicts, 0u);
  Bytes large = noise(1'500'000, 1), second = noise(700'000, 2);
  large.resize(2'000'000);
  std::ranges::copy(second, large.begin() + 1'300'000);
  for (int n = 1; n <= 3; ++n) std::ranges::copy(noise(1000, 50 + n), large.begin() + 100'000 * n);
  EXPECT_EQ(blake2b(a->read("dir/large").value()), blake2b(large));
}

TEST_F(RewritingTest, TwoAtOnce) {
  auto a = watcher("a", slots_a_), b = watcher("b", slots_b_);
  fill(*a);
  join(*b);
  settle({a.get(), b.get()});
  const auto before = all_of(*a);
  const Epoch epoch = rotate();
  {
    std::jthread other([&] { EXPECT_OK(rewrite(*b, epoch)); });
    EXPECT_OK(rewrite(*a, epoch));
  }
  settle({a.get(), b.get()});
  expect_nothing_old();
  EXPECT_EQ(all_of(*a), before);
  EXPECT_EQ(all_of(*b), before);
  EXPECT_EQ(a->sync_engine().status().conflicts + b->sync_engine().status().conflicts, 0u);
}

// What nobody can read is said, and does not keep the rest.
TEST_F(RewritingTest, WhatIsDamagedIsToldAndTriedAgain) {
  auto a = watcher("a", slots_a_);
  a->write("bad", noise(300'000, 1));
  a->must_sync();
  TAKE(Ino bad, a->find("bad"));
  TAKE(auto extents, a->replica().extents(bad, 0, 1));
  a->write("good", noise(300'000, 2));
  a->must_sync();
  a->stop();
  const std::string key = pack_key(extents.front().frame.pack);
  const Bytes whole = memory_->snapshot().at(key);
  Bytes damaged = whole;
  std::fill(damaged.begin() + 1000, damaged.begin() + 280'000, 0x55);
  memory_->erase(key);
  memory_->plant(key, damaged);
  auto b = watcher("b", slots_b_);
  b->write("mine", noise(100, 9));
  b->must_sync();
  const Epoch epoch = rotate();
  wait_until([&] { return newest(*b) == epoch; });
  std::stop_source enough;
  std::jthread asks([&] { (void)rewrite(*b, epoch, enough.get_token()); });
  wait_until([&] { return b->problems().find("cannot be sealed under the new keys") != std::string::npos; });
  EXPECT_GT(state(*b).stuck_bytes, 0u);
  EXPECT_GT(state(*b).left_bytes, 0u);
  TAKE(Ino good, b->find("good"));
  TAKE(auto moved, b->replica().extents(good, 0, 1));
  EXPECT_TRUE(memory_->snapshot().contains(pack_key(moved.front().frame.pack)));
  memory_->erase(key);
  memory_->plant(key, whole);
  wait_until_done(*b);
  enough.request_stop();
  asks.join();
  wait_until([&] { return b->problems().empty(); });
  expect_nothing_old();
  EXPECT_EQ(b->read("bad").value(), noise(300'000, 1));
}

// The machine, or its network, is gone after any request that the work makes.
TEST_F(RewritingTest, AnyRequestMayBeTheLast) {
  auto a = watcher("a", slots_a_);
  a->write("one", noise(100'000, 1));
  a->must_sync();
  a->write("two", noise(300, 2));
  a->must_sync();
  const auto before = all_of(*a);
  bool cut_off = true;
  for (int last = 0; cut_off; last += 1 + last / 4) {
    SCOPED_TRACE(last);
    ASSERT_LT(last, 100);
    const Epoch epoch = rotate();
    wait_until([&] { return newest(*a) == epoch; });
    std::atomic<int> made{0};
    std::atomic<bool> gone{false};
    a->faults().set_hook([&](const FaultCall& call) {
      Fault fault;
      const bool changes = call.operation == StoreOperation::kPut || call.operation == StoreOperation::kRemove;
      if (gone) fault.fail_before = Code::kUnavailable;
      if (!gone && changes && made++ == last) {
        gone = true;
        (last % 2 == 0 ? fault.fail_before : fault.fail_after) = Code::kUnavailable;
      }
      return fault;
    });
    std::stop_source enough;
    std::jthread asks([&] { (void)rewrite(*a, epoch, enough.get_token()); });
    wait_until([&] { return gone || (state(*a).epoch == epoch && state(*a).phase == Rewriting::Phase::kDone); });
    cut_off = gone;
    enough.request_stop();
    asks.join();
    a->stop(false);
    a->faults().set_hook(nullptr);
    a->start();
    wait_until_done(*a);
    EXPECT_EQ(state(*a).epoch, epoch);
    a->must_sync();
    expect_nothing_old();
    EXPECT_EQ(all_of(*a), before);
  }
}

// Data of an epoch whose keys have not come, or are lost: nobody takes it for damaged by the store, and the rest goes on.
TEST_F(RewritingTest, WhatNoKeyOpensIsToldAndTriedAgain) {
  auto a = watcher("a", slots_a_), b = watcher("b", slots_b_);
  a->write("good", noise(300'000, 1));
  join(*b);
  settle({a.get(), b.get()});
  // What is begun under one epoch stays under it; the record is under the one after.
  const std::map<Epoch, Secret> lost = [] {
    std::map<Epoch, Secret> out;
    out.emplace(2, Secret::random(kAeadKeySize));
    return out;
  }();
  std::atomic<bool> tried{false};
  a->faults().set_hook([&](const FaultCall& call) {
    Fault fault;
    if (call.operation != StoreOperation::kPut || !call.key.starts_with(kObjectPrefix)) return fault;
    tried = true;
    fault.fail_before = Code::kUnavailable;
    return fault;
  });
  a->replica().key_ring().add(lost);
  a->write("bad", noise(300'000, 2));
  wait_until([&] { return tried.load(); });
  const Epoch epoch = rotate();
  wait_until([&] { return newest(*a) == epoch && newest(*b) == epoch; });
  a->faults().set_hook(nullptr);
  settle({a.get(), b.get()});
  a->stop();

  std::stop_source enough;
  std::jthread asks([&] { (void)rewrite(*b, epoch, enough.get_token()); });
  wait_until([&] { return b->problems().find("none of the keys of 2 epochs opens it") != std::string::npos; });
  EXPECT_GT(state(*b).stuck_bytes, 0u);
  EXPECT_EQ(b->read("good").value(), noise(300'000, 1));
  EXPECT_CODE(Code::kCorrupt, b->read("bad"));  // and is not fetched for ever
  b->replica().key_ring().add(lost);
  wait_until_done(*b);
  enough.request_stop();
  asks.join();
  wait_until([&] { return b->problems().empty(); });
  expect_nothing_old();
  EXPECT_EQ(b->read("bad").value(), noise(300'000, 2));
}

}  // namespace
}  // namespace coffer::test
