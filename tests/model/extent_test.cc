// Extents in rows: huge sparse files, and what they cost.
#include <gtest/gtest.h>

#include <random>

#include "fs/model/extent_map.h"
#include "fs/model/remains.h"
#include "tests/model/machine.h"

namespace coffer::model {
namespace {

Extent extent(uint64_t offset, uint32_t length, uint32_t n) {
  Extent e;
  e.offset = offset;
  e.length = e.frame_length = length;
  e.frame.offset = n * 100000;
  e.frame.length = length + 40;
  e.frame.hash.bytes[0] = static_cast<uint8_t>(n);
  e.frame.hash.bytes[1] = static_cast<uint8_t>(n >> 8);
  return e;
}

// Counts what is read.
class CountingRows : public MapRows {
 public:
  Result<std::optional<Bytes>> get(const RowKey& key) const override {
    ++reads;
    return MapRows::get(key);
  }
  mutable uint64_t reads = 0;
};

class Sparse : public ::testing::Test {
 protected:
  Sparse() {
    make_root(rows, 0755, 0, 0, {1});
    must(make(rows, kRootIno, "f", {}, kFile, 1, {1}));
  }
  static constexpr Ino kFile = 50;
  CountingRows rows;
  Version version = 10;
  Inode put(std::vector<Extent> pieces) { return must(put_extents(rows, kFile, pieces, 0, ++version, {2}, false)); }
  void TearDown() override {
    for (const std::string& f : must(find_faults(rows))) ADD_FAILURE() << f;
  }
};

TEST(ExtentList, NothingLiesInAnEmptyRange) {
  Extents list{extent(0, 100, 1)};
  EXPECT_TRUE(clip(list, 50, 50).empty());
  EXPECT_TRUE(clip(list, 50, 40).empty());
}

TEST_F(Sparse, HolesOfManyGiBCostNothing) {
  put({extent(0, 100, 1), extent(100ull << 30, 100, 2), extent(1ull << 60, 100, 3)});
  rows.reads = 0;
  EXPECT_EQ(must(seek_data(rows, kFile, 200)), 100ull << 30);
  EXPECT_EQ(must(seek_hole(rows, kFile, 0)), 100u);
  EXPECT_EQ(must(extents(rows, kFile, 0, kSizeMax)).size(), 3u);
  must(punch_hole(rows, kFile, 50, 1ull << 50, ++version, {3}));
  must(truncate(rows, kFile, 1ull << 59, ++version, {3}));
  EXPECT_LT(rows.reads, 30u);
  EXPECT_EQ(must(extents(rows, kFile, 0, kSizeMax)).size(), 1u);
  EXPECT_TRUE(must(get_inode(rows, kFile)).only);
}

TEST_F(Sparse, ManyHolesMoveTheRunsToBlocks) {
  std::vector<Extent> pieces;
  for (uint32_t i = 0; i < 3000; ++i) pieces.push_back(extent(i * 3ull * kChunk + 5, 10, i));
  put(pieces);
  Inode i = must(get_inode(rows, kFile));
  EXPECT_TRUE(i.blocks);
  EXPECT_EQ(i.chunks, (std::vector<model::Run>{{0, 9}}));
  EXPECT_LT(encode(i).size(), 150u);
  EXPECT_EQ(must(extents(rows, kFile, 0, kSizeMax)), pieces);
  rows.reads = 0;
  EXPECT_EQ(must(seek_data(rows, kFile, 2000 * 3 * kChunk + 100)), 2001 * 3 * kChunk + 5);
  EXPECT_LT(rows.reads, 5u);
  // Back to nothing.
  must(punch_hole(rows, kFile, 0, 1500 * 3 * kChunk, ++version, {3}));
  EXPECT_EQ(must(extents(rows, kFile, 0, kSizeMax)).size(), 1500u);
  for (const std::string& f : must(find_faults(rows))) ADD_FAILURE() << f;
  must(truncate(rows, kFile, 0, ++version, {3}));
  i = must(get_inode(rows, kFile));
  EXPECT_FALSE(i.blocks);
  EXPECT_TRUE(i.chunks.empty());
  for (auto& [key, value] : rows.rows) EXPECT_TRUE(key[0] != 'C' && key[0] != 'B');
}

TEST_F(Sparse, WritingOneExtentReadsLittle) {
  std::vector<Extent> pieces;
  for (uint32_t i = 0; i < 5000; ++i) pieces.push_back(extent(i * 65536ull, 65536, i));
  put(pieces);
  rows.reads = 0;
  put({extent(2500 * 65536ull, 4096, 9999)});
  EXPECT_LE(rows.reads, 3u);
}

TEST_F(Sparse, ManyPiecesInOneChunk) {
  std::vector<Extent> pieces;
  for (uint32_t i = 0; i < 20000; ++i) pieces.push_back(extent(i * 50ull, 20, i));
  put(pieces);
  EXPECT_EQ(must(extents(rows, kFile, 0, kSizeMax)).size(), 20000u);
  must(punch_hole(rows, kFile, 15, 20000 * 50, ++version, {3}));
  EXPECT_EQ(must(extents(rows, kFile, 0, kSizeMax)).size(), 1u);
}

// Versions that are no more, rebuilt from what was kept, against copies of them.
TEST(Versions, AreRebuilt) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    MapRows rows;
    constexpr Ino kFile = 5;
    Inode inode;
    inode.version = 1;
    uint32_t n = 0;
    std::map<Version, Extents> known;
    std::map<Version, uint64_t> sizes;
    const uint64_t range = random() % 2 ? 60 * kChunk : 200 * kBlock * kChunk;
    for (Version v = 2; v < 25; ++v) {
      known[inode.version] = must(FileExtents(rows, kFile, inode).read(0, kSizeMax));
      sizes[inode.version] = inode.size;
      VersionKeeper keeper(rows, kFile, inode.version, inode.size);
      ExtentEdit edit(rows, kFile, inode, &keeper);
      if (random() % 4 == 0) {
        uint64_t size = random() % range;
        must(edit.cut(size, kSizeMax));
        inode.size = size;
      } else {
        std::vector<Extent> pieces;
        uint64_t at = random() % 3 == 0 ? 0 : random() % range;
        for (uint64_t k = 1 + random() % (random() % 5 == 0 ? 200 : 4); k > 0; --k) {
          pieces.push_back(extent(at, 1 + static_cast<uint32_t>(random() % 65536), ++n));
          at = pieces.back().end() + random() % (3 * kChunk);
        }
        must(edit.assign(patches(pieces)));
        inode.size = std::max(inode.size, pieces.back().end());
      }
      must(edit.finish());
      must(keeper.finish(v));
      inode.version = v;
    }
    for (auto& [v, list] : known) {
      auto version = must(open_version(rows, kFile, inode, inode.version, v));
      ASSERT_TRUE(version);
      EXPECT_EQ(must(version->read(0, kSizeMax)), list) << "version " << v;
      EXPECT_EQ(version->size(), sizes[v]);
    }
    EXPECT_FALSE(must(open_version(rows, kFile, inode, inode.version, 999)));
    // The oldest comes back, and all of the others stay readable.
    const Version oldest = 1 + random() % 20;
    {
      auto source = must(open_version(rows, kFile, inode, inode.version, oldest));
      VersionKeeper keeper(rows, kFile, inode.version, inode.size);
      ExtentEdit edit(rows, kFile, inode, &keeper);
      must(edit.become(*source));
      must(edit.finish());
      must(keeper.finish(100));
      known[inode.version] = {};
      inode.version = 100;
      EXPECT_EQ(must(FileExtents(rows, kFile, inode).read(0, kSizeMax)), known[oldest]);
    }
    for (auto& [v, list] : known) {
      if (v == 24) continue;
      auto version = must(open_version(rows, kFile, inode, inode.version, v));
      ASSERT_TRUE(version);
      EXPECT_EQ(must(version->read(0, kSizeMax)), list) << "version " << v;
    }
    for (auto& [v, list] : known) must(drop_displaced(rows, kFile, v));
    must(erase_extents(rows, kFile, inode));
    EXPECT_TRUE(rows.rows.empty());
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(Versions, ACircleIsCorrupt) {
  MapRows rows;
  Displaced d;
  d.newer = 2;
  rows.put(displaced_key(5, 1), encode(d));
  d.newer = 1;
  rows.put(displaced_key(5, 2), encode(d));
  Inode inode;
  inode.version = 3;
  EXPECT_EQ(open_version(rows, 5, inode, 3, 1).error().code(), Code::kCorrupt);
}

TEST(ExtentList, ContinuesOnlyInTheSameFrame) {
  Extent whole = extent(0, 100, 1);
  Extent left = part_of(whole, 0, 40), right = part_of(whole, 40, 100);
  EXPECT_TRUE(continues(left, right));
  Extents list;
  append(list, left);
  append(list, right);
  EXPECT_EQ(list, Extents{whole});
  Extent other = extent(40, 60, 2);
  EXPECT_FALSE(continues(left, other));
}

}  // namespace
}  // namespace coffer::model
