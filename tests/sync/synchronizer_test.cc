// Devices with real replicas, on stores in memory that fail as asked.
#include "fs/sync/synchronizer.h"

#include <thread>

#include "fs/sync/object_keys.h"
#include "fs/sync/record.h"
#include "remote/file_store.h"
#include "tests/sync/device.h"

namespace coffer::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class SynchronizerTest : public DevicesTest {
 protected:
  // What another volume's device has written: its objects by key, and the largest of a kind.
  static std::map<std::string, Bytes> stranger_objects() {
    TestVolume other;
    auto elsewhere = std::make_shared<MemoryStore>();
    Device stranger(other, elsewhere, "stranger");
    stranger.start();
    stranger.write("y", noise(300'000, 9));
    stranger.must_sync();
    stranger.stop();
    return elsewhere->snapshot();
  }
  static Bytes stranger_object(const std::string& prefix) {
    Bytes out;
    for (auto& [key, object] : stranger_objects())
      if (key.starts_with(prefix) && object.size() > out.size()) out = std::move(object);
    return out;
  }
};

// Readers of three times as much as the cache may hold get all of it right, and it never holds more.
TEST_F(SynchronizerTest, TheCacheHoldsItsLimitWhileReadersRun) {
  constexpr uint64_t kLimit = 8 << 20;
  constexpr size_t kFiles = 12, kSize = 2 << 20;
  auto a = device("a", quick_options(), {kLimit, 0, 0});
  std::vector<Bytes> contents;
  for (size_t i = 0; i < kFiles; ++i) contents.push_back(noise(kSize, i));
  for (size_t i = 0; i < kFiles; ++i) a->write(std::to_string(i), contents[i]);
  a->must_sync();
  auto b = device("b", quick_options(), {kLimit, 0, 0});
  b->must_sync();
  // What the fetching threads write at once comes on top.
  constexpr uint64_t kMost = kLimit + 4 * (2 << 16);
  std::atomic<bool> done = false;
  uint64_t most = 0;
  std::jthread watch([&] {
    while (!done) {
      most = std::max(most, b->replica().packs().disk_bytes());
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  auto read_all = [&](Device& device) {
    std::vector<std::jthread> readers;
    for (size_t r = 0; r < 4; ++r) {
      readers.emplace_back([&, r] {
        for (size_t n = 0; n < kFiles; ++n) {
          size_t i = (r % 2 == 0 ? n + r * 3 : 4 * kFiles - n + r) % kFiles;
          auto content = device.read(std::to_string(i));
          ASSERT_OK(content);
          ASSERT_TRUE(*content == contents[i]);
        }
      });
    }
  };
  read_all(*b);
  done = true;
  watch.join();
  EXPECT_LE(most, kMost);
  EXPECT_GT(most, kLimit / 2);
  // Where it was written, it goes as soon as the store has it and LMDB says so.
  wait_until([&] { return a->replica().packs().disk_bytes() <= kLimit; });
  read_all(*a);
  EXPECT_LE(a->replica().packs().disk_bytes(), kMost);
  // What a former run cached counts as well.
  b->restart();
  EXPECT_GT(b->replica().packs().disk_bytes(), kLimit / 2);
  read_all(*b);
  EXPECT_LE(b->replica().packs().disk_bytes(), kMost);
  expect_equal({a.get(), b.get()});
}

// A record carries what it needs of a pack. The rest of the pack may be needed yet, by what is removed and open.
TEST_F(SynchronizerTest, ARemovedFileThatIsOpenCanBeCopiedWhenItsPackIsPublished) {
  auto a = device("a"), b = device("b");
  const Bytes content = noise(1000, 1);
  a->write("removed", content);
  TAKE(model::Ino removed, a->find("removed"));
  ASSERT_OK(a->replica().sync_file(removed));  // before the other file in the pack
  a->write("other", noise(1000, 2));
  ASSERT_OK(a->replica().unlink(model::kRootIno, "removed"));
  a->must_sync();

  a->write("copy", {});
  TAKE(model::Ino copy, a->find("copy"));
  TAKE(uint64_t copied, a->replica().copy_range(removed, 0, copy, 0, content.size(), false));
  ASSERT_EQ(copied, content.size());
  a->replica().forget(removed);
  a->must_sync();
  b->must_sync();
  TAKE(Bytes there, b->read("copy"));
  EXPECT_EQ(there, content);
}

TEST_F(SynchronizerTest, ASecondDeviceSeesAll) {
  auto a = device("a");
  Bytes small = text(3000, 1), big = noise(5 << 20, 2);
  a->mkdir("dir");
  a->write("dir/small", small);
  a->write("big", big);
  a->must_sync();
  auto b = device("b");
  EXPECT_EQ(b->read("dir/small").value(), small);
  EXPECT_EQ(b->read("big").value(), big);
  // A slow writer publishes more than once.
  const size_t published = keys(kLogPrefix).size() + keys("obj/").size();
  EXPECT_LE(b->counters().get, 8 + 2 * published);
  b->write("dir/answer", text(100, 3));
  b->must_sync();
  wait_until([&] { return a->find("dir/answer").has_value(); });  // without being asked
  settle({a.get(), b.get()});
  expect_equal({a.get(), b.get()});
  EXPECT_EQ(a->problems() + b->problems(), "");
  EXPECT_EQ(a->sync_engine().status().devices.size(), 2u);
}

TEST_F(SynchronizerTest, NothingReadableInTheStore) {
  auto a = device("a");
  Bytes content = text(3000, 1);
  a->write("a name that nobody else uses", content);
  a->write("big", noise(1 << 20, 1));
  a->must_sync();
  for (auto& [key, object] : memory_->snapshot()) {
    std::string_view bytes = as_string(object);
    EXPECT_EQ(bytes.find("a name that"), std::string_view::npos);
    EXPECT_EQ(bytes.find(as_string(content).substr(0, 40)), std::string_view::npos);
    EXPECT_TRUE(object.empty() ? key.starts_with(kHintPrefix) : object.size() % 64 == 0) << key;
  }
}

TEST_F(SynchronizerTest, AnIdleMountLeavesNoObject) {
  auto a = device("a");
  a->must_sync();
  a->stop();
  auto before = memory_->snapshot();
  a->start();
  a->must_sync();
  a->stop();
  EXPECT_EQ(memory_->snapshot(), before);
}

TEST_F(SynchronizerTest, WhatCameToNothingMakesNoObject) {
  SyncOptions slow = quick_options();
  slow.publish_after = slow.publish_within = seconds(10);  // no record is made in between
  auto a = device("a", slow);
  a->must_sync();
  size_t before = memory_->object_count();
  a->write("temporary", noise(300'000, 1));
  a->remove("temporary");
  a->must_sync();
  EXPECT_EQ(keys("obj/").size(), 0u);
  EXPECT_LE(memory_->object_count(), before + 1);  // a record of the directory's new times
}

TEST_F(SynchronizerTest, ASmallChangeCostsThreeRequests) {
  SyncOptions slow = quick_options();
  slow.publish_after = slow.publish_within = seconds(10);
  slow.poll_active = slow.poll_idle = seconds(100);
  auto a = device("a", slow);
  const uint64_t mebibytes = std::getenv("COFFER_TEST_FULL") ? 1024 : 8;
  const Bytes mebibyte = noise(1 << 20, 1);
  for (uint64_t m = 0; m < mebibytes; ++m) a->write("big", mebibyte, m << 20);
  a->must_sync();
  StoreCounters before = a->counters();
  a->write("big", noise(4096, 2), 3 << 20);
  a->must_sync();
  StoreCounters after = a->counters();
  EXPECT_EQ(after.put - before.put, 2u);        // record, hint
  EXPECT_EQ(after.remove - before.remove, 1u);  // the hint before
  EXPECT_EQ(after.get - before.get, 0u);
  EXPECT_LE(after.bytes_up - before.bytes_up, 16u << 10);
  EXPECT_EQ(keys(kHintPrefix).size(), 1u);

  auto b = device("b", slow);
  before = b->counters();
  a->write("big", noise(4096, 3), 5 << 20);
  a->must_sync();
  b->must_sync();
  after = b->counters();
  EXPECT_EQ(after.get - before.get, 1u);
  EXPECT_EQ(after.list - before.list, 1u);
  EXPECT_EQ(after.put - before.put, 0u);
}

TEST_F(SynchronizerTest, ManySmallFilesMakeFewObjects) {
  auto a = device("a");
  for (int d = 0; d < 20; ++d) {
    a->mkdir("d" + std::to_string(d));
    for (int f = 0; f < 100; ++f)
      a->write("d" + std::to_string(d) + "/f" + std::to_string(f), noise(1024, static_cast<uint64_t>(d * 100 + f)));
  }
  a->must_sync();
  EXPECT_LE(memory_->object_count(), 20u);
  auto b = device("b");
  expect_equal({a.get(), b.get()});
}

// The figures that are promised, with the intervals that people have.
TEST_F(SynchronizerTest, AHundredThousandSmallFilesMakeUnderAHundredObjects) {
  const bool full = std::getenv("COFFER_TEST_FULL") != nullptr;
  SyncOptions usual;
  usual.poll_active = usual.poll_idle = seconds(1000);
  auto a = device("a", usual);
  a->must_sync();
  StoreCounters before = a->counters();
  for (int d = 0; d < (full ? 1000 : 100); ++d) {
    a->mkdir("d" + std::to_string(d));
    for (int f = 0; f < 100; ++f)
      a->write("d" + std::to_string(d) + "/f" + std::to_string(f), noise(1024, static_cast<uint64_t>(d * 100 + f)));
  }
  a->must_sync();
  StoreCounters after = a->counters();
  EXPECT_LT(after.put - before.put, 100u);
  EXPECT_LT(memory_->object_count(), 100u);
}

TEST_F(SynchronizerTest, BothWriteAtOnce) {
  auto a = device("a"), b = device("b"), c = device("c");
  settle({a.get(), b.get(), c.get()});
  for (int i = 0; i < 30; ++i) {
    a->write("a" + std::to_string(i), text(500, static_cast<uint64_t>(i)));
    b->write("b" + std::to_string(i), text(700, static_cast<uint64_t>(i)));
    c->write("same" + std::to_string(i % 3), noise(900, static_cast<uint64_t>(i)));
    a->write("same" + std::to_string(i % 3), noise(800, static_cast<uint64_t>(i)));
    std::this_thread::sleep_for(milliseconds(5));
  }
  settle({a.get(), b.get(), c.get()});
  expect_equal({a.get(), b.get(), c.get()});
  EXPECT_GE(a->tree().size(), 63u);
  EXPECT_EQ(a->problems() + b->problems() + c->problems(), "");
}

TEST_F(SynchronizerTest, OfflineWorkGoesOnAndArrives) {
  auto a = device("a");
  a->must_sync();
  a->faults().set_hook([](const FaultCall&) {
    Fault f;
    f.fail_before = Code::kUnavailable;
    return f;
  });
  a->write("offline", noise(200'000, 1));
  wait_until([&] { return !a->sync_engine().status().online && !a->problems().empty(); });
  EXPECT_NE(a->problems().find("cannot reach"), std::string::npos) << a->problems();
  EXPECT_GT(a->sync_engine().status().waiting_bytes, 0u);
  a->restart();
  a->write("later", text(1000, 1));
  a->faults().set_hook(nullptr);
  a->must_sync();
  EXPECT_EQ(a->problems(), "");
  EXPECT_EQ(a->sync_engine().status().waiting_files, 0u);
  auto b = device("b");
  expect_equal({a.get(), b.get()});
}

TEST_F(SynchronizerTest, ARefusalIsToldAtOnce) {
  auto a = device("a");
  a->must_sync();
  a->faults().set_hook([](const FaultCall& call) {
    Fault f;
    if (call.operation == StoreOperation::kPut) f.fail_before = Code::kDenied;
    return f;
  });
  a->write("x", text(100, 1));
  EXPECT_CODE(Code::kDenied, a->sync());
  EXPECT_NE(a->problems().find("credentials"), std::string::npos) << a->problems();
  a->faults().set_hook(nullptr);
  a->must_sync();
  EXPECT_EQ(a->problems(), "");
}

TEST_F(SynchronizerTest, AnAnswerThatWasLostDoublesNothing) {
  auto a = device("a");
  a->must_sync();
  std::atomic<int> lost{0};
  a->faults().set_hook([&](const FaultCall& call) {
    Fault f;
    if (call.operation == StoreOperation::kPut && lost < 3) {
      ++lost;
      f.fail_after = Code::kTimedOut;
    }
    return f;
  });
  size_t before = keys(kLogPrefix).size();
  a->write("x", noise(300'000, 1));
  a->must_sync();
  EXPECT_EQ(keys(kLogPrefix).size(), before + 1);
  EXPECT_EQ(keys("obj/").size(), 1u);
  auto b = device("b");
  expect_equal({a.get(), b.get()});
}

// The record is kept before it is sent: a new run sends the same bytes under the same name.
TEST_F(SynchronizerTest, ARecordThatWasNotSentIsSentByTheNextRun) {
  auto a = device("a");
  a->must_sync();
  std::atomic<int> refused{0};
  a->faults().set_hook([&](const FaultCall& call) {
    Fault f;
    if (call.operation == StoreOperation::kPut && call.key.starts_with(kLogPrefix)) {
      ++refused;
      (refused % 2 ? f.fail_after : f.fail_before) = Code::kUnavailable;
    }
    return f;
  });
  a->write("x", text(1000, 1));
  wait_until([&] { return refused >= 1; });
  a->restart();
  a->write("y", text(1000, 2));
  wait_until([&] { return refused >= 2; });
  a->restart();
  a->faults().set_hook(nullptr);
  a->must_sync();
  auto b = device("b");
  EXPECT_EQ(b->tree().size(), 2u);
  expect_equal({a.get(), b.get()});
  std::set<std::pair<LogId, uint64_t>> numbers;
  for (const std::string& key : keys(kLogPrefix)) {
    auto name = parse_record_key(key);
    EXPECT_TRUE(numbers.emplace(name->log, name->number).second) << "two records " << key;
  }
}

// A log is announced, then news is looked for, and only then it has changes: also when the announcement did not reach the
// store at once.
TEST_F(SynchronizerTest, AnAnnouncementThatCameLateIsFollowedByNews) {
  auto a = device("a"), b = device("b");
  settle({a.get(), b.get()});
  b->restart();
  b->must_sync();
  std::atomic<bool> tried{false}, puts{false};
  b->faults().set_hook([&](const FaultCall& call) {
    Fault f;
    bool put = call.operation == StoreOperation::kPut;
    if (put) tried = true;
    if (put ? !puts : tried.load()) f.fail_before = Code::kUnavailable;
    return f;
  });
  size_t before = keys(kLogPrefix).size();
  b->write("of b", text(100, 1));
  wait_until([&] { return tried.load(); });
  puts = true;
  wait_until([&] { return keys(kLogPrefix).size() > before; });
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(keys(kLogPrefix).size(), before + 1);
  b->faults().set_hook(nullptr);
  b->must_sync();
  EXPECT_EQ(keys(kLogPrefix).size(), before + 2);
}

TEST_F(SynchronizerTest, StoppedAtEveryStep) {
  for (const char* step : {"sync.packs_uploaded", "sync.publish", "sync.published", "sync.put_record",
                           "sync.record_put", "sync.uploaded"}) {
    SCOPED_TRACE(step);
    memory_ = std::make_shared<MemoryStore>();
    auto a = device("a");
    a->must_sync();
    arm_failpoints(std::string(step) + "=error");
    a->write("small", text(1000, 1));
    a->write("big", noise(300'000, 2));
    std::this_thread::sleep_for(milliseconds(150));
    a->stop(false);
    arm_failpoints("");
    a->start();
    a->write("more", text(1000, 3));
    a->must_sync();
    EXPECT_EQ(a->problems(), "");
    auto b = device("b");
    EXPECT_EQ(b->tree().size(), 3u);
    expect_equal({a.get(), b.get()});
  }
}

// Others wait for it, also when the run that applied the news ended before it had said so.
TEST_F(SynchronizerTest, WhatARunThatWasCutOffHadAppliedIsAcknowledgedByTheNext) {
  auto a = device("a"), b = device("b");
  b->write("of b", text(100, 1));
  settle({a.get(), b.get()});
  a->write("of a", text(100, 2));
  a->must_sync();
  wait_until([&] { return b->find("of a").has_value(); });
  b->stop(false);
  const size_t before = keys(kLogPrefix).size();
  SyncOptions soon = quick_options();
  soon.acknowledge_after = milliseconds(100);
  Device next(volume_, memory_, "b", soon);
  next.copy_state_from(*b);
  next.start();
  wait_until([&] { return keys(kLogPrefix).size() > before; });
  next.must_sync();
  EXPECT_EQ(keys(kLogPrefix).size(), before + 1);  // once
}

TEST_F(SynchronizerTest, ACopiedStateDirectoryGoesOnAsAnother) {
  auto a = device("a");
  a->write("before", text(1000, 1));
  a->must_sync();
  a->stop(false);
  auto copy = std::make_unique<Device>(volume_, memory_, "a");
  copy->copy_state_from(*a);
  copy->start();
  a->start();
  a->write("one", text(1000, 2));
  copy->write("two", text(1000, 3));
  settle({a.get(), copy.get()});
  expect_equal({a.get(), copy.get()});
  EXPECT_EQ(a->tree().size(), 3u);
}

// A backup of the state directory is put back: what this device wrote after it is news to it.
// Both copies have the pack that was open, and the one that ran on has appended to it: what the other publishes of it must not
// take its place.
TEST_F(SynchronizerTest, AMachineThatIsCopiedWhileItWritesGoesOnAsTwo) {
  SyncOptions seldom = quick_options();
  seldom.publish_after = seldom.publish_within = seconds(600);
  auto a = device("a", seldom);
  a->must_sync();
  // Too much for a record to carry. Nothing is published yet, and then only objects arrive, not the record.
  a->faults().set_hook([](const FaultCall& call) {
    Fault fault;
    if (call.operation == StoreOperation::kPut && !call.key.starts_with("obj/")) fault.hide_for = 1'000'000;
    return fault;
  });
  a->write("before", noise(100'000, 1));
  ASSERT_OK(a->replica().sync_all(true));
  auto copy = std::make_unique<Device>(volume_, memory_, "a");
  copy->copy_state_from(*a);
  a->write("one", noise(200'000, 2));
  a->must_sync();
  copy->start();
  copy->must_sync();
  ASSERT_OK(a->faults().settle());
  auto b = device("b");
  settle({a.get(), copy.get(), b.get()});
  expect_equal({a.get(), copy.get(), b.get()});
  const auto tree = b->tree();
  EXPECT_EQ(tree.size(), 2u);
  for (const auto& [path, what] : tree) EXPECT_FALSE(what.starts_with("error")) << path << ": " << what;
}

TEST_F(SynchronizerTest, ARestoredStateDirectoryCatchesUp) {
  auto a = device("a");
  a->write("before", text(1000, 1));
  a->must_sync();
  a->stop(false);
  auto old = std::make_unique<Device>(volume_, memory_, "a");
  old->copy_state_from(*a);
  a->start();
  a->write("after", text(1000, 2));
  a->must_sync();
  a->write("after2", text(1000, 2));
  a->must_sync();
  a->stop(false);
  old->start();
  old->write("restored", text(1000, 3));
  old->must_sync();
  EXPECT_EQ(old->tree().size(), 4u);
  auto b = device("b");
  expect_equal({old.get(), b.get()});
}

TEST_F(SynchronizerTest, LogsAreFoundWithoutHints) {
  auto a = device("a");
  a->write("x", text(1000, 1));
  a->must_sync();
  a->stop();
  for (const std::string& key : keys(kHintPrefix)) memory_->erase(key);
  auto b = device("b");
  EXPECT_EQ(b->tree().size(), 1u);
}

TEST_F(SynchronizerTest, ALostHintIsMadeAgain) {
  auto a = device("a");
  a->faults().set_hook([](const FaultCall& call) {
    Fault f;
    if (call.operation == StoreOperation::kPut && call.key.starts_with(kHintPrefix)) f.fail_before = Code::kUnavailable;
    return f;
  });
  a->write("x", text(1000, 1));
  wait_until([&] { return !keys(kLogPrefix).empty(); });
  a->stop(false);
  EXPECT_TRUE(keys(kHintPrefix).empty());
  a->faults().set_hook(nullptr);
  a->start();
  wait_until([&] { return keys(kHintPrefix).size() == 1; });
}

TEST_F(SynchronizerTest, ForeignObjectsDoNotMatter) {
  for (int i = 0; i < 3400; ++i) {
    memory_->plant("log/foreign" + std::to_string(i), noise(10, 1));
    memory_->plant("head/foreign" + std::to_string(i), {});
    memory_->plant("head/" + fixed_id<LogId>(3).str() + "-" + std::to_string(i + 1) + "-0123456789abcdef", {});
  }
  auto a = device("a");
  a->write("x", text(1000, 1));
  a->must_sync();
  auto b = device("b");
  EXPECT_EQ(b->tree(), a->tree());
}

TEST_F(SynchronizerTest, ADamagedRecordHoldsBackItsLogOnly) {
  auto a = device("a"), c = device("c");
  settle({a.get(), c.get()});
  a->write("a1", text(1000, 1));
  a->must_sync();
  c->must_sync();
  c->write("c1", text(1000, 1));
  c->must_sync();
  auto before = keys(kLogPrefix);
  c->stop(false);  // it would quote what comes now
  a->write("a2", text(1000, 2));
  a->must_sync();
  a->stop(false);
  std::string victim;
  for (const std::string& key : keys(kLogPrefix))
    if (std::find(before.begin(), before.end(), key) == before.end()) victim = key;
  ASSERT_FALSE(victim.empty());
  Bytes good = memory_->snapshot().at(victim);
  auto b = std::make_unique<Device>(volume_, memory_, "b");
  for (size_t at : {size_t{0}, size_t{20}, size_t{100}, size_t{300}}) {
    Bytes bad = good;
    bad[at] ^= 1;
    memory_->plant(victim, bad);
    b = device("b");
    b->must_sync();
    EXPECT_EQ(b->tree().size(), 2u);
    auto number = parse_record_key(victim)->number;
    EXPECT_NE(b->problems().find("record " + std::to_string(number) + " of a's log"), std::string::npos)
        << b->problems();
  }
  b->write("b1", text(1000, 4));  // everything else goes on
  b->must_sync();
  memory_->plant(victim, good);
  wait_until([&] { return b->find("a2").has_value() && b->problems().empty(); });
}

TEST_F(SynchronizerTest, AMissingRecordIsWaitedForThenTold) {
  auto a = device("a");
  a->must_sync();
  auto b = device("b");
  a->write("one", text(1000, 1));
  a->must_sync();
  b->must_sync();
  a->write("two", text(1000, 2));
  b->faults().set_hook([](const FaultCall& call) {
    Fault f;
    if (call.operation == StoreOperation::kGet) f.fail_before = Code::kNotFound;
    return f;
  });
  a->must_sync();
  b->must_sync();  // news of what is not there is no news
  EXPECT_EQ(b->problems(), "");
  wait_until([&] { return b->problems().find("does not arrive") != std::string::npos; });
  b->faults().set_hook(nullptr);
  wait_until([&] { return b->find("two").has_value(); });
  wait_until([&] { return b->problems().empty(); });
  EXPECT_EQ(b->problems(), "");
}

TEST_F(SynchronizerTest, ASyncAsksAgainForWhatIsMissing) {
  auto a = device("a");
  a->must_sync();
  auto b = device("b");
  std::atomic<int> asked = 0;
  b->faults().set_hook([&asked](const FaultCall& call) {
    Fault f;
    if (call.operation != StoreOperation::kGet) return f;
    f.fail_before = Code::kNotFound;
    ++asked;
    return f;
  });
  a->write("x", text(1000, 1));
  a->must_sync();
  // Each time that it finds nothing, the pause before it asks again doubles: now it is two seconds.
  wait_until([&] { return asked >= 2; });
  b->faults().set_hook(nullptr);
  EXPECT_TRUE(b->sync_engine().status().news_incomplete);
  b->must_sync();
  EXPECT_TRUE(b->find("x").has_value());
  EXPECT_FALSE(b->sync_engine().status().news_incomplete);
}

TEST_F(SynchronizerTest, WrongDataIsAnErrorThatNamesIt) {
  SyncOptions slow = quick_options();
  slow.publish_after = slow.publish_within = seconds(10);  // one record, and one pack, for each sync
  auto a = device("a", slow);
  a->write("one", noise(300'000, 1));
  a->must_sync();
  a->write("two", noise(300'000, 2));
  a->must_sync();
  auto packs = keys("obj/");
  ASSERT_EQ(packs.size(), 2u);
  auto good = memory_->snapshot();
  auto try_all = [&](const std::string& how) {
    SCOPED_TRACE(how);
    auto b = device("b");
    int errors = 0;
    for (auto [name, seed] : {std::pair{"one", 1}, std::pair{"two", 2}}) {
      auto content = b->read(name);
      if (content) {
        EXPECT_EQ(*content, noise(300'000, static_cast<uint64_t>(seed)));
        continue;
      }
      ++errors;
      EXPECT_EQ(to_string(content.error().code()), to_string(Code::kCorrupt));
      EXPECT_NE(content.error().what().find("object obj/"), std::string::npos) << content.error().what();
      EXPECT_NE(b->problems().find("damaged"), std::string::npos);
    }
    EXPECT_GT(errors, 0);
    for (const std::string& key : packs) memory_->plant(key, good[key]);
  };
  Bytes bad = good[packs[0]];
  bad[150'000] ^= 0x10;
  memory_->plant(packs[0], bad);
  try_all("bit flip");
  memory_->plant(packs[0], BytesView(good[packs[0]]).first(100'000));
  try_all("truncation");
  memory_->plant(packs[0], good[packs[1]]);
  memory_->plant(packs[1], good[packs[0]]);
  try_all("swap");
  memory_->plant(packs[0], {});
  try_all("empty");
  // Frames of incompressible data are full, and the pack begins with the first.
  bad = good[packs[0]];
  std::swap_ranges(bad.begin(), bad.begin() + kSealedFrameMax, bad.begin() + kSealedFrameMax);
  memory_->plant(packs[0], bad);
  try_all("swap of two frames");
  memory_->plant(packs[0], stranger_object("obj/"));
  try_all("a pack of another volume");
}

// Whatever is done to a record, whoever comes new says which device's, applies nothing of it, and nothing that follows it.
TEST_F(SynchronizerTest, ADamagedRecordIsNamedAndNothingWrongIsApplied) {
  auto a = device("a");
  for (const char* name : {"one", "two", "three"}) {
    a->write(name, noise(1000, 1));
    a->must_sync();
  }
  a->stop(false);
  std::vector<std::string> records = keys(kLogPrefix);
  std::erase_if(records, [&](const std::string& key) { return parse_record_key(key)->number == 1; });  // makes the root
  std::sort(records.begin(), records.end(), [](const std::string& x, const std::string& y) {
    return parse_record_key(x)->number < parse_record_key(y)->number;
  });
  ASSERT_GE(records.size(), 2u);
  const std::string first = records[0], second = records[1];
  auto good = memory_->snapshot();
  auto expect = [&](const std::string& verdict, const std::string& how) {
    SCOPED_TRACE(how);
    Device b(volume_, memory_, "b");
    b.open();
    wait_until([&] { return !b.problems().empty(); });
    EXPECT_NE(b.problems().find(verdict), std::string::npos) << b.problems();
    EXPECT_NE(b.problems().find("record " + std::to_string(parse_record_key(first)->number) + " of a's log "),
              std::string::npos)
        << b.problems();
    EXPECT_LT(b.tree().size(), 3u);
    EXPECT_FALSE(b.find("three").has_value());
    b.stop();
    for (const std::string& key : records) memory_->plant(key, good[key]);
  };
  for (size_t at : {0, 30, 100, 1000}) {  // of what is not padding
    Bytes bad = good[first];
    bad[at] ^= 1;
    memory_->plant(first, bad);
    expect("is refused", "bit flip at " + std::to_string(at));
  }
  memory_->plant(first, BytesView(good[first]).first(good[first].size() - 1));
  expect("does not arrive", "truncation");  // stores show objects that are still being written
  memory_->plant(first, {});
  expect("does not arrive", "empty");
  memory_->plant(first, good[second]);
  memory_->plant(second, good[first]);
  expect("is refused", "swap");
  memory_->plant(first, stranger_object(kLogPrefix));
  expect("is refused", "another volume's");
}

TEST_F(SynchronizerTest, RecordsOfAnotherVolumeAreRefused) {
  auto a = device("a");
  a->write("x", text(100, 1));
  a->must_sync();
  a->stop();
  for (auto& [key, object] : stranger_objects()) memory_->plant(key, object);
  auto b = device("b");
  b->must_sync();
  EXPECT_EQ(b->tree().size(), 1u);
  EXPECT_NE(b->problems().find("is refused"), std::string::npos) << b->problems();
}

TEST_F(SynchronizerTest, ALogIsClosedOnce) {
  auto a = device("a");
  a->write("x", text(100, 1));
  a->must_sync();
  size_t records = keys(kLogPrefix).size();
  a->stop(true);
  EXPECT_EQ(keys(kLogPrefix).size(), records + 1);
  EXPECT_EQ(keys(kHintPrefix).size(), 1u);
  a->start();
  a->write("y", text(100, 1));
  a->must_sync();
  EXPECT_EQ(keys(kHintPrefix).size(), 1u);
  auto b = device("b");
  EXPECT_EQ(b->tree(), a->tree());
}

TEST_F(SynchronizerTest, AStalledStoreDoesNotHinderStopping) {
  auto a = device("a");
  a->must_sync();
  a->faults().set_hook([](const FaultCall&) {
    Fault f;
    f.hang = true;
    return f;
  });
  a->write("x", text(100, 1));
  std::this_thread::sleep_for(milliseconds(100));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_CODE(Code::kCancelled, a->sync_engine().sync(stop.get_token(), {}));
  auto start = std::chrono::steady_clock::now();
  a->stop(false);
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(5));
}

TEST_F(SynchronizerTest, OnAFileStore) {
  TempDir dir;
  std::shared_ptr<ObjectStore> store = FileStore::open(dir.path() + "/store", true).value();
  Device a(volume_, store, "a"), b(volume_, store, "b");
  a.start();
  a.write("big", noise(1 << 20, 1));
  a.must_sync();
  b.start();
  b.write("small", text(100, 1));
  settle({&a, &b});
  expect_equal({&a, &b});
  EXPECT_EQ(a.tree().size(), 2u);
}

// Stores that fail, hide, delay and double, with three devices that come and go.
class UnreliableStore : public SynchronizerTest, public ::testing::WithParamInterface<uint64_t> {};

TEST_P(UnreliableStore, DevicesConverge) {
  const FaultRates rates = unreliable();
  std::mt19937_64 random(GetParam());
  std::vector<std::unique_ptr<Device>> devices;
  for (int i = 0; i < 3; ++i) devices.push_back(device(std::string(1, static_cast<char>('a' + i))));
  settle({devices[0].get(), devices[1].get(), devices[2].get()});
  for (size_t i = 0; i < devices.size(); ++i)
    devices[i]->faults().set_hook(FaultStore::random(GetParam() * 10 + i, rates));
  std::set<std::string> written;
  for (int step = 0; step < 60; ++step) {
    Device& d = *devices[random() % 3];
    std::string name = "f" + std::to_string(random() % 40);
    if (random() % 20 == 0) {
      d.restart();
    } else {
      d.write(name, noise(1 + random() % (random() % 5 == 0 ? 200'000 : 2000), random()));
      written.insert(name);
    }
    if (random() % 3 == 0) std::this_thread::sleep_for(milliseconds(random() % 60));
  }
  for (auto& d : devices) {
    d->faults().set_hook(nullptr);
    ASSERT_OK(d->faults().settle());
  }
  std::vector<Device*> all = {devices[0].get(), devices[1].get(), devices[2].get()};
  wait_until([&] {  // what was not yet there is asked for again ever more seldom
    settle(all);
    return all[0]->tree() == all[1]->tree() && all[1]->tree() == all[2]->tree();
  });
  expect_equal(all);
  auto tree = all[0]->tree();
  for (const std::string& name : written) EXPECT_TRUE(tree.contains(name)) << name;
  for (Device* d : all) EXPECT_EQ(d->problems(), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, UnreliableStore, ::testing::Values(1, 2, 3));

}  // namespace
}  // namespace coffer::test
