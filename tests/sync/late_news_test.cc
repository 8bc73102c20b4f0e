// Records that sort before what is settled elsewhere: written on an old view of the store by a device that nobody waited for.
#include <algorithm>

#include "crypto/hash.h"
#include "fs/check/paths.h"
#include "fs/check/store_check.h"
#include "fs/sync/object_keys.h"
#include "tests/sync/device.h"

namespace coffer::test {
namespace {

using model::Ino;
using std::chrono::milliseconds;

class LateNewsTest : public DevicesTest {
 protected:
  // Another place with the same directory: what a program that carries files has brought there so far.
  std::shared_ptr<MemoryStore> elsewhere_ = std::make_shared<MemoryStore>();
  std::map<std::string, Bytes> c_knew_;  // what was carried to c before it left

  static void carry(const MemoryStore& from, MemoryStore& to) {
    auto there = to.snapshot();
    for (const auto& [key, object] : from.snapshot())
      if (!there.contains(key)) to.plant(key, object);
  }
  static void rename(Device& d, const std::string& from, const std::string& to) {
    TAKE(Ino root, d.find(""));
    ASSERT_OK(d.replica().rename(root, from, root, to, model::RenameMode::kReplace));
  }
  // The greatest stamp of the logs of this device.
  static uint64_t newest_stamp(Device& d) {
    uint64_t stamp = 0;
    for (const LogTail& tail : d.logs())
      if (tail.device == d.identity().device) stamp = std::max(stamp, tail.stamp);
    return stamp;
  }

  SyncOptions on_the_clock() const {
    SyncOptions o = quick_options();
    o.clock = &clock_;
    return o;
  }
  // c joins in its own place, sees all that there is, and leaves: in order, or as if it had lost its power.
  void c_visits(bool in_order = true) {
    carry(*memory_, *elsewhere_);
    c_knew_ = memory_->snapshot();
    c_ = std::make_unique<Device>(volume_, elsewhere_, "c", on_the_clock());
    c_->start();
    c_->must_sync();
    if (!in_order) {
      c_->write("open log", text(100, 90));
      c_->must_sync();
    }
    c_->stop(in_order);
  }
  // A volume that `c` has left, and on which `a` and `b` have gone on so far that what c knew is settled there.
  void go_on_without_c() { go_on_without_c(on_the_clock()); }
  void go_on_without_c(const SyncOptions& options_of_a, bool c_leaves_in_order = true) {
    a_ = device("a", options_of_a), b_ = device("b", on_the_clock());
    a_->mkdir("dir");
    a_->mkdir("moved");
    for (int i = 0; i < 10; ++i) a_->write("dir/f" + std::to_string(i), text(500, static_cast<uint64_t>(i)));
    for (const char* name : {"changed by all", "changed by c", "removed by a", "removed by c"})
      a_->write(name, text(1000, 1));
    a_->write("moved/inside", noise(300'000, 5));
    settle({a_.get(), b_.get()});
    c_visits(c_leaves_in_order);

    for (int i = 0; i < 4; ++i) {
      a_->write("changed by all", text(1000, 10 + static_cast<uint64_t>(i)));
      a_->must_sync();
      b_->must_sync();
      b_->write("of b " + std::to_string(i), text(1000, 20));
      b_->must_sync();
      a_->must_sync();
    }
    a_->remove("removed by a");
    rename(*a_, "moved", "moved by a");
    b_->write("dir/f1", text(700, 30));
    settle({a_.get(), b_.get()});
  }
  // What c does on its old view, published in its own place only.
  void work_of_c() {
    c_->start();
    c_->write("changed by all", text(1000, 40));
    c_->write("changed by c", text(1000, 41));
    c_->write("removed by a", text(1000, 42));
    c_->remove("removed by c");
    c_->write("moved/new", text(100, 43));
    c_->write("dir/f1", text(700, 44));
    rename(*c_, "dir", "dir by c");
    c_->must_sync();
    c_->write("dir by c/second record", text(100, 45));
    c_->must_sync();
    c_->stop();
  }
  void carry_on_both_sides() {
    carry(*elsewhere_, *memory_);
    carry(*memory_, *elsewhere_);
  }
  // What c brings reaches everybody, and one who is new: that one.
  std::unique_ptr<Device> meet_again() {
    c_->start();
    settle({a_.get(), b_.get(), c_.get()});
    carry_on_both_sides();
    settle({a_.get(), b_.get(), c_.get()});
    auto fresh = device("d");
    expect_equal({a_.get(), b_.get(), c_.get(), fresh.get()});
    return fresh;
  }
  void expect_nothing_lost() {
    std::multiset<std::string> contents;
    for (const auto& [name, content] : a_->tree()) contents.insert(content);
    for (uint64_t seed : {13, 40}) EXPECT_EQ(contents.count(blake2b(text(1000, seed)).str()), 1u) << seed;
    for (uint64_t seed : {30, 44}) EXPECT_EQ(contents.count(blake2b(text(700, seed)).str()), 1u) << seed;
    EXPECT_EQ(contents.count(blake2b(text(1000, 41)).str()), 1u);
    EXPECT_EQ(contents.count(blake2b(text(1000, 42)).str()), 1u);
    EXPECT_TRUE(a_->find("moved by a/new").has_value());
    EXPECT_TRUE(a_->find("dir by c/second record").has_value());
    EXPECT_FALSE(a_->find("removed by c").has_value());
  }

  mutable ShiftedClock clock_;
  std::unique_ptr<Device> a_, b_, c_;
};

TEST_F(LateNewsTest, TheyGetTheirPlaceInTheOrder) {
  go_on_without_c();
  work_of_c();
  EXPECT_LE(newest_stamp(*(c_->open(), c_)), a_->replica().stable());
  c_->stop();
  carry_on_both_sides();
  auto d = meet_again();
  expect_nothing_lost();
  EXPECT_EQ(a_->problems() + b_->problems() + d->problems(), "");

  // All goes on as before, and what is undone later is there to be undone.
  c_->write("of c, later", text(100, 50));
  c_->must_sync();
  carry_on_both_sides();
  a_->write("of a, later", text(100, 51));
  settle({a_.get(), b_.get()});
  carry_on_both_sides();
  c_->must_sync();
  a_->restart();
  settle({a_.get(), b_.get(), d.get()});
  expect_equal({a_.get(), b_.get(), c_.get(), d.get()});
}

TEST_F(LateNewsTest, WhatIsPendingStaysOnTop) {
  go_on_without_c();
  work_of_c();
  carry_on_both_sides();
  // Not published yet, and open.
  TAKE(Ino open, a_->find("of b 0"));
  TAKE(Ino root, a_->find(""));
  ASSERT_OK(a_->replica().unlink(root, "of b 0"));
  a_->write("changed by c", text(1000, 60));
  a_->write("dir/pending", text(1000, 61));
  settle({a_.get(), b_.get()});
  auto d = device("d");
  expect_equal({a_.get(), b_.get(), d.get()});
  expect_nothing_lost();
  std::multiset<std::string> contents;
  for (const auto& [name, content] : a_->tree()) contents.insert(content);
  EXPECT_EQ(contents.count(blake2b(text(1000, 60)).str()), 1u);
  EXPECT_TRUE(a_->find("dir by c/pending").has_value());
  Bytes still(1000);
  TAKE(auto read, a_->replica().read(open, 0, still));
  EXPECT_TRUE(read.missing.empty());
  EXPECT_EQ(still, text(1000, 20));
}

TEST_F(LateNewsTest, WhoIsSilentForLongIsNotWaitedFor) {
  auto silent = [this] {
    std::string names;
    for (const DeviceStatus& d : a_->sync_engine().status().devices) names += d.silent ? d.name : "";
    return names;
  };
  go_on_without_c(on_the_clock(), false);
  carry(*elsewhere_, *memory_);  // that it is there
  settle({a_.get(), b_.get()});
  const uint64_t line = a_->replica().stable();
  clock_.advance(std::chrono::days(59));
  auto go_on = [this](uint64_t seed) {
    for (auto& d : {a_.get(), b_.get()}) d->write("of b 1", text(1000, seed++));
    settle({a_.get(), b_.get()});
    for (auto& d : {a_.get(), b_.get()}) d->must_sync();
  };
  go_on(70);
  EXPECT_EQ(a_->replica().stable(), line);
  EXPECT_EQ(silent(), "");
  clock_.advance(std::chrono::days(2));
  go_on(80);
  EXPECT_GT(a_->replica().stable(), line + 2);
  EXPECT_EQ(silent(), "c");

  work_of_c();
  carry_on_both_sides();
  settle({a_.get(), b_.get()});
  auto d = device("d", on_the_clock());
  expect_equal({a_.get(), b_.get(), d.get()});
  expect_nothing_lost();
  EXPECT_EQ(silent(), "");
}

// It sorts after all that is settled (or with the last of it, as the machines' timing goes), but its author did not know all
// of that.
TEST_F(LateNewsTest, AnOldViewIsEnough) {
  SyncOptions seldom = quick_options();
  seldom.poll_active = seldom.poll_idle = std::chrono::seconds(100);
  a_ = device("a", seldom), b_ = device("b", seldom);
  for (const char* name : {"removed", "of a", "of b"}) a_->write(name, text(1000, 1));
  settle({a_.get(), b_.get()});
  c_visits();
  carry_on_both_sides();
  settle({a_.get(), b_.get()});

  const auto before = memory_->snapshot();
  b_->remove("removed");
  b_->must_sync();
  const auto removal = memory_->snapshot();
  a_->write("of a", text(1000, 2));  // published without looking for news
  wait_until([&] { return memory_->object_count() > removal.size(); });
  for (const auto& [key, object] : memory_->snapshot())
    if (before.contains(key) || !removal.contains(key)) elsewhere_->plant(key, object);
  b_->write("of b", text(1000, 3));
  b_->must_sync();
  a_->must_sync();
  a_->must_sync();

  c_->start();
  c_->write("removed", text(1000, 4));
  c_->must_sync();
  EXPECT_GE(newest_stamp(*c_), a_->replica().stable());
  EXPECT_GT(a_->replica().stable(), 2u);
  c_->stop();
  carry_on_both_sides();
  settle({a_.get(), b_.get()});
  auto d = device("d");
  expect_equal({a_.get(), b_.get(), d.get()});
  EXPECT_EQ(a_->tree()["removed"], blake2b(text(1000, 4)).str());
}

TEST_F(LateNewsTest, ACheckpointThatLacksThemIsNoHindrance) {
  SyncOptions eager = quick_options();
  eager.checkpoint_from = 1;
  eager.checkpoint_look = milliseconds(20);
  go_on_without_c(eager);
  auto covered = [&] {
    for (const std::string& key : keys(kHintPrefix))
      if (auto name = parse_checkpoint_hint(key); name && name->stamp + 2 > newest_stamp(*a_)) return true;
    return false;
  };
  b_->stop();
  wait_until(covered);
  b_->start();
  work_of_c();
  auto before = device("before");  // begins with the checkpoint, and gets them later
  carry_on_both_sides();
  auto after = device("after");
  settle({a_.get(), b_.get(), before.get(), after.get()});
  expect_equal({a_.get(), b_.get(), before.get(), after.get()});
  expect_nothing_lost();
}

// The records that a late one sorts below are read from archives, and make the same of it everywhere.
TEST_F(LateNewsTest, TheyGetTheirPlaceAmongArchivedRecords) {
  SyncOptions eager = on_the_clock();
  eager.checkpoint_from = 1;
  eager.checkpoint_look = milliseconds(20);
  eager.collect_every = std::chrono::days(1000);
  eager.archive_from = 1;
  eager.archive_bytes = 64 << 10;
  go_on_without_c(eager);
  b_->stop();
  wait_until([&] {
    for (const std::string& key : keys(kHintPrefix))
      if (auto name = parse_checkpoint_hint(key); name && name->stamp + 2 > newest_stamp(*a_)) return true;
    return false;
  });
  uint64_t records = 0;
  for (const LogTail& tail : a_->logs()) records += tail.number;
  wait_until([&] {  // it may be collecting by itself
    (void)a_->sync_engine().collect({Nanos(0), false, false, {}}, {}, {});
    return keys(kLogPrefix).size() <= records / 3;
  });
  EXPECT_GT(keys(kArchivePrefix).size(), 0u);
  b_->start();
  work_of_c();
  // Without the objects of records that c has seen.
  for (const auto& [key, object] : elsewhere_->snapshot()) {
    const bool by_c = !memory_->snapshot().contains(key) && (!c_knew_.contains(key));
    if (by_c) memory_->plant(key, object);
  }
  carry(*memory_, *elsewhere_);
  auto d = meet_again();
  for (const std::string& key : keys(kHintPrefix))
    if (parse_checkpoint_hint(key)) memory_->erase(key);
  auto e = device("e");
  expect_equal({a_.get(), e.get()});
  expect_nothing_lost();
  EXPECT_EQ(a_->problems() + b_->problems() + d->problems() + e->problems(), "");
}

// While the store does not show what has to be read again, nothing changes and nothing is forgotten.
TEST_F(LateNewsTest, RecordsThatAreAwayAreWaitedFor) {
  go_on_without_c();
  work_of_c();
  const std::string oldest = keys(kLogPrefix).front();
  auto tree = a_->tree();
  const Bytes object = memory_->snapshot().at(oldest);
  memory_->erase(oldest);
  carry(*elsewhere_, *memory_);
  memory_->erase(oldest);
  wait_until([&] { return a_->problems().find("is needed once more") != std::string::npos; });
  EXPECT_EQ(a_->tree(), tree);
  memory_->plant(oldest, object);
  settle({a_.get(), b_.get()});
  expect_equal({a_.get(), b_.get()});
  expect_nothing_lost();
  EXPECT_EQ(a_->problems(), "");
}

// coffer check comes to the same state, although it begins with a checkpoint that lacks the late records.
TEST_F(LateNewsTest, ACheckGivesThemTheirPlace) {
  SyncOptions eager = quick_options();
  eager.checkpoint_from = 1;
  eager.checkpoint_look = milliseconds(20);
  go_on_without_c(eager);
  wait_until([&] {
    auto hints = keys(kHintPrefix);
    return std::any_of(hints.begin(), hints.end(), [](const auto& k) { return parse_checkpoint_hint(k).has_value(); });
  });
  a_->stop();
  b_->stop();
  work_of_c();
  carry_on_both_sides();

  auto contents = [](Replica& replica) {
    std::multiset<std::string> out;
    uint64_t files = 0;
    EXPECT_OK(visit_files(
        replica, {},
        [&](Ino ino, std::span<const model::Extent> extents) -> Result<void> {
          for (const model::Extent& e : extents)
            out.insert(path_of(replica, ino).value_or("?") + " " + e.frame.hash.str());
          return {};
        },
        &files));
    return out;
  };
  TempDir dir;
  Replica::Keys keys;
  keys.volume = volume_.id;
  keys.epochs = std::make_unique<KeyRing>(1, volume_.key);
  keys.local = std::make_unique<LocalKeys>(volume_.key, Bytes(32, 3));
  TAKE(auto scratch, Replica::open(dir.path(), std::move(keys), {}));
  TAKE(CheckOutcome outcome, check_store(*memory_, volume_.secrets(), {}, *scratch, {}));
  EXPECT_GE(outcome.checkpoints, 1u);
  for (const Damage& d : outcome.damages)
    EXPECT_TRUE(!d.is_fault() || d.thing == "head" || d.thing == "slot") << d.what;
  auto d = device("d");
  d->must_sync();
  EXPECT_EQ(contents(*scratch), contents(d->replica()));
  EXPECT_TRUE(path_of(*scratch, d->find("dir by c/second record").value_or(0)).has_value());
}

}  // namespace
}  // namespace coffer::test
