// A disk that is really full: a small tmpfs. Skipped where one may not be mounted.
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <memory>

#include "cache/journal.h"
#include "cache/pack_store.h"
#include "cache/space_reserve.h"
#include "cache/table.h"
#include "tests/cache/fixture.h"

namespace coffer {
namespace {

using namespace test;

class FullDiskTest : public CacheTest {
 protected:
  void SetUp() override {
    mounted_ = ::mount("tmpfs", dir_.path().c_str(), "tmpfs", 0, "size=8m") == 0;
    if (!mounted_) GTEST_SKIP() << "cannot mount a tmpfs here";
  }
  ~FullDiskTest() override {
    packs_.reset();
    table_.reset();
    journal_.reset();
    if (mounted_) ::umount2(dir_.path().c_str(), MNT_DETACH);
  }
  // Leaves `room` bytes.
  void fill(size_t room) {
    std::error_code ignored;
    std::filesystem::remove(dir_.path() + "/filler", ignored);
    size_t left = std::filesystem::space(dir_.path()).available;
    ASSERT_GT(left, room);
    spill(dir_.path() + "/filler", Bytes((left - room) / 4096 * 4096));
  }
  void make_room() { std::filesystem::remove(dir_.path() + "/filler"); }

  std::unique_ptr<PackStore> packs_;
  std::unique_ptr<Table> table_;
  std::unique_ptr<Journal> journal_;
  bool mounted_ = false;
};

TEST_F(FullDiskTest, JournalKeepsEntriesUntilThereIsRoom) {
  Journal::Options options;
  options.file_size = 256 << 10;
  TAKE(journal_, Journal::open(dir_.path() + "/journal", volume_, local_, options));
  ASSERT_OK(journal_->replay(0, [](Lsn, BytesView) { return true; }));
  fill(0);
  for (int i = 0; i < 20; ++i) journal_->append(noise(60000, static_cast<uint64_t>(i)));
  EXPECT_CODE(Code::kNoSpace, journal_->sync(20));
  EXPECT_CODE(Code::kNoSpace, journal_->flush());
  // No room for a whole file, but for a small one.
  fill(200 << 10);
  EXPECT_CODE(Code::kNoSpace, journal_->sync(20));
  make_room();
  EXPECT_OK(journal_->sync(20));
  // What is preallocated works on a full disk.
  journal_->append(Bytes(10));
  EXPECT_OK(journal_->sync(21));
  fill(0);
  journal_->append(Bytes(10));
  EXPECT_OK(journal_->sync(22));
  make_room();
  TAKE(journal_, Journal::open(dir_.path() + "/journal", volume_, local_, options));
  Lsn seen = 0;
  ASSERT_OK(journal_->replay(0, [&](Lsn lsn, BytesView payload) {
    EXPECT_EQ(lsn, ++seen);
    EXPECT_EQ(to_bytes(payload), lsn <= 20 ? noise(60000, lsn - 1) : Bytes(10));
    return true;
  }));
  EXPECT_EQ(seen, 22u);
}

TEST_F(FullDiskTest, ReserveIsGivenUpAndTakenAgain) {
  const std::string path = dir_.path() + "/reserve";
  TAKE(SpaceReserve reserve, SpaceReserve::open(path, 2 << 20));
  EXPECT_EQ(reserve.missing(), 2u << 20);
  EXPECT_FALSE(reserve.give_up());
  fill(1 << 20);
  const size_t left = std::filesystem::space(dir_.path()).available;
  EXPECT_CODE(Code::kNoSpace, reserve.take());
  EXPECT_EQ(std::filesystem::space(dir_.path()).available, left);
  make_room();
  ASSERT_OK(reserve.take());
  EXPECT_EQ(reserve.missing(), 0u);
  TAKE(reserve, SpaceReserve::open(path, 2 << 20));  // it stays for the next run
  EXPECT_EQ(reserve.missing(), 0u);
  fill(0);
  EXPECT_TRUE(reserve.give_up());
  EXPECT_GE(std::filesystem::space(dir_.path()).available, 2u << 20);
  TAKE(reserve, SpaceReserve::open(path, 0));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(FullDiskTest, TableKeepsRowsUntilThereIsRoom) {
  std::filesystem::create_directories(dir_.path() + "/table");
  TAKE(table_, Table::open(dir_.path() + "/table", volume_, local_));
  Lsn lsn = 0;
  auto put = [&](uint64_t n) {
    RowPut p{RowKey{"k" + std::to_string(n), 2}, noise(2000, n)};
    table_->apply({&p, 1}, ++lsn);
  };
  auto check = [&](uint64_t count) {
    for (uint64_t n = 0; n < count; ++n) {
      TAKE(auto value, table_->get(RowKey{"k" + std::to_string(n), 2}));
      ASSERT_TRUE(value.has_value());
      ASSERT_EQ(*value, noise(2000, n));
    }
  };
  for (uint64_t n = 0; n < 300; ++n) put(n);
  table_->freeze();
  ASSERT_OK(table_->commit_frozen());
  for (uint64_t n = 300; n < 800; ++n) put(n);
  table_->freeze();
  for (int i = 0; i < 3; ++i) {
    fill(100 << 10);
    EXPECT_CODE(Code::kNoSpace, table_->commit_frozen());
    EXPECT_EQ(table_->committed_lsn(), 300u);
    check(800);
  }
  make_room();
  EXPECT_OK(table_->commit_frozen());
  check(800);
  TAKE(table_, Table::open(dir_.path() + "/table", volume_, local_));
  EXPECT_EQ(table_->committed_lsn(), 800u);
  check(800);
}

TEST_F(FullDiskTest, PacksAppendNothingAndFinishLater) {
  TAKE(packs_, PackStore::open(dir_.path() + "/packs", volume_, ring_));
  std::vector<IndexEntry> index;
  auto append = [&](uint64_t seed) -> Result<void> {
    TRY(FrameRef ref, packs_->append(noise(50000, seed)));
    IndexEntry e;
    e.frame = ref;
    e.length = 50000;
    e.inode = seed;
    index.push_back(e);
    return {};
  };
  for (uint64_t i = 0; i < 20; ++i) ASSERT_OK(append(i));
  fill(120 << 10);
  Result<void> r;
  for (uint64_t i = 20; i < 25 && r; ++i) r = append(i);
  EXPECT_CODE(Code::kNoSpace, r);
  const size_t fitted = index.size();
  EXPECT_CODE(Code::kNoSpace, append(30));
  EXPECT_EQ(packs_->rotate().size(), 1u);
  fill(0);
  // What the last append could not complete may give just enough room.
  if (auto early = packs_->finish(index[0].frame.pack, index); !early) EXPECT_CODE(Code::kNoSpace, early);
  make_room();
  TAKE(uint64_t size, packs_->finish(index[0].frame.pack, index));
  TAKE(Bytes bytes, packs_->bytes(index[0].frame.pack, size));
  EXPECT_OK(read_pack_index(bytes, index[0].frame.pack, volume_, keys_));
  ASSERT_OK(append(40));
  EXPECT_EQ(index.size(), fitted + 1);
  for (const IndexEntry& e : index) {
    Bytes plain(50000);
    ASSERT_OK(packs_->read(e.frame, plain));
    EXPECT_EQ(plain, noise(50000, e.inode));
  }
  // A fetched range that does not fit is not half there.
  fill(100 << 10);
  const ObjectId other = fixed_id<ObjectId>(1);
  EXPECT_CODE(Code::kNoSpace, packs_->store_range(other, 0, noise(300000, 1)));
  EXPECT_CODE(Code::kNotFound, packs_->read(FrameRef{other, 10, 5000, {}}, MutableBytes(bytes).first(4959)));
}

}  // namespace
}  // namespace coffer
