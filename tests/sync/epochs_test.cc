// New epochs while devices run.
#include <gtest/gtest.h>

#include "base/failpoint.h"
#include "crypto/random.h"
#include "fs/sync/record.h"
#include "tests/sync/rotating.h"

namespace coffer::test {
namespace {

using std::chrono::milliseconds;

class EpochsTest : public RotatingTest {
 protected:
  std::map<std::string, Epoch> record_epochs() {
    std::map<std::string, Epoch> out;
    for (auto& [key, object] : memory_->snapshot())
      if (key.starts_with(kLogPrefix)) out[key] = Reader(object).u32();
    return out;
  }
};

TEST_F(EpochsTest, BothGoOnUnderTheNewEpochWhileOneOfThemRotates) {
  auto a = watching("a", slots_a_), b = watching("b", slots_b_);
  a->write("before", noise(200'000, 1));
  b->write("b before", noise(200, 2));
  settle({a.get(), b.get()});
  a->write("begun", noise(300'000, 3));  // its pack may be open when the epoch begins
  const Epoch epoch = rotate();
  EXPECT_GT(epoch, 1u);
  wait_until([&] { return newest(*a) == epoch && newest(*b) == epoch; });
  settle({a.get(), b.get()});
  const auto old = record_epochs();
  a->write("begun", noise(300'000, 4), 300'000);
  a->write("after", noise(200'000, 5));
  b->write("b after", noise(300, 6));
  settle({a.get(), b.get()});
  expect_equal({a.get(), b.get()});
  // What was written since needs the new key.
  size_t fresh = 0;
  for (const auto& [key, of] : record_epochs()) {
    if (old.contains(key)) continue;
    ++fresh;
    EXPECT_EQ(of, epoch) << key;
  }
  EXPECT_GE(fresh, 2u);
  const KeyRing before(1, volume_.key);
  TAKE(model::Ino after, a->find("after"));
  TAKE(auto extents, a->replica().extents(after, 0, 200'000));
  for (const model::Extent& extent : extents) {
    TAKE(auto place, b->replica().place_of(extent.frame.pack));
    ASSERT_TRUE(place);
    TAKE(Bytes sealed, memory_->get_range(place->key, place->offset + extent.frame.offset, extent.frame.length));
    Bytes plain(extent.frame_length);
    EXPECT_FALSE(open_frame(before, volume_.id, extent.frame.pack, extent.frame.offset, sealed, plain));
    EXPECT_TRUE(open_frame(a->replica().key_ring(), volume_.id, extent.frame.pack, extent.frame.offset, sealed, plain));
  }
  // Restarted, with the keys that it had: the copies of slots give the others.
  b->restart();
  wait_until([&] { return newest(*b) == epoch; });
  settle({a.get(), b.get()});
  expect_equal({a.get(), b.get()});
  EXPECT_EQ(a->problems() + b->problems(), "");
}

TEST_F(EpochsTest, WhatIsSealedUnderAnUnknownEpochWaitsForItsKeys) {
  auto a = watching("a", slots_a_), b = watching("b", slots_b_);
  a->write("file", noise(2000, 1));
  b->write("b", noise(2000, 2));
  settle({a.get(), b.get()});
  // Only one of the two gets a slot.
  const Epoch epoch = rotate({{a->identity().device, a->identity().certificate.key, "a"}});
  wait_until([&] { return newest(*a) == epoch; });
  a->write("secret", noise(2000, 3));
  a->must_sync();
  wait_until([&] { return b->problems().find("under an epoch") != std::string::npos; });
  EXPECT_FALSE(b->find("secret"));
  EXPECT_TRUE(b->sync_engine().status().news_incomplete);
  // Its own work goes on, and others see it.
  b->write("b", noise(2000, 4));
  b->must_sync();
  a->must_sync();
  EXPECT_EQ(a->read("b").value(), noise(2000, 4));
  // The next rotation gives it all.
  rotate();
  wait_until([&] { return b->find("secret").has_value(); });
  settle({a.get(), b.get()});
  expect_equal({a.get(), b.get()});
  wait_until([&] { return b->problems().empty(); });
}

TEST_F(EpochsTest, PlantedHintsOfEpochsCostLittle) {
  auto a = watching("a", slots_a_);
  a->must_sync();
  memory_->plant(epoch_hint(77), {});
  for (int i = 0; i < 5; ++i) a->must_sync();
  const uint64_t before = a->counters().list;
  for (int i = 0; i < 20; ++i) a->must_sync();
  EXPECT_LT(a->counters().list - before, 60u);
  EXPECT_EQ(a->problems(), "");
}

TEST_F(EpochsTest, SlotsThatVanishArePutBack) {
  auto a = watching("a", slots_a_);
  wait_until([&] { return !slots_a_.kept().empty(); });
  const auto slots = keys(kSlotPrefix);
  for (const std::string& key : slots) memory_->erase(key);
  // As if the store had gone back: it is noticed with the next look, which a hint brings about.
  memory_->plant(epoch_hint(78), {});
  wait_until([&] { return keys(kSlotPrefix) == slots; });
}

// Frames of several epochs, in packs that a former run left unfinished, are told apart.
TEST_F(EpochsTest, APackOfAFormerRunIsFinishedUnderItsOwnEpoch) {
  auto a = watching("a", slots_a_), b = watching("b", slots_b_);
  a->write("x", noise(100, 1));
  b->write("y", noise(100, 2));
  settle({a.get(), b.get()});
  a->faults().set_hook([](const FaultCall& call) {
    Fault f;
    if (call.operation == StoreOperation::kPut) f.fail_before = Code::kUnavailable;
    return f;
  });
  a->write("large", noise(400'000, 3));
  ASSERT_OK(a->replica().sync_all(true));
  const Epoch epoch = rotate();
  wait_until([&] { return newest(*a) == epoch; });
  a->write("large", noise(400'000, 4), 400'000);
  ASSERT_OK(a->replica().sync_all(true));
  a->restart();
  wait_until([&] { return newest(*a) == epoch; });
  a->faults().set_hook(nullptr);
  settle({a.get(), b.get()});
  expect_equal({a.get(), b.get()});
  auto c = device("c");  // with the first key only
  EXPECT_FALSE(c->find("large"));
}

}  // namespace
}  // namespace coffer::test
