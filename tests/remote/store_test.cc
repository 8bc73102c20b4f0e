// What single stores and decorators do beyond the contract.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>

#include "base/failpoint.h"
#include "remote/fault_store.h"
#include "remote/file_store.h"
#include "remote/memory_store.h"
#include "remote/metered_store.h"
#include "remote/tree_walk.h"

namespace coffer {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

class FileStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "coffer-file-XXXXXX").string();
    root = ::mkdtemp(pattern.data());
    store = *FileStore::open(root, false);
  }
  void TearDown() override {
    arm_failpoints("");
    fs::remove_all(root);
  }
  size_t files_below(const std::string& directory) {
    size_t n = 0;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) n += entry.is_regular_file() ? 1 : 0;
    return n;
  }
  std::string root;
  std::unique_ptr<FileStore> store;
};

TEST_F(FileStoreTest, a_directory_that_vanished_is_not_made_again) {
  ASSERT_TRUE(store->put("obj/00/x", as_bytes("x")));
  fs::rename(root, root + ".away");
  for (const Error& error :
       {store->put("obj/00/y", as_bytes("y")).error(), store->get("obj/00/x", 10).error(), store->list("").error(),
        store->list("head/").error(), store->remove("obj/00/x").error()}) {
    EXPECT_EQ(error.code(), Code::kUnavailable);
    EXPECT_NE(error.what().find(root), std::string::npos);
    EXPECT_NE(error.what().find("mounted"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(root));
  fs::rename(root + ".away", root);
  EXPECT_TRUE(store->get("obj/00/x", 10));
}

TEST_F(FileStoreTest, is_made_only_when_asked_for) {
  std::string deep = root + "/a/b";
  EXPECT_EQ((*FileStore::open(deep, false))->list("").error().code(), Code::kUnavailable);
  auto made = FileStore::open(deep, true);
  ASSERT_TRUE(made);
  EXPECT_TRUE((*made)->list("")->empty());
  std::ofstream(root + "/file") << "x";
  auto not_a_directory = FileStore::open(root + "/file", false);
  EXPECT_EQ((*not_a_directory)->list("").error().code(), Code::kInvalid);
  EXPECT_FALSE(FileStore::open(root + "/file/below", true));
  EXPECT_FALSE(FileStore::open("", false));
}

TEST_F(FileStoreTest, a_failed_put_leaves_nothing_behind) {
  arm_failpoints("remote.file.before_rename=error");
  EXPECT_FALSE(store->put("obj/00/x", as_bytes("new")));
  EXPECT_EQ(files_below(root), 0U);
  EXPECT_EQ(store->get("obj/00/x", 10).error().code(), Code::kNotFound);
  arm_failpoints("remote.file.after_rename=error");
  EXPECT_FALSE(store->put("obj/00/x", as_bytes("new")));
  EXPECT_EQ(*store->get("obj/00/x", 10), to_bytes("new"));
}

TEST_F(FileStoreTest, old_temporaries_are_swept_and_never_listed) {
  ASSERT_TRUE(store->put("obj/00/x", as_bytes("x")));
  std::string old = root + "/obj/00/.00ff.put", fresh = root + "/obj/00/.00fe.put", other = root + "/obj/00/.other";
  for (const auto& path : {old, fresh, other}) std::ofstream(path) << "partial";
  timespec times[2] = {{1'000'000, 0}, {1'000'000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, old.c_str(), times, 0), 0);
  EXPECT_EQ(store->list("")->size(), 1U);
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(fresh));
  EXPECT_TRUE(fs::exists(other));
}

TEST_F(FileStoreTest, what_is_no_regular_file_is_no_object) {
  fs::create_directories(root + "/obj/00/dir");
  fs::create_symlink("/etc/hostname", root + "/obj/00/link");
  ASSERT_EQ(::mkfifo((root + "/obj/00/pipe").c_str(), 0600), 0);
  EXPECT_TRUE(store->list("")->empty());
  EXPECT_FALSE(store->get("obj/00/dir", 1000));
  EXPECT_EQ(store->get("obj/00/link", 1000).error().code(), Code::kCorrupt);
  EXPECT_EQ(store->get("obj/00/pipe", 1000).error().code(), Code::kCorrupt);
  EXPECT_FALSE(store->put("obj/00/dir", as_bytes("x")));
  EXPECT_FALSE(store->remove("obj/00/dir"));
  EXPECT_TRUE(fs::exists(root + "/obj/00/dir"));
  EXPECT_EQ(store->get("obj/00/link/below", 10).error().code(), Code::kNotFound);
}

TEST_F(FileStoreTest, missing_permission_is_said) {
  ::chmod(root.c_str(), 0555);
  bool was_root = ::geteuid() == 0;  // who may do everything
  if (was_root) {
    ASSERT_EQ(::seteuid(65534), 0);
  }
  auto r = store->put("obj/00/x", as_bytes("x"));
  if (was_root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  ::chmod(root.c_str(), 0700);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kDenied) << r.error().what();
}

TEST_F(FileStoreTest, no_room_is_said) {
  // /dev/full cannot hold directories; a file size limit gives the same kind of failure as a quota.
  arm_failpoints("remote.file.before_rename=enospc");
  auto r = store->put("obj/00/x", as_bytes("x"));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kNoSpace);
  EXPECT_EQ(files_below(root), 0U);
}

TEST(TokenBucketTest, gives_a_burst_and_then_the_rate) {
  TokenBucket bucket;
  Nanos now{0};
  EXPECT_EQ(bucket.take(1 << 30, now), size_t{1} << 30);  // no limit
  bucket.set_rate(1'000'000, now);
  EXPECT_EQ(bucket.take(1 << 30, now), 250'000U);
  EXPECT_EQ(bucket.take(1, now), 0U);
  EXPECT_GT(bucket.delay(now), Nanos(0));
  now += seconds(1);
  EXPECT_EQ(bucket.delay(now), Nanos(0));
  EXPECT_EQ(bucket.take(1 << 30, now), 250'000U);  // no more is saved up
  uint64_t moved = 0;
  for (int i = 0; i < 1000; ++i) {
    now += milliseconds(10);
    moved += bucket.take(1 << 30, now);
  }
  EXPECT_NEAR(static_cast<double>(moved), 10e6, 1e4);
}

TEST(TokenBucketTest, remembers_a_debt_and_forgets_it_with_the_rate) {
  TokenBucket bucket;
  Nanos now{0};
  bucket.set_rate(100'000, now);
  bucket.charge(1'000'000, now);
  EXPECT_EQ(bucket.take(1, now + seconds(5)), 0U);
  EXPECT_GT(bucket.take(1, now + seconds(11)), 0U);
  bucket.charge(100'000'000, now + seconds(11));
  bucket.set_rate(200'000, now + seconds(11));
  EXPECT_GT(bucket.take(1, now + seconds(12)), 0U);
  bucket.set_rate(0, now + seconds(12));
  EXPECT_EQ(bucket.take(12345, now + seconds(12)), 12345U);
}

TEST(MeteredStoreTest, counts_requests_and_bytes) {
  MeteredStore store(std::make_shared<MemoryStore>());
  ASSERT_TRUE(store.put("obj/00/a", Bytes(100)));
  ASSERT_TRUE(store.put("obj/00/b", Bytes(50)));
  ASSERT_TRUE(store.get("obj/00/a", 1000));
  ASSERT_TRUE(store.get_range("obj/00/a", 10, 20));
  ASSERT_TRUE(store.list(""));
  ASSERT_TRUE(store.remove("obj/00/a"));
  EXPECT_FALSE(store.get("obj/00/a", 1000));
  StoreCounters c = store.counters();
  EXPECT_EQ(c.put, 2U);
  EXPECT_EQ(c.get, 3U);
  EXPECT_EQ(c.list, 1U);
  EXPECT_EQ(c.remove, 1U);
  EXPECT_EQ(c.bytes_up, 150U);
  EXPECT_EQ(c.bytes_down, 120U + 2 * (8 + 8));
}

TEST(MeteredStoreTest, a_stop_ends_waiting_for_the_limit) {
  MeteredStore store(std::make_shared<MemoryStore>());
  store.meter().set_limits(1, 0);
  std::stop_source source;
  std::jthread stopper([&] { source.request_stop(); });
  EXPECT_EQ(store.put("obj/00/a", Bytes(1 << 20), source.get_token()).error().code(), Code::kCancelled);
  std::jthread lifter([&] { store.meter().set_limits(0, 0); });  // limits change while somebody waits
  EXPECT_TRUE(store.put("obj/00/a", Bytes(40'000)));
}

TEST(FaultStoreTest, fails_before_and_after) {
  auto memory = std::make_shared<MemoryStore>();
  Fault fault;
  FaultStore store(memory, [&](const FaultCall&) { return fault; });
  fault.fail_before = Code::kUnavailable;
  EXPECT_EQ(store.put("obj/00/a", as_bytes("a")).error().code(), Code::kUnavailable);
  EXPECT_EQ(memory->object_count(), 0U);
  fault = {.fail_before = {}, .fail_after = Code::kTimedOut};
  EXPECT_EQ(store.put("obj/00/a", as_bytes("a")).error().code(), Code::kTimedOut);
  EXPECT_EQ(memory->object_count(), 1U);
  EXPECT_FALSE(store.get("obj/00/a", 10));
  EXPECT_FALSE(store.list(""));
  EXPECT_FALSE(store.remove("obj/00/a"));
  EXPECT_EQ(memory->object_count(), 0U);
  store.set_hook(nullptr);
  EXPECT_TRUE(store.put("obj/00/a", as_bytes("a")));
}

TEST(FaultStoreTest, hides_changes_for_a_while) {
  auto memory = std::make_shared<MemoryStore>();
  Fault fault{.hide_for = 2};
  FaultStore store(memory, [&](const FaultCall& call) {
    return call.operation == StoreOperation::kPut || call.operation == StoreOperation::kRemove ? fault : Fault{};
  });
  EXPECT_TRUE(store.put("head/a", as_bytes("1")));
  EXPECT_FALSE(store.get("head/a", 10));
  EXPECT_TRUE(store.list("")->empty());
  EXPECT_TRUE(store.get("head/a", 10));
  EXPECT_TRUE(store.remove("head/a"));
  EXPECT_TRUE(store.get("head/a", 10));
  ASSERT_TRUE(store.settle());
  EXPECT_FALSE(store.get("head/a", 10));
}

TEST(FaultStoreTest, hangs_until_stopped) {
  FaultStore store(std::make_shared<MemoryStore>(), [](const FaultCall&) { return Fault{.hang = true}; });
  std::stop_source source;
  std::jthread stopper([&] { source.request_stop(); });
  EXPECT_EQ(store.list("", source.get_token()).error().code(), Code::kCancelled);
}

TEST(FaultStoreTest, random_faults_replay) {
  auto run = [](uint64_t seed) {
    FaultStore store(std::make_shared<MemoryStore>(),
                     FaultStore::random(seed, {.fail_before = 100, .fail_after = 100, .twice = 100, .hide = 200}));
    std::string outcome;
    for (int i = 0; i < 300; ++i) {
      std::string key = "obj/00/" + std::to_string(i % 7);
      bool ok = i % 3 == 0   ? store.put(key, as_bytes(std::to_string(i))).has_value()
                : i % 3 == 1 ? store.get(key, 100).has_value()
                             : store.remove(key).has_value();
      outcome += ok ? '.' : 'x';
    }
    return outcome;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
  EXPECT_NE(run(1).find('x'), std::string::npos);
}

TEST(WalkTree, visits_everything_once_from_several_threads) {
  std::mutex mutex;
  std::multiset<std::string> visited;
  auto visit = [&](const std::string& c, std::stop_token) -> Result<std::vector<std::string>> {
    {
      std::lock_guard lock(mutex);
      visited.insert(c);
    }
    std::vector<std::string> below;
    if (c.size() < 4)
      for (char x : {'a', 'b', 'c', 'd'}) below.push_back(c + x);
    return below;
  };
  ASSERT_TRUE(walk_tree("", 8, visit, {}));
  EXPECT_EQ(visited.size(), 1U + 4 + 16 + 64 + 256);
  EXPECT_EQ(std::set<std::string>(visited.begin(), visited.end()).size(), visited.size());
}

TEST(WalkTree, the_first_error_ends_it) {
  std::atomic<int> visits = 0;
  auto visit = [&](const std::string& c, std::stop_token stop) -> Result<std::vector<std::string>> {
    ++visits;
    if (c == "b") return fail(Code::kDenied, "no");
    if (c == "a")  // ends only because the walk stops it
      while (!stop.stop_requested()) std::this_thread::yield();
    return std::vector<std::string>{c + "a", c + "b", c + "c"};
  };
  auto r = walk_tree("", 3, visit, {});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kDenied);
  EXPECT_LT(visits, 100);
}

}  // namespace
}  // namespace coffer
