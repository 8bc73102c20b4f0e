#include "cache/journal.h"

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <thread>

#include "cache/journal_block.h"
#include "tests/cache/fixture.h"

namespace coffer {
namespace {

using namespace test;

using Entries = std::map<Lsn, std::string>;
using Files = std::map<std::string, Bytes>;  // name -> content

class JournalTest : public CacheTest {
 protected:
  JournalTest() { options_.file_size = 256 << 10; }

  std::string path() const { return dir_.path() + "/journal"; }
  std::string file_path(Lsn first) const {
    char name[17];
    std::snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(first));
    return path() + "/" + name;
  }

  // Opens and replays; what was found is in found_. `refuse`: the entry at which to say no.
  Result<void> try_open(Lsn after = 0, Lsn refuse = 0) {
    journal_.reset();
    found_.clear();
    TRY(journal_, Journal::open(path(), volume_, local_, options_));
    Lsn expected = after + 1;
    return journal_->replay(after, [&](Lsn lsn, BytesView payload) -> Result<bool> {
      EXPECT_EQ(lsn, expected++);
      if (lsn == fail_at_) return fail(Code::kTooNew, "not understood");
      if (lsn == refuse) return false;
      found_[lsn] = std::string(as_string(payload));
      return true;
    });
  }
  void open(Lsn after = 0, Lsn refuse = 0) {
    if (auto r = try_open(after, refuse); !r) {
      ADD_FAILURE() << r.error().what();
      std::abort();
    }
  }

  Lsn add(std::string_view text) {
    Lsn lsn = journal_->append(as_bytes(text));
    written_[lsn] = text;
    return lsn;
  }
  void add_synced(std::string_view text) { ASSERT_OK(journal_->sync(add(text))); }
  void add_flushed(std::string_view text) {
    add(text);
    ASSERT_OK(journal_->flush());
  }
  Entries first_of_written(Lsn n) const { return Entries(written_.begin(), written_.upper_bound(n)); }

  Files snapshot() const {
    Files files;
    for (const auto& e : std::filesystem::directory_iterator(path())) files[e.path().filename()] = slurp(e.path());
    return files;
  }
  // What a killed process leaves behind is what is there now, the destructor not having run.
  void restore(const Files& files) {
    journal_.reset();
    std::filesystem::remove_all(path());
    std::filesystem::create_directories(path());
    for (const auto& [name, content] : files) spill(path() + "/" + name, content);
  }

  Journal::Options options_;
  std::unique_ptr<Journal> journal_;
  Entries found_, written_;
  Lsn fail_at_ = 0;  // the entry about which the replay reports an error
};

TEST_F(JournalTest, EmptyJournal) {
  open();
  EXPECT_TRUE(found_.empty());
  EXPECT_EQ(journal_->last_lsn(), 0u);
  EXPECT_OK(journal_->flush());
  EXPECT_OK(journal_->sync(0));
  EXPECT_OK(journal_->sync(100));
  EXPECT_EQ(journal_->syncs(), 0u);
  open(41);
  EXPECT_EQ(add("x"), 42u);
}

TEST_F(JournalTest, EntriesComeBackInOrder) {
  open();
  for (int i = 0; i < 1000; ++i) {
    add("entry " + std::to_string(i) + std::string(static_cast<size_t>(i % 300), '.'));
    if (i % 50 == 0) ASSERT_OK(journal_->flush());
    if (i % 170 == 0) ASSERT_OK(journal_->sync(journal_->last_lsn()));
  }
  ASSERT_OK(journal_->sync(journal_->last_lsn()));
  EXPECT_EQ(journal_->durable_lsn(), 1000u);
  EXPECT_EQ(journal_->queued_bytes(), 0u);
  for (int round = 0; round < 3; ++round) {
    open();
    EXPECT_EQ(found_, written_);
    EXPECT_EQ(journal_->last_lsn(), 1000u);
  }
  open(990);
  EXPECT_EQ(found_.size(), 10u);
  EXPECT_EQ(add("more"), 1001u);
  ASSERT_OK(journal_->flush());
  open();
  EXPECT_EQ(found_, written_);
}

TEST_F(JournalTest, QueuedEntriesAreLostWithTheProcess) {
  open();
  add_flushed("kept");
  add("queued");
  EXPECT_EQ(journal_->queued_bytes(), 7u);
  open();
  EXPECT_EQ(found_, first_of_written(1));
}

TEST_F(JournalTest, EmptyAndHugeEntries) {
  options_.block_payload = 1000;
  open();
  add("");
  add(std::string(999, 'a'));
  add(std::string(1000, 'b'));
  add(std::string(5000, 'c'));
  add(std::string(3 << 20, 'd'));  // larger than a file
  add("e");
  ASSERT_OK(journal_->sync(journal_->last_lsn()));
  open();
  EXPECT_EQ(found_, written_);
}

TEST_F(JournalTest, ReplayedEntriesAreDurableAfterASync) {
  open();
  add_flushed("one");
  restore(snapshot());
  open();
  EXPECT_EQ(journal_->durable_lsn(), 0u);
  EXPECT_OK(journal_->sync(journal_->last_lsn()));
  EXPECT_EQ(journal_->durable_lsn(), 1u);
  EXPECT_EQ(journal_->syncs(), 1u);
}

TEST_F(JournalTest, FilesSwitchAndAreReleasedAndReused) {
  options_.file_size = 64 << 10;
  open();
  for (int i = 0; i < 100; ++i) add_synced("entry " + std::to_string(i));
  // Fifteen blocks fit beside the header.
  Files files = snapshot();
  EXPECT_EQ(files.size(), 7u);
  EXPECT_TRUE(files.contains("0000000000000001"));
  EXPECT_TRUE(files.contains("0000000000000010"));
  ASSERT_OK(journal_->release(14));
  EXPECT_EQ(snapshot().size(), 7u);
  ASSERT_OK(journal_->release(15));
  files = snapshot();
  EXPECT_FALSE(files.contains("0000000000000001"));
  ASSERT_OK(journal_->release(100));
  files = snapshot();
  EXPECT_EQ(files.size(), 2u) << "the current one and a spare";
  EXPECT_TRUE(files.contains("spare"));
  for (int i = 0; i < 10; ++i) add_synced("more " + std::to_string(i));
  EXPECT_FALSE(snapshot().contains("spare"));
  // A reused file has blocks of its former life behind its end.
  restore(snapshot());
  open(95);
  EXPECT_EQ(found_, Entries(written_.upper_bound(95), written_.end()));
}

TEST_F(JournalTest, UsedUpFileOfAFormerRunIsNotWrittenAgain) {
  open();
  add_synced("one");
  open();
  add_synced("two");
  EXPECT_EQ(snapshot().size(), 2u);
  open();
  EXPECT_EQ(found_, written_);
  EXPECT_EQ(snapshot().at("0000000000000001").size(), 2 * kJournalGrain) << "cut to what it holds";
}

TEST_F(JournalTest, TornTailAtEveryByte) {
  open();
  add_synced("synced");
  add_flushed("torn one");
  add_flushed("torn two " + std::string(100, 'x'));
  const Files whole = snapshot();
  const std::string name = "0000000000000001";
  const Bytes& content = whole.at(name);
  for (int kind = 0; kind < 3; ++kind) {
    for (size_t at = 2 * kJournalGrain; at < 4 * kJournalGrain; at += at % kJournalGrain < 256 ? 1 : 509) {
      Bytes torn(content.begin(), content.begin() + static_cast<long>(at));
      if (kind == 1) torn.resize(content.size());
      if (kind == 2) {
        Bytes garbage = noise(content.size() - at, at);
        torn.insert(torn.end(), garbage.begin(), garbage.end());
      }
      restore({{name, torn}});
      open();
      // Each block's bytes end well before the next starts: what is cut in the zeros between cuts nothing.
      size_t blocks = 1;
      if (at > 2 * kJournalGrain + 8 + 40 + 20 + 9) ++blocks;
      if (at >= 3 * kJournalGrain + 8 + 40 + 20 + 110) ++blocks;
      EXPECT_EQ(found_, first_of_written(found_.size()));
      EXPECT_NEAR(static_cast<double>(found_.size()), static_cast<double>(blocks), at % kJournalGrain > 200 ? 0 : 1);
      if (at % kJournalGrain == 0) {
        EXPECT_EQ(found_.size(), blocks);
      }
      // What was cut off never comes back, and work goes on.
      if (at % 64 == 0) {
        Entries expected = found_;
        Lsn lsn = journal_->append(as_bytes("after the cut"));
        EXPECT_EQ(lsn, expected.size() + 1);
        expected[lsn] = "after the cut";
        ASSERT_OK(journal_->sync(lsn));
        open();
        EXPECT_EQ(found_, expected);
      }
    }
  }
}

TEST_F(JournalTest, HoleInAnUnsyncedTailIsCut) {
  open();
  add_synced("synced");
  add_flushed("lost");
  add_flushed("survived, out of order");
  Files files = snapshot();
  std::fill_n(files["0000000000000001"].begin() + 2 * kJournalGrain, kJournalGrain, 0);
  restore(files);
  open();
  EXPECT_EQ(found_, first_of_written(1));
  EXPECT_EQ(journal_->append(as_bytes("second life")), 2u);
  ASSERT_OK(journal_->flush());
  open();
  EXPECT_EQ(found_, (Entries{{1, "synced"}, {2, "second life"}}));
}

TEST_F(JournalTest, HoleAcrossAFileSwitchIsCut) {
  options_.file_size = 64 << 10;
  open();
  for (int i = 0; i < 13; ++i) add_synced("s");
  for (int i = 0; i < 5; ++i) add_flushed("u");  // two of them in the next file
  Files files = snapshot();
  ASSERT_TRUE(files.contains("0000000000000010"));
  files["0000000000000001"].resize(15 * kJournalGrain);
  restore(files);
  open();
  EXPECT_EQ(found_, first_of_written(14));
  files = snapshot();
  EXPECT_FALSE(files.contains("0000000000000010"));
}

TEST_F(JournalTest, DamageInTheMiddleIsReportedAndChangesNothing) {
  open();
  for (int i = 0; i < 5; ++i) add_synced("entry");
  const Files whole = snapshot();
  const std::string name = "0000000000000001";
  for (size_t block = 1; block <= 4; ++block) {
    for (int kind = 0; kind < 3; ++kind) {
      Files files = whole;
      uint8_t* at = files[name].data() + block * kJournalGrain;
      if (kind == 0) std::fill_n(at, kJournalGrain, 0);
      if (kind == 1) at[0] ^= 1;
      if (kind == 2) at[40] ^= 1;
      restore(files);
      auto r = try_open();
      EXPECT_CODE(Code::kCorrupt, r);
      if (block < 5) {
        EXPECT_NE(r.error().what().find(name), std::string::npos);
        EXPECT_NE(r.error().what().find("offset " + std::to_string(block * kJournalGrain)), std::string::npos);
      }
      journal_.reset();
      EXPECT_EQ(snapshot(), files);
      // The table has the damaged entry: nothing is lost.
      open(block);
      EXPECT_EQ(found_, Entries(written_.upper_bound(block), written_.end()));
    }
  }
}

TEST_F(JournalTest, MissingFileIsDamage) {
  options_.file_size = 64 << 10;
  open();
  for (int i = 0; i < 50; ++i) add_synced("entry " + std::to_string(i));
  Files files = snapshot();
  files.erase("0000000000000010");
  restore(files);
  EXPECT_CODE(Code::kCorrupt, try_open());
  EXPECT_CODE(Code::kCorrupt, try_open(20));
  open(30);
  EXPECT_EQ(found_.size(), 20u);
  files.erase("0000000000000001");
  restore(files);
  EXPECT_CODE(Code::kCorrupt, try_open());
}

TEST_F(JournalTest, BlocksAreBoundToTheirPlace) {
  open();
  for (int i = 0; i < 4; ++i) add_synced("entry");
  const Files whole = snapshot();
  const std::string name = "0000000000000001";
  auto block = [](Bytes& b, size_t i) { return b.begin() + static_cast<long>(i * kJournalGrain); };
  Files files = whole;
  std::swap_ranges(block(files[name], 1), block(files[name], 2), block(files[name], 2));
  restore(files);
  EXPECT_CODE(Code::kCorrupt, try_open());
  // Another file id, another name, another volume, another key: nothing in there is ours.
  files = whole;
  files[name][10] ^= 1;
  restore(files);
  open();
  EXPECT_TRUE(found_.empty());
  restore({{"0000000000000002", whole.at(name)}});
  open();
  EXPECT_TRUE(found_.empty());
  restore(whole);
  TAKE(auto other, Journal::open(path(), fixed_id<VolumeId>(1), local_, options_));
  EXPECT_OK(other->replay(0, [](Lsn, BytesView) {
    ADD_FAILURE();
    return true;
  }));
}

TEST_F(JournalTest, LaterFormatIsRefused) {
  open();
  add_synced("entry");
  Files files = snapshot();
  files["0000000000000001"][8] = 2;
  restore(files);
  EXPECT_CODE(Code::kTooNew, try_open());
  journal_.reset();
  EXPECT_EQ(snapshot(), files);
}

// Who cannot tell whether an entry is good (a newer program's, a disk that cannot be read) must not lose it, nor those behind.
TEST_F(JournalTest, AnErrorAboutAnEntryChangesNothing) {
  open();
  for (int i = 0; i < 5; ++i) add_synced("entry " + std::to_string(i));
  journal_.reset();
  const Files before = snapshot();
  fail_at_ = 3;
  EXPECT_CODE(Code::kTooNew, try_open());
  journal_.reset();
  EXPECT_EQ(snapshot(), before);
  fail_at_ = 0;
  open();
  EXPECT_EQ(found_, written_);
}

TEST_F(JournalTest, RefusedEntryEndsTheJournal) {
  for (Lsn refuse : {1u, 2u, 3u, 6u, 7u, 8u, 10u}) {
    journal_.reset();
    std::filesystem::remove_all(path());
    written_.clear();
    open();
    // Two blocks of five.
    for (int b = 0; b < 2; ++b) {
      for (int i = 0; i < 5; ++i) add("entry " + std::to_string(b * 5 + i));
      ASSERT_OK(journal_->flush());
    }
    const Files before = snapshot();
    open(0, refuse);
    Entries expected = first_of_written(refuse - 1);
    EXPECT_EQ(found_, expected);
    const Files after = snapshot();
    open();
    EXPECT_EQ(found_, expected);
    Lsn lsn = journal_->append(as_bytes("new"));
    EXPECT_EQ(lsn, refuse);
    ASSERT_OK(journal_->sync(lsn));
    expected[lsn] = "new";
    open();
    EXPECT_EQ(found_, expected);
    // The crash came when the kept part of the block was written, and the rest not yet cut off.
    if (after.size() == 2) {
      Files between = after;
      between["0000000000000001"] = before.at("0000000000000001");
      restore(between);
      open();
      expected.erase(lsn);
      EXPECT_EQ(found_, expected);
    }
  }
}

// What it names was durable before it was, so something was lost that nobody may lose: not a tail that a crash tore.
TEST_F(JournalTest, RefusedEntryThatWasDurableIsDamage) {
  open();
  for (int i = 0; i < 3; ++i) add_synced("entry");  // each block knows that the one before is durable
  add_flushed("entry");
  journal_.reset();
  const Files before = snapshot();
  for (Lsn refuse : {1u, 2u, 3u}) {
    auto r = try_open(0, refuse);
    EXPECT_CODE(Code::kCorrupt, r);
    EXPECT_NE(r.error().what().find("entry " + std::to_string(refuse)), std::string::npos) << r.error().what();
    journal_.reset();
    EXPECT_EQ(snapshot(), before);
  }
  // The table has it already: nothing is asked about it.
  open(3);
  EXPECT_EQ(found_.size(), 1u);
  open(0, 4);
  EXPECT_EQ(found_, first_of_written(3));
}

TEST_F(JournalTest, PeekingShowsTheSameAndChangesNothing) {
  open();
  for (int i = 0; i < 3; ++i) add_synced("entry " + std::to_string(i));
  TAKE(auto journal, Journal::open(path(), volume_, local_, options_));
  journal_ = std::move(journal);
  const Files before = snapshot();
  Entries seen;
  ASSERT_OK(journal_->replay(1, [&](Lsn lsn, BytesView) -> Result<bool> {
    if (lsn != 2) return true;
    TRYV(journal_->peek(1, [&](Lsn peeked, BytesView payload) -> Result<bool> {
      seen[peeked] = std::string(as_string(payload));
      return true;
    }));
    return true;
  }));
  EXPECT_EQ(seen, Entries(written_.upper_bound(1), written_.end()));
  EXPECT_EQ(snapshot(), before);
}

TEST_F(JournalTest, FullDiskKeepsEntriesQueued) {
  open();
  arm_failpoints("journal.write=enospc@1");
  add("one");
  EXPECT_CODE(Code::kNoSpace, journal_->flush());
  add("two");
  EXPECT_GT(journal_->queued_bytes(), 0u);
  EXPECT_OK(journal_->flush());
  arm_failpoints("journal.write=enospc@2");
  options_.block_payload = 64 << 10;
  add(std::string(65536, 'x'));
  add(std::string(65536, 'y'));
  add("three");
  EXPECT_CODE(Code::kNoSpace, journal_->sync(journal_->last_lsn()));
  add("four");
  EXPECT_OK(journal_->sync(journal_->last_lsn()));
  EXPECT_EQ(journal_->queued_bytes(), 0u);
  arm_failpoints("journal.create=enospc@1");
  for (int i = 0; i < 4; ++i) add(std::string(65536, 'z'));
  EXPECT_CODE(Code::kNoSpace, journal_->sync(journal_->last_lsn()));
  EXPECT_OK(journal_->sync(journal_->last_lsn()));
  open();
  EXPECT_EQ(found_, written_);
}

TEST_F(JournalTest, EachFailedStepCanBeTakenAgain) {
  open();
  for (const char* point :
       {"journal.create", "journal.create.after", "journal.write", "journal.write.after", "journal.sync.after"}) {
    for (int i = 0; i < 5; ++i) add(std::string(65000, *point));  // more than a file
    arm_failpoints(std::string(point) + "=error@1");
    EXPECT_CODE(Code::kIo, journal_->sync(journal_->last_lsn()));
    EXPECT_OK(journal_->sync(journal_->last_lsn()));
  }
  open();
  EXPECT_EQ(found_, written_);
}

TEST_F(JournalTest, FailedFdatasyncIsFinal) {
  open();
  add_synced("one");
  arm_failpoints("journal.sync=error@1");
  EXPECT_CODE(Code::kIo, journal_->sync(add("two")));
  EXPECT_CODE(Code::kIo, journal_->sync(2));
  EXPECT_CODE(Code::kIo, journal_->sync(add("three")));
  EXPECT_EQ(journal_->durable_lsn(), 1u);
  EXPECT_OK(journal_->flush());
  open();
  EXPECT_EQ(found_, written_);
}

TEST_F(JournalTest, BeforeSyncComesFirstAndItsFailureIsTheSyncs) {
  std::vector<std::string> order;
  bool fail_it = false;
  options_.before_sync = [&]() -> Result<Bytes> {
    order.push_back("packs at " + std::to_string(journal_->last_lsn()));
    // This entry came too late for what before_sync makes durable.
    add("late");
    if (fail_it) return fail(Code::kNoSpace, "packs");
    return Bytes{};
  };
  open();
  EXPECT_OK(journal_->sync(add("one")));
  EXPECT_EQ(journal_->durable_lsn(), 1u);
  EXPECT_GT(journal_->queued_bytes(), 0u);
  fail_it = true;
  EXPECT_CODE(Code::kNoSpace, journal_->sync(2));
  EXPECT_EQ(journal_->durable_lsn(), 1u);
  fail_it = false;
  EXPECT_OK(journal_->sync(2));
  EXPECT_EQ(journal_->durable_lsn(), 3u);
  EXPECT_EQ(order.size(), 3u);
  EXPECT_OK(journal_->flush());
  open();
  EXPECT_EQ(found_, written_);
}

// What before_sync hands over is in the journal when the sync returns, though nobody waits for its number.
TEST_F(JournalTest, WhatBeforeSyncReturnsIsMadeDurableWithTheRest) {
  options_.before_sync = [&]() -> Result<Bytes> {
    add("late");
    written_[journal_->last_lsn() + 1] = "handed over";
    return to_bytes(as_bytes(std::string("handed over")));
  };
  open();
  EXPECT_OK(journal_->sync(add("one")));
  EXPECT_EQ(journal_->durable_lsn(), 1u);
  EXPECT_EQ(journal_->queued_bytes(), 0u);
  EXPECT_EQ(journal_->syncs(), 1u);
  options_.before_sync = nullptr;
  open();
  EXPECT_EQ(found_, written_);
}

TEST_F(JournalTest, FlushDoesNotWaitForASync) {
  std::mutex mutex;
  std::condition_variable cv;
  bool in_sync = false, go_on = false;
  options_.before_sync = [&]() -> Result<Bytes> {
    std::unique_lock lock(mutex);
    in_sync = true;
    cv.notify_all();
    cv.wait(lock, [&] { return go_on; });
    return Bytes{};
  };
  open();
  add("one");
  std::jthread syncer([&] { EXPECT_OK(journal_->sync(1)); });
  {
    std::unique_lock lock(mutex);
    cv.wait(lock, [&] { return in_sync; });
  }
  add("two");
  EXPECT_OK(journal_->flush());
  EXPECT_EQ(journal_->queued_bytes(), 0u);
  EXPECT_EQ(journal_->durable_lsn(), 0u);
  {
    std::lock_guard lock(mutex);
    go_on = true;
  }
  cv.notify_all();
  syncer.join();
  EXPECT_EQ(journal_->durable_lsn(), 1u);
  open();
  EXPECT_EQ(found_, written_);
}

TEST_F(JournalTest, ThreadsShareSyncs) {
  options_.file_size = 1 << 20;
  open();
  constexpr int kThreads = 8, kEach = 200;
  std::mutex mutex;
  std::atomic<bool> done{false};
  std::vector<std::jthread> threads;
  std::jthread flusher([&] {
    while (!done) ASSERT_TRUE(journal_->flush().has_value());
  });
  std::jthread releaser([&] {
    while (!done) ASSERT_TRUE(journal_->release(journal_->durable_lsn() / 2).has_value());
  });
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        std::string text = std::to_string(t) + "/" + std::to_string(i) + std::string(static_cast<size_t>(i * 7), 'x');
        Lsn lsn = journal_->append(as_bytes(text));
        {
          std::lock_guard lock(mutex);
          written_[lsn] = text;
        }
        if (i % 4 == 0) {
          ASSERT_TRUE(journal_->sync(lsn).has_value());
          ASSERT_GE(journal_->durable_lsn(), lsn);
        }
      }
    });
  }
  threads.clear();
  done = true;
  flusher.join();
  releaser.join();
  EXPECT_OK(journal_->sync(journal_->last_lsn()));
  EXPECT_LT(journal_->syncs(), static_cast<uint64_t>(kThreads * kEach / 4));
  const Lsn half = journal_->last_lsn() / 2;
  open(half);
  EXPECT_EQ(found_, Entries(written_.upper_bound(half), written_.end()));
}

TEST_F(JournalTest, NothingPlainOnDisk) {
  open();
  const std::string secret = "a name that nobody else may read";
  for (int i = 0; i < 10; ++i) add(secret);
  ASSERT_OK(journal_->sync(journal_->last_lsn()));
  EXPECT_FALSE(found_under(path(), as_bytes(secret.substr(0, 12))));
}

// Whatever a power loss does to what was not synced: what was is there, in order, without gaps, and it is never taken
// for damage. Losses follow each other, so that cut journals, reused files and reused lsns are lost again.
TEST_F(JournalTest, SurvivesAnyLossOfWhatWasNotSynced) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    journal_.reset();
    std::filesystem::remove_all(path());
    options_.file_size = (16 << 10) << random() % 3;
    options_.block_payload = 9000;
    Entries model;    // all that may be found
    Lsn durable = 0;  // all that must be
    Lsn committed = 0;
    Files synced;  // as of the last sync
    written_.clear();
    open();
    for (int step = 0; step < 400; ++step) {
      switch (random() % 12) {
        default: {
          std::string text = std::to_string(step) + std::string(random() % 3000, 'e');
          model[journal_->append(as_bytes(text))] = text;
          break;
        }
        case 0:
        case 1:
          ASSERT_OK(journal_->flush());
          break;
        case 2:
          ASSERT_OK(journal_->sync(journal_->last_lsn()));
          durable = journal_->durable_lsn();
          synced = snapshot();
          break;
        case 3:
          committed = std::max(committed, durable - std::min<Lsn>(durable, random() % 20));
          ASSERT_OK(journal_->release(committed));
          break;
        case 4: {
          if (random() % 3 != 0) break;
          Files now = snapshot(), left;
          for (auto& [name, content] : now) {
            const Bytes& old = synced[name];
            for (size_t page = kJournalGrain; page < content.size(); page += kJournalGrain) {
              auto at = content.begin() + static_cast<long>(page);
              Bytes before(kJournalGrain);
              if (page + kJournalGrain <= old.size())
                std::copy_n(old.begin() + static_cast<long>(page), kJournalGrain, before.begin());
              if (std::equal(before.begin(), before.end(), at)) continue;
              switch (random() % 4) {
                case 0:
                  std::copy(before.begin(), before.end(), at);
                  break;  // not written
                case 1:
                  std::copy_n(before.begin(), random() % kJournalGrain, at);
                  break;  // half of it
                case 2:
                  std::copy(before.begin() + 512, before.end(), at + 512);
                  break;  // a sector of it
                case 3:
                  break;  // written
              }
            }
            left[name] = content;
          }
          restore(left);
          auto r = try_open(committed);
          ASSERT_TRUE(r.has_value()) << r.error().what();
          Lsn last = journal_->last_lsn();
          ASSERT_GE(last, durable);
          model.erase(model.upper_bound(last), model.end());
          ASSERT_EQ(found_, Entries(model.upper_bound(committed), model.end()));
          ASSERT_OK(journal_->sync(last));
          durable = last;
          synced = snapshot();
          break;
        }
      }
    }
  }
}

// Written with the fixed keys of the fixture by the first version of this format. It must be read for ever.
TEST_F(JournalTest, GoldenFileReplays) {
  TAKE(Bytes file, unhex("636f66666a726e6c0100888888888888888888888888888888880700000000000000"));
  file.resize(kJournalGrain);
  TAKE(Bytes block,
       unhex("4b00000085eaf3fea21bfc681b66ef86e2c4fe8f7346a9e06f0e978038ee56f781cdd61889e45e5f6ddf410a56839858"
             "286c083ae56e303b5a82318c8d482b2f13a07a2a92b11e12705259ff681d2156f8254c"));
  file.insert(file.end(), block.begin(), block.end());
  restore({{"0000000000000007", file}});
  open(6);
  EXPECT_EQ(found_, (Entries{{7, "golden"}, {8, "entries"}}));
}

}  // namespace
}  // namespace coffer
