#include "fs/sync/fetch_pool.h"

#include <condition_variable>
#include <mutex>

#include "crypto/hash.h"
#include "fs/sync/object_keys.h"
#include "remote/fault_store.h"
#include "remote/memory_store.h"
#include "remote/metered_store.h"
#include "tests/sync/fixture.h"

namespace coffer::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Counts answers, and waits for them.
class Answers {
 public:
  std::function<void(Result<void>)> take() {
    return [this](Result<void> r) {
      std::lock_guard lock(mutex_);
      results_.push_back(std::move(r));
      changed_.notify_all();
    };
  }
  std::vector<Result<void>> wait(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, seconds(20), [&] { return results_.size() >= count; });
    return results_;
  }
  size_t count() {
    std::lock_guard lock(mutex_);
    return results_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Result<void>> results_;
};

// One pack of frames that are noise: what a frame holds is no business of the pool's.
class FetchPoolTest : public SyncUnitTest {
 protected:
  FetchPoolTest() : metered_(std::make_shared<MeteredStore>(memory_)), store_(metered_, nullptr) {
    options_.timeout = seconds(10);
    options_.retry_first = milliseconds(5);
  }
  ~FetchPoolTest() override {
    if (pool_) pool_->stop();
  }

  void make_pack(const std::vector<uint32_t>& lengths, const ObjectId& pack = fixed_id<ObjectId>(0xaa)) {
    Bytes object;
    for (uint32_t length : lengths) {
      Bytes sealed = noise(length, object.size() + 1);
      FrameRef ref{pack, static_cast<uint32_t>(object.size()), length, blake2b(sealed)};
      object.insert(object.end(), sealed.begin(), sealed.end());
      frames_.push_back(ref);
    }
    places_[pack] = {pack_key(pack), 0, object.size()};
    memory_->plant(pack_key(pack), object);
  }
  FetchPool& pool() {
    if (!pool_) {
      pool_.emplace(store_,
                    FetchPool::Backend{[this](const ObjectId& id) -> Result<std::optional<PackPlace>> {
                                         auto it = places_.find(id);
                                         return it == places_.end() ? std::nullopt : std::optional(it->second);
                                       },
                                       [this](const FrameRef& ref, BytesView sealed) -> Result<void> {
                                         EXPECT_EQ(blake2b(sealed), ref.hash);
                                         std::lock_guard lock(mutex_);
                                         kept_.insert(ref);
                                         return keep_;
                                       }},
                    options_);
      pool_->start();
    }
    return *pool_;
  }
  static std::vector<Missing> missing(std::vector<FrameRef> refs) {
    std::vector<Missing> out;
    for (const FrameRef& ref : refs) {
      Missing m;
      m.extent.frame = ref;
      out.push_back(m);
    }
    return out;
  }
  Result<void> fetch(std::vector<FrameRef> refs) {
    Answers answers;
    pool().fetch(missing(std::move(refs)), {}, answers.take());
    auto results = answers.wait(1);
    return results.empty() ? Result<void>(fail(Code::kInternal, "no answer")) : results[0];
  }
  uint64_t gets() const { return metered_->counters().get; }

  std::shared_ptr<MemoryStore> memory_ = std::make_shared<MemoryStore>();
  std::shared_ptr<MeteredStore> metered_;
  FaultStore store_;
  FetchPool::Options options_;
  std::vector<FrameRef> frames_;
  std::map<ObjectId, PackPlace> places_;
  std::mutex mutex_;
  std::set<FrameRef> kept_;
  Result<void> keep_;
  std::optional<FetchPool> pool_;
};

TEST_F(FetchPoolTest, BringsWhatIsWantedAndOnlyThat) {
  make_pack({1000, 2000, 3000});
  ASSERT_OK(fetch({frames_[1]}));
  EXPECT_EQ(kept_, (std::set<FrameRef>{frames_[1]}));
  EXPECT_EQ(gets(), 1u);
  // The neighbours came along, and are verified now that they are wanted.
  ASSERT_OK(fetch({frames_[0], frames_[2]}));
  EXPECT_EQ(kept_.size(), 3u);
  EXPECT_EQ(gets(), 1u);
}

TEST_F(FetchPoolTest, AsksForWholeCells) {
  make_pack({64'000, 4000, 65'000, 65'000, 1000});
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  ASSERT_OK(fetch({frames_[1]}));  // straddles the border at 65536
  EXPECT_EQ(gets(), 1u);
  EXPECT_EQ(metered_->counters().bytes_down, 2 * kFetchGrid);
  ASSERT_OK(fetch({frames_[4]}));  // the last cell ends with the pack
  EXPECT_EQ(metered_->counters().bytes_down, 2 * kFetchGrid + (places_.begin()->second.size - 3 * kFetchGrid));
}

TEST_F(FetchPoolTest, AdjacentCellsAreOneRequest) {
  make_pack(std::vector<uint32_t>(32, 60'000));
  ASSERT_OK(fetch(frames_));
  EXPECT_EQ(gets(), 1u);
  EXPECT_EQ(kept_.size(), 32u);
}

TEST_F(FetchPoolTest, SequentialReadingMakesFewRequests) {
  make_pack(std::vector<uint32_t>(256, 65'000));
  for (const FrameRef& ref : frames_) ASSERT_OK(fetch({ref}));
  EXPECT_LE(gets(), 16u);
  EXPECT_LE(metered_->counters().bytes_down, places_.begin()->second.size);
}

TEST_F(FetchPoolTest, SequentialReadingGoesOnInTheNextPack) {
  make_pack(std::vector<uint32_t>(256, 65'000), fixed_id<ObjectId>(1));
  make_pack(std::vector<uint32_t>(256, 65'000), fixed_id<ObjectId>(2));
  for (const FrameRef& ref : frames_) ASSERT_OK(fetch({ref}));
  EXPECT_LE(gets(), 16u + 8u);
}

TEST_F(FetchPoolTest, RandomReadingDoesNotReadAhead) {
  make_pack(std::vector<uint32_t>(256, 65'000));
  for (size_t i : {size_t{200}, size_t{3}, size_t{90}, size_t{40}, size_t{150}}) ASSERT_OK(fetch({frames_[i]}));
  EXPECT_EQ(gets(), 5u);
  EXPECT_LE(metered_->counters().bytes_down, 5 * 2 * kFetchGrid);
}

TEST_F(FetchPoolTest, ReadersOfOneFrameShareARequest) {
  make_pack({50'000});
  store_.set_hook([](const FaultCall&) {
    Fault f;
    f.delay = milliseconds(50);
    return f;
  });
  Answers answers;
  for (int i = 0; i < 20; ++i) pool().fetch(missing({frames_[0]}), {}, answers.take());
  for (auto& r : answers.wait(20)) EXPECT_OK(r);
  EXPECT_EQ(gets(), 1u);
}

TEST_F(FetchPoolTest, NothingMissingIsAnsweredToo) { EXPECT_OK(fetch({})); }

TEST_F(FetchPoolTest, DamageNamesTheObject) {
  make_pack({50'000, 50'000});
  Bytes object = memory_->snapshot().at(pack_key(fixed_id<ObjectId>(0xaa)));
  object[60'000] ^= 1;
  memory_->plant(pack_key(fixed_id<ObjectId>(0xaa)), object);
  EXPECT_OK(fetch({frames_[0]}));
  auto bad = fetch({frames_[1]});
  EXPECT_CODE(Code::kCorrupt, bad);
  EXPECT_EQ(bad.error().what(), "object " + pack_key(fixed_id<ObjectId>(0xaa)) +
                                    ", offset 50000, length 50000: does not verify: damaged or replaced in the store");
  EXPECT_FALSE(kept_.contains(frames_[1]));
  object[60'000] ^= 1;  // it was repaired
  memory_->plant(pack_key(fixed_id<ObjectId>(0xaa)), object);
  EXPECT_OK(fetch({frames_[1]}));
}

TEST_F(FetchPoolTest, TruncationAndSwapAreFound) {
  make_pack({50'000, 50'000}, fixed_id<ObjectId>(1));
  make_pack({50'000, 50'000}, fixed_id<ObjectId>(2));
  auto objects = memory_->snapshot();
  std::string one = pack_key(fixed_id<ObjectId>(1)), two = pack_key(fixed_id<ObjectId>(2));
  memory_->plant(one, noise(100'000, 77));
  EXPECT_CODE(Code::kCorrupt, fetch({frames_[0]}));
  memory_->plant(one, BytesView(objects[one]).first(99'999));
  EXPECT_OK(fetch({frames_[0]}));
  EXPECT_CODE(Code::kCorrupt, fetch({frames_[1]}));
  memory_->plant(two, {});
  EXPECT_CODE(Code::kCorrupt, fetch({frames_[2]}));
}

TEST_F(FetchPoolTest, APackThatNobodyPlaced) {
  make_pack({50'000});
  FrameRef ref = frames_[0];
  ref.pack = fixed_id<ObjectId>(0x99);
  EXPECT_CODE(Code::kCorrupt, fetch({ref}));
  ref = frames_[0];
  ref.offset = 1 << 20;
  EXPECT_CODE(Code::kCorrupt, fetch({ref}));  // beyond the end
}

TEST_F(FetchPoolTest, TroubleThatPassesIsWaitedOut) {
  make_pack({50'000});
  store_.set_hook([](const FaultCall& call) {
    Fault f;
    if (call.index < 4) f.fail_before = call.index % 2 ? Code::kTimedOut : Code::kUnavailable;
    return f;
  });
  EXPECT_OK(fetch({frames_[0]}));
}

TEST_F(FetchPoolTest, AMissingObjectIsWaitedForAndThenNamed) {
  make_pack({50'000});
  options_.timeout = milliseconds(300);
  auto object = memory_->snapshot().begin()->second;
  memory_->erase(pack_key(fixed_id<ObjectId>(0xaa)));
  auto gone = fetch({frames_[0]});
  EXPECT_CODE(Code::kUnavailable, gone);
  EXPECT_NE(gone.error().what().find(pack_key(fixed_id<ObjectId>(0xaa))), std::string::npos);
  Answers answers;
  pool().fetch(missing({frames_[0]}), {}, answers.take());
  memory_->plant(pack_key(fixed_id<ObjectId>(0xaa)), object);
  auto results = answers.wait(1);
  ASSERT_EQ(results.size(), 1u);
  EXPECT_OK(results[0]);
}

TEST_F(FetchPoolTest, RefusalEndsAtOnce) {
  make_pack({50'000});
  store_.set_hook([](const FaultCall&) {
    Fault f;
    f.fail_before = Code::kDenied;
    return f;
  });
  EXPECT_CODE(Code::kDenied, fetch({frames_[0]}));
}

TEST_F(FetchPoolTest, AFullDiskIsTheReadersError) {
  make_pack({50'000});
  keep_ = fail(Code::kNoSpace, "disk full");
  EXPECT_CODE(Code::kNoSpace, fetch({frames_[0]}));
}

TEST_F(FetchPoolTest, AStalledStoreHoldsNobodyForever) {
  make_pack(std::vector<uint32_t>(200, 65'000));
  options_.timeout = milliseconds(400);
  options_.threads = 4;
  store_.set_hook([](const FaultCall&) {
    Fault f;
    f.hang = true;
    return f;
  });
  Answers cancelled, timed_out;
  std::stop_source stop;
  for (size_t i = 0; i < 200; ++i)
    pool().fetch(missing({frames_[i]}), i < 100 ? stop.get_token() : std::stop_token(),
                 (i < 100 ? cancelled : timed_out).take());
  auto start = std::chrono::steady_clock::now();
  stop.request_stop();
  for (auto& r : cancelled.wait(100)) EXPECT_CODE(Code::kCancelled, r);
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(350));
  for (auto& r : timed_out.wait(100)) EXPECT_CODE(Code::kTimedOut, r);
  store_.set_hook(nullptr);
  EXPECT_OK(fetch({frames_[0]}));  // and the threads are free again
  EXPECT_EQ(pool().parked(), 0u);
}

TEST_F(FetchPoolTest, StoppingAnswersEverybody) {
  make_pack({50'000});
  store_.set_hook([](const FaultCall&) {
    Fault f;
    f.hang = true;
    return f;
  });
  Answers answers;
  for (int i = 0; i < 50; ++i) pool().fetch(missing({frames_[0]}), {}, answers.take());
  pool().stop();
  EXPECT_EQ(answers.count(), 50u);
  for (auto& r : answers.wait(50)) EXPECT_CODE(Code::kCancelled, r);
}

// A record carries the middle of a pack: the first byte of the pack would lie before the carried bytes.
TEST_F(FetchPoolTest, TheMiddleOfAPack) {
  make_pack({50'000, 50'000, 50'000});
  Bytes object = memory_->snapshot().begin()->second;
  Bytes record = noise(1000, 5);
  record.insert(record.end(), object.begin() + 50'000, object.begin() + 100'000);
  memory_->plant("log/x", record);
  places_.begin()->second = {"log/x", uint64_t{1000} - 50'000, 100'000};
  EXPECT_OK(fetch({frames_[1]}));
  EXPECT_CODE(Code::kCorrupt, fetch({frames_[0]}));
}

TEST_F(FetchPoolTest, SmallMemoryStillServes) {
  options_.buffer = 100'000;
  make_pack(std::vector<uint32_t>(64, 65'000));
  for (int round = 0; round < 2; ++round)
    for (const FrameRef& ref : frames_) ASSERT_OK(fetch({ref}));
  Answers answers;
  for (const FrameRef& ref : frames_) pool().fetch(missing({ref}), {}, answers.take());
  for (auto& r : answers.wait(64)) EXPECT_OK(r);
}

}  // namespace
}  // namespace coffer::test
