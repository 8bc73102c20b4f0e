// Devices that write checkpoints, and new ones that begin with them, on stores in memory that fail as asked.
#include <mutex>
#include <thread>

#include "fs/sync/checkpoint.h"
#include "fs/sync/object_keys.h"
#include "tests/sync/checkpoint_fixture.h"

namespace coffer::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class CheckpointsTest : public WithCheckpoints {
 protected:
  // A new device, and which records it fetched until it had everything.
  std::unique_ptr<Device> join(const std::string& name, std::set<std::string>& fetched) {
    auto d = std::make_unique<Device>(volume_, memory_, name);
    auto mutex = std::make_shared<std::mutex>();
    d->faults().set_hook([&fetched, mutex](const FaultCall& call) {
      std::lock_guard lock(*mutex);
      if (call.operation == StoreOperation::kGet && call.key.starts_with(kLogPrefix)) fetched.insert(call.key);
      return Fault{};
    });
    d->start();
    d->must_sync();
    d->faults().set_hook(nullptr);
    return d;
  }
  // Of everything that a tree can hold.
  static void fill(Device& d) {
    Replica& r = d.replica();
    d.mkdir("dir");
    d.mkdir("dir/below");
    for (int i = 0; i < 30; ++i) d.write("dir/f" + std::to_string(i), text(500, static_cast<uint64_t>(i)));
    d.write("big", noise(3 << 20, 1));
    d.write("sparse", text(1000, 2), uint64_t{30} << 20);
    for (uint64_t at = 0; at < 40; at += 2) d.write("holes", text(10, at), at << 21);
    TAKE(Ino dir, d.find("dir"));
    TAKE(Ino file, d.find("dir/f1"));
    ASSERT_OK(r.link(file, dir, "another name"));
    ASSERT_OK(r.link(file, model::kRootIno, "a third"));
    ASSERT_OK(r.set_xattr(file, "user.x", text(300, 3), model::XattrMode::kAny));
    model::NewInode symlink;
    symlink.type = model::FileType::kSymlink;
    symlink.target = "dir/f1";
    ASSERT_OK(r.make(dir, "symlink", symlink));
    d.remove("dir/f2");
  }
};

TEST_F(CheckpointsTest, ANewDeviceBeginsWithOne) {
  auto a = device("a", eager()), b = device("b");
  fill(*a);
  a->must_sync();
  b->must_sync();
  b->write("of b", text(1000, 9));
  b->must_sync();
  wait_for_checkpoint(*a);  // b has seen everything
  auto below = keys(kLogPrefix);
  std::set<std::string> fetched;
  auto c = join("c", fetched);
  for (const std::string& key : below) EXPECT_FALSE(fetched.contains(key)) << key;
  expect_equal({a.get(), b.get(), c.get()});
  EXPECT_EQ(c->tree().size(), 38u);
  TAKE(Ino file, c->find("a third"));
  EXPECT_EQ(c->replica().get_xattr(file, "user.x").value(), text(300, 3));
  EXPECT_EQ(c->replica().attributes(file)->nlink, 3u);

  // It goes on like everybody, and after a restart as well.
  c->write("of c", text(100, 1));
  a->write("of a", text(100, 2));
  b->remove("dir/f3");
  settle({a.get(), b.get(), c.get()});
  expect_equal({a.get(), b.get(), c.get()});
  c->restart();
  c->write("of c again", text(100, 1));
  c->remove("dir/another name");
  settle({c.get(), a.get(), b.get()});
  expect_equal({a.get(), b.get(), c.get()});
  EXPECT_EQ(a->problems() + b->problems() + c->problems(), "");
}

TEST_F(CheckpointsTest, ChangesOfWhatLiesBelowOneMeetThere) {
  auto a = device("a", eager()), b = device("b");
  for (const char* name : {"both", "moved"}) a->write(name, text(1000, 1));
  settle({a.get(), b.get()});
  b->stop(true);
  wait_for_checkpoint(*a);
  b->start();
  // b works offline, on versions below the checkpoint; a changes the same, and has a checkpoint above.
  b->faults().set_hook([](const FaultCall&) {
    Fault f;
    f.fail_before = Code::kUnavailable;
    return f;
  });
  b->write("both", text(1000, 2));
  TAKE(Ino dir, b->find(""));
  ASSERT_OK(b->replica().rename(dir, "moved", dir, "moved by b", model::RenameMode::kReplace));
  a->write("both", text(1000, 4));
  a->write("moved", text(1000, 5));
  wait_for_checkpoint(*a);
  std::set<std::string> fetched;
  auto c = join("c", fetched);
  EXPECT_TRUE(fetched.empty());
  b->faults().set_hook(nullptr);
  settle({b.get(), c.get(), a.get()});
  expect_equal({a.get(), b.get(), c.get()});
  std::set<std::string> contents;
  for (const auto& [name, content] : c->tree()) contents.insert(c->read(name) ? content : "");
  EXPECT_EQ(c->tree().size(), 3u);  // both, its conflict copy, moved by b
  EXPECT_EQ(contents.size(), 3u);
  EXPECT_TRUE(c->find("moved by b").has_value());
  auto d = device("d");
  expect_equal({a.get(), d.get()});
}

// b has the old version of a file open when a replaces it; what he writes later is in a record above the checkpoint, and most
// of it in a pack that no file had when the checkpoint was made.
TEST_F(CheckpointsTest, ALaterRecordFindsThePackOfAnOldVersion) {
  auto a = device("a", eager()), b = device("b");
  a->write("file", noise(1 << 20, 1));
  settle({a.get(), b.get()});
  Ino held = 0;
  b->replica().on_supersede([&](Ino, Ino keeper) {
    held = keeper;
    return true;
  });
  a->write("file", noise(1 << 20, 2));
  settle({a.get(), b.get()});
  ASSERT_NE(held, 0u);
  b->write("seen", text(10, 1));
  settle({b.get(), a.get()});
  wait_for_checkpoint(*a);
  TAKE(const Ino copy, b->replica().writable(held));
  ASSERT_OK(b->replica().write(copy, 100, text(10, 3), false));
  b->must_sync();
  auto c = device("c");
  settle({b.get(), c.get()});
  EXPECT_EQ(c->tree().size(), b->tree().size());
  EXPECT_GE(c->tree().size(), 3u);  // file, its conflict copy, seen
  expect_equal({b.get(), c.get()});
  EXPECT_EQ(c->problems(), "");
}

TEST_F(CheckpointsTest, WhatDidNotChangeIsShared) {
  auto a = device("a", eager());
  const int files = std::getenv("COFFER_TEST_FULL") ? 100'000 : 20'000;
  Ino dir = 0;
  for (int i = 0; i < files; ++i) {
    if (i % 1000 == 0) {
      std::string name = "dir" + std::to_string(i / 1000);
      a->mkdir(name);
      dir = a->find(name).value();
    }
    model::NewInode what;
    what.mode = 0644;
    ASSERT_OK(a->replica().make(dir, "file number " + std::to_string(i), what));
  }
  wait_for_checkpoint(*a);
  std::set<ObjectId> segments;
  for (const SegmentInfo& s : open(hints().front()).segments) segments.insert(s.id);
  size_t records = keys(kLogPrefix).size(), objects = keys("obj/").size();
  std::set<std::string> fetched;
  auto b = join("b", fetched);
  StoreCounters counters = b->counters();
  EXPECT_TRUE(fetched.empty());
  std::printf("joined %d files, %zu records: %llu GET, %llu LIST, %llu bytes down; the checkpoint has %zu objects\n",
              files, records, static_cast<unsigned long long>(counters.get),
              static_cast<unsigned long long>(counters.list), static_cast<unsigned long long>(counters.bytes_down),
              objects);
  EXPECT_LE(counters.list, 4u);
  EXPECT_LE(counters.bytes_down, static_cast<uint64_t>(files) * 120);
  expect_equal({a.get(), b.get()});
  b->stop(false);

  StoreCounters before = a->counters();
  const int more = std::getenv("COFFER_TEST_FULL") ? 40 : 4;  // a large one is not written anew for little
  for (int i = 0; i < more; ++i) {
    a->must_sync();
    a->write("dir3/one more", text(100, static_cast<uint64_t>(i)));
  }
  wait_for_checkpoint(*a);
  StoreCounters after = a->counters();
  std::printf("after a few changes: %llu bytes up\n",
              static_cast<unsigned long long>(after.bytes_up - before.bytes_up));
  EXPECT_GE(hints().size(), 1u);
  EXPECT_LE(hints().size(), 2u);
  const size_t kept = segments.size();
  for (const SegmentInfo& s : open(hints().front()).segments) segments.insert(s.id);
  EXPECT_GT(kept, 4u);
  EXPECT_LE(segments.size(), kept + 4);  // those with the root, dir3, the file, and the logs
  auto c = device("c");
  expect_equal({a.get(), c.get()});
}

TEST_F(CheckpointsTest, ADamagedOneIsToldAndPassedOver) {
  auto a = device("a", eager());
  a->write("one", text(1000, 1));
  wait_for_checkpoint(*a);
  auto objects_before = keys("obj/");
  auto old_records = keys(kLogPrefix);
  CheckpointName old = hints().front();
  a->write("two", text(1000, 2));
  wait_for_checkpoint(*a);
  a->stop(false);
  auto good = memory_->snapshot();
  std::vector<std::string> fresh;
  for (const std::string& key : keys("obj/"))
    if (std::find(objects_before.begin(), objects_before.end(), key) == objects_before.end()) fresh.push_back(key);
  ASSERT_GE(fresh.size(), 2u);
  ASSERT_EQ(hints().size(), 2u);  // the one before can still be found
  auto a_tree = [&] { return std::set<std::string>{"one", "two"}; };
  auto expect_from_old = [&](const std::string& how, bool told) {
    SCOPED_TRACE(how);
    std::set<std::string> fetched;
    auto c = join("c", fetched);
    for (const std::string& key : old_records) EXPECT_FALSE(fetched.contains(key)) << key;
    EXPECT_FALSE(fetched.empty());
    std::set<std::string> names;
    for (auto& [name, content] : c->tree()) names.insert(name);
    EXPECT_EQ(names, a_tree());
    EXPECT_EQ(c->problems().find("is refused") != std::string::npos, told) << c->problems();
    for (const std::string& key : fresh) memory_->plant(key, good.at(key));
  };
  for (const std::string& key : fresh) {
    Bytes bad = good.at(key);
    bad[bad.size() / 2] ^= 1;
    memory_->plant(key, bad);
    expect_from_old("flip " + key, true);
    memory_->plant(key, BytesView(good.at(key)).first(1000));
    expect_from_old("truncation", true);
    memory_->plant(key, {});
    expect_from_old("empty", true);
  }
  memory_->plant(fresh[0], good.at(fresh[1]));
  memory_->plant(fresh[1], good.at(fresh[0]));
  expect_from_old("swap", true);
  // The older one's root under the newer one's name, and the other way round: rolled back.
  std::string newer_root = pack_key(hints().front().root);
  memory_->plant(newer_root, good.at(pack_key(old.root)));
  expect_from_old("another root", true);
  memory_->erase(newer_root);
  expect_from_old("only a hint", false);
  for (const std::string& key : fresh) memory_->erase(key);
  memory_->erase(hints().front().hint());
  expect_from_old("rolled back", false);
  // Without any, there are the logs.
  for (const std::string& key : keys("obj/")) memory_->plant(key, {});
  std::set<std::string> fetched;
  auto c = join("c", fetched);
  EXPECT_EQ(c->tree().size(), 2u);
  for (const std::string& key : old_records) EXPECT_TRUE(fetched.contains(key));
}

TEST_F(CheckpointsTest, OneOfAnotherVolumeIsRefused) {
  auto a = device("a");
  a->write("x", text(100, 1));
  a->must_sync();
  TestVolume other;
  auto elsewhere = std::make_shared<MemoryStore>();
  Device stranger(other, elsewhere, "stranger", eager());
  stranger.start();
  for (int i = 0; i < 5; ++i) {
    stranger.write("y" + std::to_string(i), text(100, 1));
    stranger.must_sync();
  }
  auto listed = [&] {
    for (auto& [key, object] : elsewhere->snapshot())
      if (parse_checkpoint_hint(key)) return true;
    return false;
  };
  wait_until(listed);
  stranger.stop();
  for (auto& [key, object] : elsewhere->snapshot())
    if (key.starts_with("obj/") || parse_checkpoint_hint(key)) memory_->plant(key, object);
  // Names that lead to nothing, and to something else.
  memory_->plant(CheckpointName{1000, fixed_id<ObjectId>(1)}.hint(), {});
  memory_->plant(CheckpointName{2000, fixed_id<ObjectId>(2)}.hint(), {});
  memory_->plant(pack_key(fixed_id<ObjectId>(2)), noise(10'000, 1));
  auto b = device("b");
  EXPECT_EQ(b->tree(), a->tree());
  EXPECT_NE(b->problems().find("does not open"), std::string::npos) << b->problems();
}

TEST_F(CheckpointsTest, WritingThatBreaksOffIsDoneAgain) {
  for (const char* step : {"sync.put_segment", "sync.put_checkpoint", "sync.checkpoint_put"}) {
    SCOPED_TRACE(step);
    memory_ = std::make_shared<MemoryStore>();
    auto a = device("a", eager());
    arm_failpoints(std::string(step) + "=error");
    a->write("x", text(1000, 1));
    a->must_sync();
    std::this_thread::sleep_for(milliseconds(150));
    EXPECT_TRUE(hints().empty());
    a->stop(false);
    arm_failpoints("");
    a->start();
    a->write("y", text(1000, 1));
    wait_for_checkpoint(*a);
    EXPECT_EQ(a->problems(), "");
    std::set<std::string> fetched;
    auto c = join("c", fetched);
    EXPECT_TRUE(fetched.empty());
    expect_equal({a.get(), c.get()});
  }
}

TEST_F(CheckpointsTest, LoadingThatBreaksOffBeginsAnew) {
  auto a = device("a", eager());
  fill(*a);
  for (int i = 0; i < 10'000; ++i) {
    model::NewInode what;
    what.mode = 0644;
    ASSERT_OK(a->replica().make(model::kRootIno, "file number " + std::to_string(i), what));
  }
  wait_for_checkpoint(*a);
  for (const char* step : {"replica.load_batch=error", "replica.load_batch=error@2", "replica.load_last=error"}) {
    SCOPED_TRACE(step);
    Device c(volume_, memory_, "c");
    arm_failpoints(step);
    c.open();
    if (!std::string(step).ends_with("@2")) {
      wait_until([&] { return c.problems().find("cannot be kept") != std::string::npos; });
      TAKE(bool root, c.replica().has_root());
      EXPECT_FALSE(root);
      // What is there is not whole, also after a restart; and another checkpoint may be the newest then.
      c.stop(false);
      arm_failpoints("");
      a->write("after " + std::string(step), text(100, 1));
      wait_for_checkpoint(*a);
      c.start();
    } else {
      (void)c.sync_engine().load_first({});       // fails, unless the next attempt came first
      ASSERT_OK(c.sync_engine().load_first({}));  // it is tried again, in the same process
    }
    arm_failpoints("");
    c.must_sync();
    expect_equal({a.get(), &c});
    EXPECT_EQ(c.problems(), "");
  }
}

TEST_F(CheckpointsTest, AStalledUploadDoesNotHinderWorkNorStopping) {
  auto a = device("a", eager());
  a->faults().set_hook([](const FaultCall& call) {
    Fault f;
    f.hang = call.operation == StoreOperation::kPut && call.key.starts_with("obj/");
    return f;
  });
  a->write("x", text(100, 1));
  a->must_sync();
  std::this_thread::sleep_for(milliseconds(200));  // a segment hangs
  a->write("y", text(100, 1));
  a->must_sync();
  auto b = device("b");
  EXPECT_EQ(b->tree().size(), 2u);
  auto start = std::chrono::steady_clock::now();
  a->stop(false);
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(5));
}

// The snapshot is of one moment: what changes while it is read is not in it.
TEST_F(CheckpointsTest, WorkGoesOnWhileOneIsWritten) {
  auto a = device("a", eager(true));
  for (int i = 0; i < 300; ++i) a->write("f" + std::to_string(i), text(2000, static_cast<uint64_t>(i)));
  std::mt19937_64 random(1);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 40; ++i) {
      std::string name = "f" + std::to_string(random() % 300);
      if (random() % 4 == 0 && a->find(name))
        a->remove(name);
      else
        a->write(name, text(random() % 3000, random()));
    }
    std::this_thread::sleep_for(milliseconds(random() % 60));
    if (round % 3 == 2) {
      auto c = device("c" + std::to_string(round));
      TAKE(auto faults, c->replica().find_faults());
      EXPECT_EQ(faults, std::vector<std::string>());
      EXPECT_EQ(c->problems(), "");
      c->stop(true);
    }
  }
  wait_for_checkpoint(*a);
  std::set<std::string> fetched;
  auto d = join("d", fetched);
  EXPECT_TRUE(fetched.empty());
  expect_equal({a.get(), d.get()});
}

class UnreliableStoreForCheckpoints : public CheckpointsTest, public ::testing::WithParamInterface<uint64_t> {};

TEST_P(UnreliableStoreForCheckpoints, NewDevicesConverge) {
  const FaultRates rates = unreliable();
  std::mt19937_64 random(GetParam());
  std::vector<std::unique_ptr<Device>> devices;
  for (int i = 0; i < 2; ++i) devices.push_back(device(std::string(1, static_cast<char>('a' + i)), eager(true)));
  settle({devices[0].get(), devices[1].get()});
  for (size_t i = 0; i < 2; ++i) devices[i]->faults().set_hook(FaultStore::random(GetParam() * 10 + i, rates));
  for (int step = 0; step < 60; ++step) {
    Device& d = *devices[random() % devices.size()];
    if (random() % 20 == 0)
      d.restart();
    else
      d.write("f" + std::to_string(random() % 40), noise(1 + random() % 2000, random()));
    std::this_thread::sleep_for(milliseconds(random() % 60));
    if (step % 20 == 19) {
      auto fresh = std::make_unique<Device>(volume_, memory_, "new" + std::to_string(step), eager(true));
      fresh->faults().set_hook(FaultStore::random(GetParam() * 100 + static_cast<uint64_t>(step), rates));
      fresh->start();
      devices.push_back(std::move(fresh));
    }
  }
  std::vector<Device*> all;
  for (auto& d : devices) {
    d->faults().set_hook(nullptr);
    ASSERT_OK(d->faults().settle());
    all.push_back(d.get());
  }
  wait_until([&] {
    settle(all);
    return std::all_of(all.begin(), all.end(), [&](Device* d) { return d->tree() == all[0]->tree(); });
  });
  expect_equal(all);
}

INSTANTIATE_TEST_SUITE_P(Seeds, UnreliableStoreForCheckpoints, ::testing::Values(1, 2));

}  // namespace
}  // namespace coffer::test
