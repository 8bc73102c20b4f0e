#include "cache/pack_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <set>
#include <thread>

#include "base/failpoint.h"
#include "base/fd.h"
#include "crypto/hash.h"
#include "crypto/padding.h"
#include "crypto/random.h"
#include "tests/cache/fixture.h"

namespace coffer {
namespace {

using namespace test;

class PackStoreTest : public CacheTest {
 protected:
  PackStoreTest() { reopen(); }

  void reopen() {
    store_.reset();
    auto store = PackStore::open(packs(), volume_, ring_);
    if (!store) {
      ADD_FAILURE() << store.error().what();
      std::abort();
    }
    store_ = std::move(*store);
  }
  std::string packs() const { return dir_.path() + "/packs"; }
  std::string new_path(const ObjectId& id) const { return packs() + "/new/" + id.str(); }
  std::string finished_path(const ObjectId& id) const { return packs() + "/" + id.str().substr(0, 2) + "/" + id.str(); }

  FrameRef append(BytesView plain) {
    auto ref = store_->append(plain);
    if (!ref) {
      ADD_FAILURE() << ref.error().what();
      std::abort();
    }
    return *ref;
  }
  Result<Bytes> read(const FrameRef& ref, size_t size) {
    Bytes out(size);
    if (auto r = store_->read(ref, out); !r) return fail(r.error());
    return out;
  }
  static IndexEntry entry(const FrameRef& ref, uint32_t length, std::string name = "name") {
    IndexEntry e;
    e.frame = ref;
    e.inode = 1ull << 40;
    e.offset = 123456789;
    e.length = length;
    e.version = 7;
    e.parent = 1;
    e.name = std::move(name);
    return e;
  }

  std::unique_ptr<PackStore> store_;
};

TEST_F(PackStoreTest, AppendsReadBack) {
  std::vector<std::pair<FrameRef, Bytes>> all;
  for (size_t i = 0; i < 50; ++i) {
    Bytes plain = i % 2 != 0 ? text(1 + i * 1300, i) : noise(1 + i * 1300, i);
    all.emplace_back(append(plain), plain);
  }
  for (int round = 0; round < 2; ++round) {
    for (const auto& [ref, plain] : all) {
      TAKE(Bytes back, read(ref, plain.size()));
      EXPECT_EQ(back, plain);
    }
    reopen();
  }
}

TEST_F(PackStoreTest, RefHashesTheSealedBytes) {
  FrameRef ref = append(text(9000, 1));
  append(text(100, 2));
  TAKE(Bytes bytes, store_->bytes(ref.pack, ref.offset + ref.length));
  EXPECT_EQ(blake2b(BytesView(bytes).subspan(ref.offset)), ref.hash);
}

TEST_F(PackStoreTest, RejectsImpossibleSizes) {
  EXPECT_CODE(Code::kInvalid, store_->append({}));
  EXPECT_CODE(Code::kInvalid, store_->append(Bytes(kFrameMax + 1)));
  FrameRef ref = append(Bytes(1));
  ref.length = UINT32_MAX;
  EXPECT_CODE(Code::kInvalid, read(ref, 1));
  ref.length = 41;
  EXPECT_CODE(Code::kInvalid, read(ref, 1));
}

TEST_F(PackStoreTest, FullPackIsFollowedByAnother) {
  Bytes plain = noise(kFrameMax, 1);
  std::set<ObjectId> ids;
  FrameRef last;
  for (size_t i = 0; i < kPackTarget / kFrameMax + 2; ++i) ids.insert((last = append(plain)).pack);
  EXPECT_EQ(ids.size(), 2u);
  std::vector<ObjectId> closed = store_->rotate();
  ASSERT_EQ(closed.size(), 2u);
  EXPECT_EQ(closed.back(), last.pack);
  EXPECT_TRUE(store_->rotate().empty());
  EXPECT_NE(append(plain).pack, last.pack);
  TAKE(uint64_t size, store_->size(closed[0]));
  EXPECT_GE(size, kPackTarget);
  EXPECT_LT(size, kPackTarget + kSealedFrameMax);
}

TEST_F(PackStoreTest, SyncCountsAndIsShared) {
  EXPECT_OK(store_->sync());
  EXPECT_EQ(store_->syncs(), 0u) << "nothing to sync";
  FrameRef ref = append(noise(1000, 1));
  EXPECT_EQ(store_->unsynced_bytes(), ref.length);
  EXPECT_OK(store_->sync());
  EXPECT_EQ(store_->unsynced_bytes(), 0u);
  EXPECT_EQ(store_->syncs(), 1u);
  EXPECT_OK(store_->sync());
  EXPECT_EQ(store_->syncs(), 1u);
  // A pack that was rotated before it was synced is synced with the next one.
  append(noise(1000, 1));
  store_->rotate();
  append(noise(1000, 1));
  EXPECT_OK(store_->sync());
  EXPECT_EQ(store_->syncs(), 3u);
}

TEST_F(PackStoreTest, FailedSyncIsRetriedWhenNothingWasAsked) {
  FrameRef ref = append(noise(1000, 1));
  arm_failpoints("pack.sync=error@1");
  EXPECT_CODE(Code::kIo, store_->sync());
  EXPECT_EQ(store_->unsynced_bytes(), ref.length);
  EXPECT_OK(store_->sync());
  EXPECT_EQ(store_->unsynced_bytes(), 0u);
}

TEST_F(PackStoreTest, FirstSyncCoversAFormerRun) {
  FrameRef ref = append(noise(1000, 1));
  reopen();
  EXPECT_OK(store_->sync());
  EXPECT_EQ(store_->syncs(), 1u);
  EXPECT_TRUE(store_->rotate().empty());
  EXPECT_NE(append(Bytes(1)).pack, ref.pack);
  EXPECT_OK(read(ref, 1000));
}

TEST_F(PackStoreTest, RecentFramesServeInPlaceOfASync) {
  EXPECT_EQ(store_->take_recent()->size(), 0u);
  FrameRef first = append(noise(1000, 1));
  EXPECT_FALSE(store_->take_recent());  // the pack's name is new
  EXPECT_OK(store_->sync());
  EXPECT_EQ(store_->take_recent()->size(), 0u);
  FrameRef one = append(noise(1000, 2)), two = append(noise(2000, 3));
  auto recent = store_->take_recent();
  ASSERT_TRUE(recent);
  ASSERT_EQ(recent->size(), 2u);
  EXPECT_EQ((*recent)[1].offset, two.offset);
  EXPECT_EQ(blake2b((*recent)[1].sealed), two.hash);
  EXPECT_EQ(store_->take_recent()->size(), 0u);  // once
  append(noise(kFrameMax, 4));
  EXPECT_FALSE(store_->take_recent());  // too much
  append(noise(100, 5));
  EXPECT_FALSE(store_->take_recent());
  EXPECT_OK(store_->sync());
  append(noise(100, 6));
  EXPECT_EQ(store_->take_recent()->size(), 1u);
  arm_failpoints("pack.sync=error");
  append(noise(100, 7));
  EXPECT_FALSE(store_->sync());
  arm_failpoints("");
  EXPECT_FALSE(store_->take_recent());  // the frame before may be among what was not synced

  // Power loss took the second of the two, and the first is torn.
  reopen();
  Fd file = open_file(new_path(first.pack), O_RDWR).value();
  ASSERT_EQ(::ftruncate(file.get(), one.offset + 10), 0);
  reopen();
  EXPECT_FALSE(store_->take_recent());
  for (const RecentFrame& f : *recent) EXPECT_TRUE(store_->restore(f).value());
  for (const RecentFrame& f : *recent) EXPECT_FALSE(store_->restore(f).value());
  EXPECT_EQ(read(one, 1000).value(), noise(1000, 2));
  EXPECT_EQ(read(two, 2000).value(), noise(2000, 3));
  EXPECT_EQ(store_->size(first.pack).value(), two.offset + two.length);
  // What was finished, or is gone, needs none.
  ASSERT_OK(store_->finish(first.pack, {entry(first, 1000)}));
  EXPECT_FALSE(store_->restore((*recent)[0]).value());
  EXPECT_FALSE(store_->restore({random_id<ObjectId>(), 0, noise(100, 1)}).value());
}

TEST_F(PackStoreTest, FramesForUseAfterASyncKeepNobodyWaiting) {
  append(noise(1000, 1));
  EXPECT_OK(store_->sync());
  for (int i = 0; i < 4; ++i) ASSERT_OK(store_->append(noise(kFrameMax, 2), PackStore::Use::kAfterSync));
  append(noise(1000, 3));
  ASSERT_TRUE(store_->take_recent());  // of the others, nothing is named
  // They are named after all: only a sync serves.
  store_->use_unsynced();
  EXPECT_FALSE(store_->take_recent());
  EXPECT_OK(store_->sync());
  EXPECT_EQ(store_->unsynced_bytes(), 0u);
  store_->use_unsynced();  // all is durable
  EXPECT_TRUE(store_->take_recent());
}

TEST_F(PackStoreTest, RecentFramesCanBeTakenWhileASyncIsUnderWay) {
  append(noise(1000, 1));
  EXPECT_OK(store_->sync());
  FrameRef before = append(noise(1000, 2));
  std::optional<std::vector<RecentFrame>> taken;
  FrameRef during;
  arm_failpoint("pack.sync", [&]() -> Result<void> {
    during = append(noise(1000, 3));
    taken = store_->take_recent();
    return {};
  });
  EXPECT_OK(store_->sync());
  ASSERT_TRUE(taken);
  ASSERT_EQ(taken->size(), 2u);
  EXPECT_EQ((*taken)[0].offset, before.offset);
  EXPECT_EQ((*taken)[1].offset, during.offset);
  EXPECT_EQ(store_->take_recent()->size(), 0u);
  // What the sync under way makes durable is too much to take.
  append(noise(kFrameMax, 4));
  arm_failpoint("pack.sync", [&]() -> Result<void> {
    append(noise(1000, 5));
    taken = store_->take_recent();
    return {};
  });
  EXPECT_OK(store_->sync());
  EXPECT_FALSE(taken);
  EXPECT_EQ(store_->take_recent()->size(), 1u);
}

TEST_F(PackStoreTest, TheNextPackHasADurableNameAlready) {
  append(noise(1000, 1));
  EXPECT_OK(store_->sync());
  EXPECT_EQ(store_->rotate().size(), 1u);
  FrameRef next = append(noise(1000, 2));
  EXPECT_TRUE(store_->take_recent());  // in place of a sync, which a pack with a new name needs
  EXPECT_EQ(store_->local_packs()->size(), 2u);
  // Nor is it in anybody's way that the one after it is made.
  append(noise(1000, 3));
  bool served = false;
  arm_failpoint("pack.sync", [&]() -> Result<void> {
    append(noise(1000, 4));
    served = store_->take_recent().has_value();
    return {};
  });
  EXPECT_OK(store_->sync());
  EXPECT_TRUE(served);
  arm_failpoints("");
  EXPECT_EQ(store_->local_packs()->size(), 2u);
  EXPECT_TRUE(store_->rotate() == std::vector<ObjectId>{next.pack});
  // What was made ready and not used goes with the store.
  reopen();
  EXPECT_EQ(store_->local_packs()->size(), 2u);
}

TEST_F(PackStoreTest, FinishedPackIsPaddedAndIndexed) {
  Bytes a = text(50000, 1), b = noise(65536, 2);
  FrameRef fa = append(a), fb = append(b);
  std::vector<IndexEntry> index = {entry(fa, 50000, "a name"), entry(fb, 65536, std::string(255, 'n'))};
  EXPECT_CODE(Code::kInvalid, store_->finish(fa.pack, index));
  ASSERT_EQ(store_->rotate(), std::vector<ObjectId>{fa.pack});
  TAKE(uint64_t size, store_->finish(fa.pack, index));
  EXPECT_EQ(size, padded_size(size)) << "a size that Padme gives is its own padded size";
  EXPECT_GE(size, uint64_t{fb.offset} + fb.length);
  TAKE(Bytes bytes, store_->bytes(fa.pack, size));
  TAKE(auto back, read_pack_index(bytes, fa.pack, volume_, keys_));
  EXPECT_EQ(back, index);
  EXPECT_TRUE(std::filesystem::exists(finished_path(fa.pack)));
  EXPECT_FALSE(std::filesystem::exists(new_path(fa.pack)));
  for (int round = 0; round < 2; ++round) {
    TAKE(Bytes plain, read(fa, a.size()));
    EXPECT_EQ(plain, a);
    // Again: the bytes stay, also when names have changed or frames have died since.
    index[0].name = "another";
    TAKE(uint64_t again, store_->finish(fa.pack, index));
    EXPECT_EQ(again, size);
    EXPECT_OK(store_->finish(fa.pack, {index[1]}));
    TAKE(Bytes same, store_->bytes(fa.pack, size));
    EXPECT_EQ(same, bytes);
    IndexEntry other = index[0];
    other.frame.offset += 1;
    EXPECT_CODE(Code::kInvalid, store_->finish(fa.pack, {other}));
    reopen();
  }
}

TEST_F(PackStoreTest, FinishOfAnEmptyIndexAndOfUnknownPacks) {
  FrameRef ref = append(Bytes(100));
  store_->rotate();
  TAKE(uint64_t size, store_->finish(ref.pack, {}));
  EXPECT_EQ(size, kPaddingFloor);
  EXPECT_CODE(Code::kNotFound, store_->finish(fixed_id<ObjectId>(9), {}));
  EXPECT_CODE(Code::kInvalid, store_->finish(fixed_id<ObjectId>(9), {entry(ref, 100)}));
}

TEST_F(PackStoreTest, FinishIsTriedAgainAfterFailures) {
  Bytes a = noise(10000, 1);
  FrameRef ref = append(a);
  store_->rotate();
  arm_failpoints("pack.finish=enospc@1,pack.finish.after=error@1");
  EXPECT_CODE(Code::kNoSpace, store_->finish(ref.pack, {entry(ref, 10000)}));
  EXPECT_CODE(Code::kIo, store_->finish(ref.pack, {entry(ref, 10000)}));
  TAKE(uint64_t size, store_->finish(ref.pack, {entry(ref, 10000)}));
  TAKE(Bytes bytes, store_->bytes(ref.pack, size));
  EXPECT_OK(read_pack_index(bytes, ref.pack, volume_, keys_));
  EXPECT_OK(read(ref, 10000));
}

TEST_F(PackStoreTest, InterruptedFinishIsDoneAgainAfterARestart) {
  FrameRef a = append(noise(10000, 1)), b = append(noise(10000, 2));
  store_->rotate();
  Bytes unfinished = slurp(new_path(a.pack));
  TAKE(uint64_t size, store_->finish(a.pack, {entry(a, 10000), entry(b, 10000)}));
  TAKE(Bytes whole, store_->bytes(a.pack, size));
  store_.reset();
  // The crash came anywhere between the first byte of padding and the rename; b has died meanwhile.
  for (size_t kept : {unfinished.size(), unfinished.size() + 1, whole.size() - 1, whole.size()}) {
    std::filesystem::remove(finished_path(a.pack));
    spill(new_path(a.pack), BytesView(whole).first(kept));
    reopen();
    TAKE(uint64_t again, store_->finish(a.pack, {entry(a, 10000)}));
    TAKE(Bytes bytes, store_->bytes(a.pack, again));
    TAKE(auto index, read_pack_index(bytes, a.pack, volume_, keys_));
    EXPECT_EQ(index.size(), 1u);
    EXPECT_OK(read(a, 10000));
  }
}

TEST_F(PackStoreTest, IndexOfAnotherPackOrDamagedFails) {
  FrameRef a = append(noise(10000, 1));
  store_->rotate();
  FrameRef b = append(noise(10000, 2));
  store_->rotate();
  TAKE(uint64_t size, store_->finish(a.pack, {entry(a, 10000)}));
  TAKE(Bytes bytes, store_->bytes(a.pack, size));
  EXPECT_CODE(Code::kCorrupt, read_pack_index(bytes, b.pack, volume_, keys_));
  EXPECT_CODE(Code::kCorrupt, read_pack_index(bytes, a.pack, fixed_id<VolumeId>(1), keys_));
  EXPECT_CODE(Code::kCorrupt, read_pack_index(bytes, a.pack, volume_, EpochKeys(2, fixed_secret(0x11))));
  EXPECT_CODE(Code::kCorrupt, read_pack_index(BytesView(bytes).first(size - 1), a.pack, volume_, keys_));
  EXPECT_CODE(Code::kCorrupt, read_pack_index({}, a.pack, volume_, keys_));
  Bytes longer = bytes;
  longer.insert(longer.begin(), 0);
  EXPECT_CODE(Code::kCorrupt, read_pack_index(longer, a.pack, volume_, keys_));
  for (size_t i = size - kPackTrailer - 256 - kSealOverhead; i < size; i += 5) {
    Bytes bad = bytes;
    bad[i] ^= 0x10;
    EXPECT_CODE(Code::kCorrupt, read_pack_index(bad, a.pack, volume_, keys_));
  }
}

TEST_F(PackStoreTest, DamageIsToldFromAbsence) {
  Bytes a = noise(60000, 1), b = noise(60000, 2);
  FrameRef fa = append(a), fb = append(b);
  EXPECT_CODE(Code::kNotFound, read(FrameRef{fixed_id<ObjectId>(1), 0, fa.length, fa.hash}, 60000));
  EXPECT_CODE(Code::kNotFound, read(FrameRef{fa.pack, 1u << 30, fa.length, fa.hash}, 60000));
  std::string path = new_path(fa.pack);
  const Bytes good = slurp(path);
  for (size_t i = fa.offset; i < fa.offset + fa.length; i += 4001) {
    Bytes bad = good;
    bad[i] ^= 1;
    spill(path, bad);
    EXPECT_CODE(Code::kCorrupt, read(fa, 60000));
    EXPECT_OK(read(fb, 60000));
  }
  // Two frames of equal length change places.
  ASSERT_EQ(fa.length, fb.length);
  Bytes swapped = good;
  std::swap_ranges(swapped.begin() + fa.offset, swapped.begin() + fa.offset + fa.length, swapped.begin() + fb.offset);
  spill(path, swapped);
  EXPECT_CODE(Code::kCorrupt, read(fa, 60000));
  EXPECT_CODE(Code::kCorrupt, read(fb, 60000));
  spill(path, BytesView(good).first(fb.offset + 100));
  EXPECT_OK(read(fa, 60000));
  EXPECT_CODE(Code::kNotFound, read(fb, 60000));
}

TEST_F(PackStoreTest, SwappedPacksAndOtherVolumesFail) {
  Bytes a = noise(5000, 1), b = noise(5000, 2);
  FrameRef fa = append(a);
  store_->rotate();
  FrameRef fb = append(b);
  store_.reset();
  std::filesystem::rename(new_path(fa.pack), new_path(fa.pack) + ".x");
  std::filesystem::rename(new_path(fb.pack), new_path(fa.pack));
  std::filesystem::rename(new_path(fa.pack) + ".x", new_path(fb.pack));
  reopen();
  EXPECT_CODE(Code::kCorrupt, read(fa, 5000));
  EXPECT_CODE(Code::kCorrupt, read(fb, 5000));
  TAKE(auto other, PackStore::open(packs(), fixed_id<VolumeId>(0x55), ring_));
  Bytes out(5000);
  EXPECT_CODE(Code::kCorrupt, other->read(fa, out));
}

TEST_F(PackStoreTest, FetchedRangesComeAndGo) {
  // A finished pack of some grid cells, as another device has it.
  std::vector<std::pair<FrameRef, Bytes>> all;
  std::vector<IndexEntry> index;
  for (size_t i = 0; i < 12; ++i) {
    Bytes plain = noise(40000, i);
    all.emplace_back(append(plain), plain);
    index.push_back(entry(all.back().first, 40000));
  }
  const ObjectId id = all[0].first.pack;
  store_->rotate();
  TAKE(uint64_t size, store_->finish(id, index));
  TAKE(const Bytes whole, store_->bytes(id, size));
  ASSERT_OK(store_->remove(id));
  EXPECT_CODE(Code::kNotFound, store_->size(id));
  EXPECT_CODE(Code::kNotFound, store_->bytes(id, 1));

  std::set<uint64_t> here;
  auto check = [&] {
    for (const auto& [ref, plain] : all) {
      bool complete = true;
      for (uint64_t cell = ref.offset / kFetchGrid; cell <= (ref.offset + ref.length - 1) / kFetchGrid; ++cell)
        complete &= here.contains(cell);
      auto back = read(ref, plain.size());
      if (complete) {
        ASSERT_TRUE(back.has_value()) << back.error().what();
        EXPECT_EQ(*back, plain);
      } else {
        EXPECT_CODE(Code::kNotFound, back);
      }
    }
  };
  const uint64_t cells = (size + kFetchGrid - 1) / kFetchGrid;
  std::mt19937_64 random(5);
  for (int step = 0; step < 200; ++step) {
    uint64_t cell = random() % cells;
    if (random() % 3 != 0) {
      uint64_t from = cell * kFetchGrid;
      ASSERT_OK(
          store_->store_range(id, from, BytesView(whole).subspan(from, std::min<uint64_t>(kFetchGrid, size - from))));
      here.insert(cell);
    } else {
      ASSERT_OK(store_->drop_range(id, cell * kFetchGrid, kFetchGrid));
      here.erase(cell);
    }
    if (step % 20 == 19) check();
    if (step == 100) reopen();
  }
  EXPECT_CODE(Code::kNotFound, store_->bytes(id, size));
  ASSERT_OK(store_->store_range(id, 0, whole));
  TAKE(Bytes back, store_->bytes(id, size));
  EXPECT_EQ(back, whole);
  EXPECT_CODE(Code::kRange, store_->bytes(id, size + 1));
  EXPECT_CODE(Code::kInvalid, store_->store_range(id, 1, whole));
  EXPECT_OK(store_->drop_range(fixed_id<ObjectId>(8), 0, kFetchGrid));
}

TEST_F(PackStoreTest, SingleFetchedFramesComeAndGo) {
  const ObjectId id = fixed_id<ObjectId>(0x21);
  auto frame = [&](uint32_t offset, uint64_t seed) {
    Bytes sealed;
    seal_frame(keys_, volume_, id, offset, noise(30000, seed), sealed);
    return std::pair{FrameRef{id, offset, static_cast<uint32_t>(sealed.size()), blake2b(sealed)}, sealed};
  };
  // The second and third lie side by side, across a line of the grid.
  auto [a, sealed_a] = frame(100, 1);
  auto [b, sealed_b] = frame(50000, 2);
  auto [c, sealed_c] = frame(b.offset + b.length, 3);
  EXPECT_CODE(Code::kInvalid, store_->store_frame(b, sealed_a.size() == sealed_b.size() ? Bytes(1) : sealed_a));
  ASSERT_OK(store_->store_frame(b, sealed_b));
  EXPECT_OK(read(b, 30000));
  EXPECT_CODE(Code::kNotFound, read(a, 30000));
  EXPECT_CODE(Code::kNotFound, read(c, 30000));
  ASSERT_OK(store_->store_frame(c, sealed_c));
  ASSERT_OK(store_->store_frame(a, sealed_a));
  for (const FrameRef& ref : {a, b, c}) EXPECT_OK(read(ref, 30000));
  ASSERT_OK(store_->drop_range(id, b.offset, b.length));
  EXPECT_CODE(Code::kNotFound, read(b, 30000));
  EXPECT_OK(read(a, 30000));
  EXPECT_OK(read(c, 30000));
  ASSERT_OK(store_->drop_range(id, kFetchGrid, kFetchGrid));
  EXPECT_CODE(Code::kNotFound, read(c, 30000));
  EXPECT_OK(read(a, 30000));
}

// Somebody may have them open still, as the blocks of an unlinked file.
TEST_F(PackStoreTest, FinishKeepsFramesThatItsIndexDoesNotName) {
  FrameRef a = append(noise(10000, 1)), b = append(noise(10000, 2));
  store_->rotate();
  ASSERT_OK(store_->finish(a.pack, {entry(a, 10000)}));
  TAKE(Bytes back, read(b, 10000));
  EXPECT_EQ(back, noise(10000, 2));
}

TEST_F(PackStoreTest, UnsentBytesAreNeverPunched) {
  FrameRef ref = append(noise(5000, 1));
  EXPECT_CODE(Code::kInvalid, store_->drop_range(ref.pack, 0, kFetchGrid));
  EXPECT_CODE(Code::kInvalid, store_->store_range(ref.pack, 0, Bytes(10)));
  store_->rotate();
  EXPECT_CODE(Code::kInvalid, store_->drop_range(ref.pack, 0, kFetchGrid));
}

TEST_F(PackStoreTest, DiskBytesFollow) {
  EXPECT_EQ(store_->disk_bytes(), 0u);
  FrameRef ref = append(noise(65536, 1));
  EXPECT_OK(store_->sync());
  uint64_t before = store_->disk_bytes();
  EXPECT_GE(before, 65536u);
  EXPECT_LE(before, 65536u + 16384);
  ASSERT_OK(store_->store_range(fixed_id<ObjectId>(1), 0, noise(1 << 20, 1)));
  EXPECT_GE(store_->disk_bytes(), before + (1 << 20));
  ASSERT_OK(store_->drop_range(fixed_id<ObjectId>(1), 0, 1 << 20));
  EXPECT_LT(store_->disk_bytes(), before + (1 << 20));
  ASSERT_OK(store_->remove(fixed_id<ObjectId>(1)));
  EXPECT_EQ(store_->disk_bytes(), before);
  reopen();
  EXPECT_EQ(store_->disk_bytes(), before);
  ASSERT_OK(store_->remove(ref.pack));
  EXPECT_EQ(store_->disk_bytes(), 0u);
}

TEST_F(PackStoreTest, EvictsWhatWasNotUsedForLongestByTheMebibyte) {
  constexpr uint64_t kMiB = 1 << 20;
  const auto a = fixed_id<ObjectId>(1), b = fixed_id<ObjectId>(2);
  auto frame_at = [&](const ObjectId& pack, uint64_t offset) { return FrameRef{pack, uint32_t(offset), 5000, {}}; };
  auto here = [&](const ObjectId& pack, uint64_t offset) {
    auto r = read(frame_at(pack, offset), 4959);
    return r || r.error().code() != Code::kNotFound;  // noise does not open, but it is here
  };
  auto frame = [&](uint64_t seed) { return append(noise(60'000, seed)); };
  for (const ObjectId& id : {a, b}) ASSERT_OK(store_->store_range(id, 0, noise(4 * kMiB, 1)));
  ASSERT_OK(store_->store_range(a, kMiB, noise(kFetchGrid, 2)));  // used again
  const FrameRef unsent = frame(3);
  const uint64_t before = store_->disk_bytes();
  EXPECT_EQ(store_->evict(kMiB, [](const ObjectId&) { return false; }), 0u);
  EXPECT_EQ(store_->disk_bytes(), before);

  EXPECT_GE(store_->evict(3 * kMiB, [](const ObjectId&) { return true; }), 3 * kMiB);
  EXPECT_LE(store_->disk_bytes(), before - 3 * kMiB);
  EXPECT_FALSE(here(a, 0));
  EXPECT_TRUE(here(a, kMiB));
  EXPECT_FALSE(here(a, 2 * kMiB));
  EXPECT_FALSE(here(a, 3 * kMiB));
  EXPECT_TRUE(here(b, 0));

  // What was not asked for stays, one pack after the other.
  EXPECT_GE(store_->evict(kMiB, [&](const ObjectId& id) { return id == a; }), kMiB);
  TAKE(auto left, store_->local_packs());
  EXPECT_EQ(std::count(left.begin(), left.end(), a), 0);  // nothing is left in it
  EXPECT_TRUE(here(b, 0));

  // More than there is: all but what is unsent.
  EXPECT_GE(store_->evict(100 * kMiB, [](const ObjectId&) { return true; }), 4 * kMiB);
  EXPECT_OK(read(unsent, 60'000));
  TAKE(left, store_->local_packs());
  EXPECT_EQ(left, std::vector<ObjectId>{unsent.pack});
}

TEST_F(PackStoreTest, WhatAFormerRunUsedLastGoesLast) {
  const auto older = fixed_id<ObjectId>(1), newer = fixed_id<ObjectId>(2), now = fixed_id<ObjectId>(3);
  for (const ObjectId& id : {newer, older}) ASSERT_OK(store_->store_range(id, 0, noise(1 << 20, 1)));
  timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, finished_path(older).c_str(), times, 0), 0);
  reopen();
  ASSERT_OK(store_->store_range(now, 0, noise(1 << 20, 1)));
  for (const ObjectId& next : {older, newer, now}) {
    auto size = [&] {
      struct stat st;
      return ::stat(finished_path(next).c_str(), &st) == 0 ? st.st_blocks : 0;
    };
    EXPECT_GT(size(), 0);
    EXPECT_GT(store_->evict(1, [](const ObjectId&) { return true; }), 0u);
    EXPECT_EQ(size(), 0);
  }
}

TEST_F(PackStoreTest, LocalPacksAreAllKinds) {
  FrameRef a = append(noise(100, 1));
  store_->rotate();
  FrameRef b = append(noise(100, 2));
  ASSERT_OK(store_->finish(a.pack, {entry(a, 100)}));
  ASSERT_OK(store_->store_range(fixed_id<ObjectId>(1), 0, Bytes(5, 1)));
  spill(packs() + "/new/not-a-pack", Bytes(1));
  for (int round = 0; round < 2; ++round) {
    TAKE(auto ids, store_->local_packs());
    EXPECT_EQ(std::set<ObjectId>(ids.begin(), ids.end()), (std::set<ObjectId>{a.pack, b.pack, fixed_id<ObjectId>(1)}));
    reopen();
  }
  EXPECT_OK(store_->remove(a.pack));
  EXPECT_OK(store_->remove(a.pack));
  TAKE(auto ids, store_->local_packs());
  EXPECT_EQ(ids.size(), 2u);
}

TEST_F(PackStoreTest, RemovingTheOpenPackStartsAnother) {
  FrameRef a = append(noise(100, 1));
  ASSERT_OK(store_->remove(a.pack));
  EXPECT_CODE(Code::kNotFound, read(a, 100));
  FrameRef b = append(noise(100, 2));
  EXPECT_NE(a.pack, b.pack);
  EXPECT_OK(store_->sync());
  EXPECT_EQ(store_->rotate(), std::vector<ObjectId>{b.pack});
}

// RLIMIT_FSIZE is the one way to make a real write fail here: it stops the file in the middle of a frame.
TEST_F(PackStoreTest, FailedWriteLeavesAGapThatFinishFills) {
  signal(SIGXFSZ, SIG_IGN);
  FrameRef a = append(noise(50000, 1));
  rlimit old;
  getrlimit(RLIMIT_FSIZE, &old);
  rlimit tight = old;
  tight.rlim_cur = 70000;
  setrlimit(RLIMIT_FSIZE, &tight);
  EXPECT_CODE(Code::kIo, store_->append(noise(50000, 2)));
  FrameRef small = append(noise(5000, 3));
  setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_EQ(small.offset, a.offset + a.length) << "the place is given back";
  FrameRef b = append(noise(50000, 4));
  store_->rotate();
  // A gap, as when two appends were under way and the earlier one failed.
  std::filesystem::resize_file(new_path(a.pack), 200000);
  FrameRef later{a.pack, 200000, 0, {}};
  Bytes sealed;
  seal_frame(keys_, volume_, a.pack, later.offset, noise(1000, 5), sealed);
  later.length = static_cast<uint32_t>(sealed.size());
  {
    std::fstream f(new_path(a.pack), std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(200000);
    f.write(reinterpret_cast<const char*>(sealed.data()), static_cast<std::streamsize>(sealed.size()));
  }
  EXPECT_OK(store_->bytes(a.pack, 200000 + sealed.size()));
  std::vector<IndexEntry> index = {entry(a, 50000), entry(small, 5000), entry(b, 50000), entry(later, 1000)};
  TAKE(uint64_t size, store_->finish(a.pack, index));
  TAKE(Bytes whole, store_->bytes(a.pack, size));
  EXPECT_NE(BytesView(whole).subspan(150000, 1000)[5] | BytesView(whole).subspan(150000, 1000)[6], 0);
  for (const auto& e : index) EXPECT_OK(read(e.frame, e.length));
}

TEST_F(PackStoreTest, EnospcAppendsNothing) {
  arm_failpoints("pack.append=enospc@2");
  FrameRef a = append(noise(100, 1));
  EXPECT_CODE(Code::kNoSpace, store_->append(noise(100, 2)));
  FrameRef b = append(noise(100, 3));
  EXPECT_EQ(b.offset, a.offset + a.length);
}

TEST_F(PackStoreTest, ManyPacksShareFewDescriptors) {
  std::vector<FrameRef> refs;
  for (int i = 0; i < 300; ++i) {
    refs.push_back(append(noise(50, static_cast<uint64_t>(i))));
    store_->rotate();
    if (i % 100 == 99) ASSERT_OK(store_->sync());
  }
  reopen();
  EXPECT_OK(store_->sync());
  for (int round = 0; round < 2; ++round)
    for (const FrameRef& ref : refs) EXPECT_OK(read(ref, 50));
  size_t open = 0;
  for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator("/proc/self/fd")) ++open;
  EXPECT_LT(open, 300u);
}

TEST_F(PackStoreTest, NothingPlainOnDisk) {
  const std::string name = "payroll-of-the-year.txt", content = "a sentence that nobody else may read; ";
  Bytes plain;
  while (plain.size() < 30000) plain.insert(plain.end(), content.begin(), content.end());
  plain.resize(30000);
  FrameRef a = append(plain), b = append(as_bytes(content));
  store_->rotate();
  ASSERT_OK(store_->finish(a.pack, {entry(a, 30000, name), entry(b, static_cast<uint32_t>(content.size()), name)}));
  EXPECT_FALSE(found_under(packs(), as_bytes(name)));
  EXPECT_FALSE(found_under(packs(), as_bytes(std::string_view(content).substr(0, 12))));
}

// Everything at once: appenders, readers, syncs, rotation, finishing and removal.
TEST_F(PackStoreTest, ThreadsDoNotDisturbEachOther) {
  constexpr int kAppenders = 3, kEach = 400;
  std::mutex mutex;
  std::vector<std::pair<FrameRef, uint64_t>> published;
  std::atomic<int> running{kAppenders};
  std::set<ObjectId> removed;
  std::vector<std::jthread> threads;
  auto size_of = [](uint64_t seed) { return 1 + seed * 7919 % kFrameMax; };
  for (int t = 0; t < kAppenders; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        uint64_t seed = static_cast<uint64_t>(t) * 1000 + static_cast<uint64_t>(i);
        auto ref = store_->append(seed % 2 != 0 ? noise(size_of(seed), seed) : text(size_of(seed), seed));
        ASSERT_TRUE(ref.has_value());
        std::lock_guard lock(mutex);
        published.emplace_back(*ref, seed);
      }
      --running;
    });
  }
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(static_cast<uint64_t>(t));
      while (running > 0) {
        std::pair<FrameRef, uint64_t> pick;
        {
          std::lock_guard lock(mutex);
          if (published.empty()) continue;
          pick = published[random() % published.size()];
        }
        Bytes plain(size_of(pick.second));
        auto r = store_->read(pick.first, plain);
        if (r) {
          EXPECT_EQ(plain, pick.second % 2 != 0 ? noise(plain.size(), pick.second) : text(plain.size(), pick.second));
        } else {
          std::lock_guard lock(mutex);
          EXPECT_TRUE(removed.contains(pick.first.pack)) << r.error().what();
        }
      }
    });
  }
  threads.emplace_back([&] {
    while (running > 0) ASSERT_TRUE(store_->sync().has_value());
  });
  threads.emplace_back([&] {
    for (int round = 0; running > 0; ++round) {
      std::this_thread::yield();
      for (const ObjectId& id : store_->rotate()) {
        std::vector<IndexEntry> index;
        {
          std::lock_guard lock(mutex);
          for (const auto& [ref, seed] : published)
            if (ref.pack == id) index.push_back(entry(ref, static_cast<uint32_t>(size_of(seed))));
          // An append that is complete may not be published yet: such a pack is left alone.
          uint64_t end = 0;
          for (const auto& e : index) end = std::max<uint64_t>(end, e.frame.offset + e.frame.length);
          if (end != *store_->size(id)) continue;
          if (round % 4 == 0) removed.insert(id);
        }
        if (round % 4 == 0) {
          EXPECT_TRUE(store_->remove(id).has_value());
        } else {
          auto size = store_->finish(id, index);
          EXPECT_TRUE(size.has_value()) << size.error().what();
        }
      }
      (void)store_->disk_bytes();
    }
  });
  threads.clear();
  EXPECT_OK(store_->sync());
  for (const auto& [ref, seed] : published)
    if (!removed.contains(ref.pack)) EXPECT_OK(read(ref, size_of(seed)));
}

// A pack as the first version of this format finished it, with the fixed keys of the fixture. It must be read for ever.
TEST_F(PackStoreTest, GoldenPackEndOpens) {
  // Frame and index of the pack 66..66; the random padding between is not worth keeping.
  TAKE(Bytes end,
       unhex("2b8c3e6d23b6b88ae8f59a370002b1363c2d162b72aebb5e49530c0379880c1570332f49f807dd9e2ef031fd340746c3"
             "a1f96f801a8762dc3fc8960b98d56a98d4e0493e3d5cd7b3bbb6dc9cb5dc03100400eeffb9438ad77f4e13f615ab1c0b"
             "7492f89b74f757cf766620bd999845eb69d02291fcae23b20c1c0494616679f01ba1a845e44306ae17e374479a1d962c"
             "cbdab725afb9afd6af581bcb5da72c0ce083bbabae6b43ec78d11c5b86fac8803b8c7144da4bbd3893f1c1e26764e520"
             "631277cfc9ff7649f935f34e1a45fc013ce40c3c87b22a473f1f7b877c463c63797015126e7bda120012a9e9c4654754"
             "82ddf812b345aa64df6138a883c07f2aa994b9bb9f89f7e83f87d2b7468c93aea1701e18e540dbd7de0f439b620327d5"
             "1d7b0b62a0bb7a0ce8e585fd54fbe82c8c5ac3840fadad5b6622477a22276042e1b8a61ea9d3032cbf523aa31fe3f27e"
             "4410af097e7da9a8b8b1b449626d04ae"));
  Bytes pack(4096 - end.size());
  pack.insert(pack.end(), end.begin(), end.end());
  const ObjectId id = fixed_id<ObjectId>(0x66);
  TAKE(auto index, read_pack_index(pack, id, volume_, keys_));
  IndexEntry e = entry(FrameRef{id, 1000, 2000, fixed_id<Hash>(0x77)}, 1960, "golden");
  EXPECT_EQ(index, std::vector<IndexEntry>{e});
}

}  // namespace
}  // namespace coffer
