// No commit is lost, and none is doubled, however little a store promises, and whatever becomes of a state directory.
#include <thread>

#include "fs/sync/object_keys.h"
#include "tests/sync/device.h"

namespace coffer::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// As a store that ignores every precondition: the last put wins. It notes when one wrote something else over what was there.
class LastPutWins : public ObjectStore {
 public:
  explicit LastPutWins(std::shared_ptr<MemoryStore> inner) : inner_(std::move(inner)) {}

  size_t exchanged() const { return exchanged_; }
  // Every put takes effect, and the answer to the first of each pack and record is lost.
  void lose_answers() { lose_ = true; }
  // A listing shows an object only from the so manieth listing on, after it was put.
  void list_late(size_t lists) { late_ = lists; }

  Result<void> put(const std::string& key, BytesView data, std::stop_token stop) override {
    MutexLock lock(mutex_);
    auto before = inner_->get(key, data.size(), {});
    if (before ? !std::ranges::equal(*before, data) : before.error().code() == Code::kTooLarge) ++exchanged_;
    TRYV(inner_->put(key, data, std::move(stop)));
    const bool fresh = put_at_.emplace(key, lists_).second;
    if (lose_ && fresh && !key.starts_with(kHintPrefix)) return fail(Code::kTimedOut, "put " + key + ": no answer");
    return {};
  }
  Result<Bytes> get(const std::string& key, size_t limit, std::stop_token stop) override {
    return inner_->get(key, limit, std::move(stop));
  }
  Result<Bytes> get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop) override {
    return inner_->get_range(key, offset, length, std::move(stop));
  }
  Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token stop) override {
    TRY(std::vector<ObjectInfo> found, inner_->list(prefix, std::move(stop)));
    MutexLock lock(mutex_);
    ++lists_;
    std::erase_if(found, [this](const ObjectInfo& info) {
      auto put = put_at_.find(info.key);
      return put != put_at_.end() && lists_ < put->second + late_;
    });
    return found;
  }
  Result<void> remove(const std::string& key, std::stop_token stop) override {
    return inner_->remove(key, std::move(stop));
  }
  std::string describe() const override { return inner_->describe(); }

 private:
  const std::shared_ptr<MemoryStore> inner_;
  mutable Mutex mutex_{Rank::kSync};
  std::map<std::string, size_t> put_at_;
  size_t lists_ = 0, late_ = 0;
  bool lose_ = false;
  std::atomic<size_t> exchanged_{0};
};

class PoorStoreTest : public DevicesTest {
 protected:
  std::unique_ptr<Device> on_poor(const std::string& name) {
    auto d = std::make_unique<Device>(volume_, poor_, name);
    d->start();
    return d;
  }
  // Three devices, one of them a copy of another, that publish at the same time.
  void three_write_at_once(int rounds = 8) {
    auto a = on_poor("a"), b = on_poor("b");
    a->write("first", text(500, 1));
    a->must_sync();
    a->stop(false);
    auto copy = std::make_unique<Device>(volume_, poor_, "a");
    copy->copy_state_from(*a);
    a->start();
    copy->start();
    std::vector<Device*> all{a.get(), b.get(), copy.get()};
    for (int i = 0; i < rounds; ++i) {
      for (size_t d = 0; d < all.size(); ++d)
        all[d]->write(std::to_string(d) + "-" + std::to_string(i),
                      noise(i % 4 == 0 ? 100'000 : 900, d * 100 + static_cast<size_t>(i)));
      std::this_thread::sleep_for(milliseconds(30));
    }
    wait_until([&] {
      settle(all);
      return all[0]->tree() == all[1]->tree() && all[1]->tree() == all[2]->tree();
    });
    expect_equal(all);
    EXPECT_EQ(all[0]->tree().size(),
              3u * static_cast<size_t>(rounds) + 1);  // each once, and no conflict copy of anything
    for (const auto& [path, what] : all[0]->tree()) EXPECT_FALSE(what.starts_with("error")) << path << ": " << what;
    for (Device* d : all) EXPECT_EQ(d->problems(), "");
    auto fresh = on_poor("fresh");
    expect_equal({all[0], fresh.get()});
    EXPECT_EQ(poor_->exchanged(), 0u);
    std::set<std::pair<LogId, uint64_t>> numbers;
    for (const std::string& key : keys(kLogPrefix)) {
      auto name = parse_record_key(key);
      EXPECT_TRUE(numbers.emplace(name->log, name->number).second) << "two records " << key;
    }
  }

  std::shared_ptr<LastPutWins> poor_ = std::make_shared<LastPutWins>(memory_);
};

TEST_F(PoorStoreTest, NothingIsLostWherePreconditionsAreIgnored) { three_write_at_once(); }

TEST_F(PoorStoreTest, NothingIsLostWhereListingsAreLate) {
  poor_->list_late(12);
  three_write_at_once();
}

TEST_F(PoorStoreTest, NothingIsLostWhereAnswersAreLost) {
  poor_->lose_answers();
  three_write_at_once(2);
}

// What was pending when a machine was copied while it ran is published by both, and is there once.
TEST_F(PoorStoreTest, ACloneOfARunningMachineLosesAndDoublesNothing) {
  auto a = on_poor("a");
  a->write("first", text(500, 1));
  a->must_sync();
  a->faults().set_hook([](const FaultCall& call) {
    Fault f;
    if (call.operation == StoreOperation::kPut) f.fail_before = Code::kUnavailable;
    return f;
  });
  a->write("small", text(500, 2));
  a->write("large", noise(200'000, 3));
  ASSERT_OK(a->replica().sync_all(true));
  auto clone = std::make_unique<Device>(volume_, poor_, "a");
  clone->copy_state_from(*a);  // while it runs
  clone->start();
  clone->write("of the clone", text(500, 4));
  a->write("of a", text(500, 5));
  a->faults().set_hook(nullptr);
  settle({a.get(), clone.get()});
  settle({a.get(), clone.get()});
  auto fresh = on_poor("fresh");
  expect_equal({a.get(), clone.get(), fresh.get()});
  std::set<std::string> names;
  for (const auto& [path, what] : fresh->tree()) names.insert(path);
  EXPECT_EQ(names, (std::set<std::string>{"first", "large", "of a", "of the clone", "small"}));
  EXPECT_EQ(fresh->read("large").value(), noise(200'000, 3));
  EXPECT_EQ(poor_->exchanged(), 0u);
  std::set<LogId> logs;
  for (const LogTail& tail : fresh->logs()) logs.insert(tail.log);
  EXPECT_GE(logs.size(), 2u);
}

// A backup of the state directory, with work that was pending then and has been published since.
TEST_F(PoorStoreTest, ARestoredStateDirectoryLosesAndDoublesNothing) {
  auto a = on_poor("a");
  a->write("first", text(500, 1));
  a->must_sync();
  a->faults().set_hook([](const FaultCall& call) {
    Fault f;
    if (call.operation == StoreOperation::kPut) f.fail_before = Code::kUnavailable;
    return f;
  });
  a->write("pending", noise(200'000, 2));
  ASSERT_OK(a->replica().sync_all(true));
  auto backup = std::make_unique<Device>(volume_, poor_, "a");
  backup->copy_state_from(*a);
  a->faults().set_hook(nullptr);
  a->must_sync();
  a->write("pending", text(700, 3));  // and it has become another
  a->write("later", text(500, 4));
  a->must_sync();
  a->stop();
  backup->start();  // the machine as it was
  backup->write("restored", text(500, 5));
  settle({backup.get()});
  auto fresh = on_poor("fresh");
  settle({backup.get(), fresh.get()});
  expect_equal({backup.get(), fresh.get()});
  for (const char* path : {"first", "pending", "later", "restored"}) EXPECT_TRUE(fresh->find(path)) << path;
  EXPECT_EQ(fresh->tree().size(), 4u);
  EXPECT_EQ(poor_->exchanged(), 0u);
}

}  // namespace
}  // namespace coffer::test
