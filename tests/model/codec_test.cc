// Every row kind and change sets: round trip, known bytes, and bytes that nobody would have written.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "fs/model/history.h"
#include "fs/model/keys.h"
#include "tests/model/samples.h"

namespace coffer::model {
namespace {

template <typename T>
struct Codec {
  T value;
  std::function<Result<T>(BytesView)> decode;
};

Bytes encode_changes(const ChangeSet& set) {
  Bytes b;
  Writer w(b);
  encode(set, w);
  return b;
}

Result<ChangeSet> decode_changes(BytesView bytes) {
  Reader in(bytes);
  TRY(ChangeSet set, decode_change_set(in));
  if (!in.at_end()) return fail(Code::kCorrupt, "trailing bytes");
  return set;
}

// Calls f(name, bytes, function that decodes and encodes again) for every structure.
void for_each_codec(
    const std::function<void(const std::string&, const Bytes&, const std::function<Result<Bytes>(BytesView)>&)>& f) {
  auto rows = [&](const std::string& name, const auto& value, auto decode) {
    f(name, encode(value), [decode](BytesView b) -> Result<Bytes> {
      TRY(auto again, decode(b));
      return encode(again);
    });
  };
  rows("file", sample_file(), decode_inode);
  rows("large file", sample_large_file(), decode_inode);
  rows("directory", sample_directory(), decode_inode);
  rows("symlink", sample_symlink(), decode_inode);
  rows("device", sample_device(), decode_inode);
  rows("entry", Entry{"na\xff me", 0x1234567890abcdef, FileType::kFifo}, decode_entry);
  rows("extents", sample_extents(), decode_extents);
  rows("xattrs", sample_xattrs(), decode_xattrs);
  rows("tombstone", sample_tombstone(), decode_tombstone);
  rows("displaced", sample_displaced(), decode_displaced);
  Displaced moved;
  moved.moved_to = 77;
  rows("moved", moved, decode_displaced);
  Bitmap bitmap;
  bitmap.words[0] = 5;
  bitmap.words[15] = 1ull << 63;
  rows("bitmap", bitmap, decode_bitmap);
  rows("history", sample_history(), decode_history);
  f("number", encode_number(300), [](BytesView b) -> Result<Bytes> {
    TRY(uint64_t n, decode_number(b));
    return encode_number(n);
  });
  auto changes = [](BytesView b) -> Result<Bytes> {
    TRY(ChangeSet set, decode_changes(b));
    return encode_changes(set);
  };
  f("changes", encode_changes(sample_changes()), changes);
  ChangeSet moves;
  moves.moves = sample_moves();
  f("moves", encode_changes(moves), changes);
}

TEST(Codec, ValuesComeBack) {
  for (const Inode& i :
       {sample_file(), sample_large_file(), sample_directory(), sample_symlink(), sample_device(), Inode{}})
    EXPECT_EQ(*decode_inode(encode(i)), i);
  Entry entry{std::string(kNameMax, '\x80'), 5, FileType::kSocket};
  EXPECT_EQ(*decode_entry(encode(entry)), entry);
  EXPECT_EQ(*decode_extents(encode(sample_extents())), sample_extents());
  EXPECT_EQ(*decode_extents(encode(std::vector<Extent>{})), std::vector<Extent>{});
  EXPECT_EQ(*decode_xattrs(encode(sample_xattrs())), sample_xattrs());
  EXPECT_EQ(*decode_tombstone(encode(sample_tombstone())), sample_tombstone());
  EXPECT_EQ(*decode_displaced(encode(sample_displaced())), sample_displaced());
  EXPECT_EQ(*decode_history(encode(sample_history())), sample_history());
  HistoryEntry none{RowKey{"Cxx", 1}, std::nullopt};
  EXPECT_EQ(*decode_history(encode(none)), none);
  EXPECT_EQ(decode_history(encode(none))->key.clear, 1u);
  EXPECT_EQ(*decode_changes(encode_changes(sample_changes())), sample_changes());
  EXPECT_EQ(*decode_changes(encode_changes({})), ChangeSet{});
  EXPECT_EQ(encode_changes(sample_changes())[0], 1);  // whoever does not know moves can read it
  ChangeSet moves = sample_changes();
  moves.moves = sample_moves();
  EXPECT_EQ(*decode_changes(encode_changes(moves)), moves);
  EXPECT_EQ(encode_changes(moves)[0], 2);
}

TEST(Codec, TimesAtTheirLimits) {
  for (int64_t m : {INT64_MIN, int64_t{-1}, int64_t{0}, INT64_MAX})
    for (int64_t c : {INT64_MIN, int64_t{0}, INT64_MAX}) {
      Inode i = sample_file();
      i.mtime = {m};
      i.ctime = i.atime = {c};
      EXPECT_EQ(*decode_inode(encode(i)), i);
      ChangeSet set = sample_changes();
      set.inodes[0].mtime = WallTime{m};
      set.inodes[0].btime = WallTime{c};
      EXPECT_EQ(*decode_changes(encode_changes(set)), set);
    }
}

// What a small file takes, since there are many.
TEST(Codec, SmallFilesHaveSmallInodes) {
  EXPECT_LE(encode(sample_file()).size(), 150u);
  EXPECT_LE(encode(sample_directory()).size(), 60u);
}

// The layout is a promise: these bytes were written by earlier builds. A change here needs a new layout version.
TEST(Codec, KnownBytes) {
  const std::map<std::string, std::string> known = {
#include "tests/model/known_bytes.inc"
  };
  for_each_codec([&](const std::string& name, const Bytes& bytes, const auto& again) {
    auto it = known.find(name);
    ASSERT_NE(it, known.end()) << "{\"" << name << "\", \"" << hex(bytes) << "\"},";
    EXPECT_EQ(hex(bytes), it->second) << name;
    Result<Bytes> back = again(*unhex(it->second));
    ASSERT_TRUE(back) << name;
    EXPECT_EQ(hex(*back), it->second) << name;
  });
}

TEST(Codec, EveryTruncationAndEveryTrailingByteIsRefused) {
  for_each_codec([](const std::string& name, const Bytes& bytes, const auto& again) {
    for (size_t n = 0; n < bytes.size(); ++n) {
      Bytes cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));  // its own allocation, for ASan
      Result<Bytes> r = again(cut);
      // A value of history is whatever is left.
      if (name == "history" && n >= bytes.size() - 3) continue;
      EXPECT_FALSE(r) << name << " cut to " << n;
    }
    if (name == "history") return;
    Bytes longer = bytes;
    longer.push_back(0);
    EXPECT_FALSE(again(longer)) << name;
  });
}

TEST(Codec, LaterLayoutsAreTooNew) {
  for_each_codec([](const std::string& name, const Bytes& bytes, const auto& again) {
    Bytes newer = bytes;
    newer[0] = name == "changes" || name == "moves" ? 3 : 2;
    Result<Bytes> r = again(newer);
    ASSERT_FALSE(r) << name;
    EXPECT_EQ(r.error().code(), Code::kTooNew) << name;
    newer[0] = 0;
    EXPECT_EQ(again(newer).error().code(), Code::kCorrupt) << name;
  });
}

// Flips, overwritten, inserted and removed bytes: an error, or a value that can be written and read again.
TEST(Codec, DamagedBytesNeverCrash) {
  std::mt19937_64 random(1);
  for_each_codec([&](const std::string& name, const Bytes& bytes, const auto& again) {
    for (int round = 0; round < 20000; ++round) {
      Bytes b = bytes;
      for (uint64_t k = 1 + random() % 4; k > 0; --k) {
        size_t at = random() % b.size();
        switch (random() % 4) {
          case 0:
            b[at] ^= static_cast<uint8_t>(1u << random() % 8);
            break;
          case 1:
            b[at] = static_cast<uint8_t>(random() % 2 ? 0xff : random());
            break;
          case 2:
            b.insert(b.begin() + static_cast<ptrdiff_t>(at), static_cast<uint8_t>(random()));
            break;
          default:
            if (b.size() > 1) b.erase(b.begin() + static_cast<ptrdiff_t>(at));
        }
      }
      Result<Bytes> r = again(Bytes(b));
      if (!r) continue;
      Result<Bytes> twice = again(*r);
      ASSERT_TRUE(twice) << name << " " << hex(b);
      ASSERT_EQ(*twice, *r) << name << " " << hex(b);
    }
  });
}

// --- what decoding refuses

template <typename F>
void expect_refused_file(F change) {
  Inode i = sample_file();
  change(i);
  EXPECT_FALSE(decode_inode(encode(i)));
}

TEST(Codec, InodesOutOfRangeAreRefused) {
  expect_refused_file([](Inode& i) { i.mode = 010000; });
  expect_refused_file([](Inode& i) { i.size = 1ull << 63; });
  expect_refused_file([](Inode& i) { i.size = 1233; });  // the extent ends behind it
  expect_refused_file([](Inode& i) { i.only->offset = 1; });
  expect_refused_file([](Inode& i) { i.only->length = 0; });
  expect_refused_file([](Inode& i) { i.only->skip = 1; });  // beyond the frame
  expect_refused_file([](Inode& i) { i.only->frame.length = 0; });
  expect_refused_file([](Inode& i) { i.only->frame_length = kFrameMax + 1; });
  expect_refused_file([](Inode& i) { i.chunks = {{0, 1}}; });  // beside the extent in the inode
  expect_refused_file([](Inode& i) { i.type = static_cast<FileType>(9); });
  expect_refused_file([](Inode& i) { i.rdev = 5; });
  Inode large = sample_large_file();
  large.chunks = {{0, 3}, {3, 1}};  // should be one
  EXPECT_FALSE(decode_inode(encode(large)));
  large.chunks = {{0, kSizeMax}};
  EXPECT_FALSE(decode_inode(encode(large)));
  Inode dir = sample_directory();
  dir.next_cookie = 1;
  EXPECT_FALSE(decode_inode(encode(dir)));
  Inode link = sample_symlink();
  link.target = std::string("a\0b", 3);
  EXPECT_FALSE(decode_inode(encode(link)));
  link.target = std::string(kTargetMax + 1, 'x');
  EXPECT_FALSE(decode_inode(encode(link)));
}

TEST(Codec, NamesThatNoDirectoryHoldsAreRefused) {
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("a/b"),
                                  std::string("a\0b", 3), std::string(256, 'x')})
    EXPECT_FALSE(decode_entry(encode(Entry{name, 5, FileType::kRegular})));
  EXPECT_FALSE(decode_entry(encode(Entry{"a", 0, FileType::kRegular})));
}

TEST(Codec, ExtentsOfTwoChunksOrOutOfOrderAreRefused) {
  std::vector<Extent> two{sample_extent(kChunk - 10, 20, 1)};
  EXPECT_FALSE(decode_extents(encode(two)));
  two = {sample_extent(0, 20, 1), sample_extent(10, 20, 2)};  // overlap: the gap wraps around
  EXPECT_FALSE(decode_extents(encode(two)));
}

template <typename F>
void expect_refused_changes(F change) {
  ChangeSet set = sample_changes();
  set.moves = sample_moves();
  change(set);
  EXPECT_FALSE(is_well_formed(set));
  EXPECT_FALSE(decode_changes(encode_changes(set)));
}

TEST(Codec, ChangesOutOfFormAreRefused) {
  EXPECT_TRUE(is_well_formed(sample_changes()));
  expect_refused_changes([](ChangeSet& s) { s.moves[0].ino = 0; });
  expect_refused_changes([](ChangeSet& s) { std::swap(s.moves[0], s.moves[1]); });
  expect_refused_changes([](ChangeSet& s) { s.moves[1].to.offset -= 1; });  // two for one range
  expect_refused_changes([](ChangeSet& s) { s.moves[2].to.skip = 1; });
  expect_refused_changes([](ChangeSet& s) {
    s.moves[0].pack = s.moves[0].to.frame.pack;
    s.moves[0].offset = s.moves[0].to.frame.offset;  // to where it is
  });
  expect_refused_changes([](ChangeSet& s) { std::swap(s.inodes[0], s.inodes[1]); });
  expect_refused_changes([](ChangeSet& s) { s.inodes[1].ino = s.inodes[0].ino; });
  expect_refused_changes([](ChangeSet& s) { s.inodes[0].ino = 0; });
  expect_refused_changes([](ChangeSet& s) { s.inodes[0].uid.reset(); });
  expect_refused_changes([](ChangeSet& s) { s.inodes[0].content.reset(); });
  expect_refused_changes([](ChangeSet& s) { s.inodes[0].target = "x"; });
  expect_refused_changes([](ChangeSet& s) { s.inodes[0].origin = s.inodes[0].ino; });
  expect_refused_changes([](ChangeSet& s) { s.inodes[0].content->pieces[1].offset -= 1; });
  expect_refused_changes(
      [](ChangeSet& s) { std::swap(s.inodes[0].content->pieces[0], s.inodes[0].content->pieces[1]); });
  expect_refused_changes([](ChangeSet& s) { s.inodes[0].content->size = 100; });  // pieces beyond the end
  expect_refused_changes([](ChangeSet& s) { s.inodes[0].content->size = 1ull << 63; });
  expect_refused_changes([](ChangeSet& s) { s.inodes[0].content->pieces[0].extent->skip = 5; });
  expect_refused_changes([](ChangeSet& s) { s.inodes[0].xattrs[0].value.reset(); });
  expect_refused_changes([](ChangeSet& s) { s.inodes[1].target = ""; });
  expect_refused_changes([](ChangeSet& s) { s.inodes[2].btime = WallTime{1}; });
  expect_refused_changes([](ChangeSet& s) { s.inodes[2].type = FileType::kDirectory; });
  expect_refused_changes([](ChangeSet& s) { s.inodes[2].mode = 07777 + 1; });
  expect_refused_changes([](ChangeSet& s) { s.inodes[2].xattrs[0].name = ""; });
  expect_refused_changes([](ChangeSet& s) { s.entries[0].name = ".."; });
  expect_refused_changes([](ChangeSet& s) { s.entries[0].after = kRootIno; });
  expect_refused_changes([](ChangeSet& s) { s.entries[0].after = 0; });
  expect_refused_changes([](ChangeSet& s) { s.entries[0].dir = 0; });
  expect_refused_changes([](ChangeSet& s) { s.entries[1].after = s.entries[1].before; });
}

TEST(Codec, ACountAloneTakesNoMemory) {
  Bytes b;
  Writer w(b);
  w.u8(1);
  w.varint(0);
  w.varint(1ull << 60);
  EXPECT_FALSE(decode_changes(b));
  Bytes x{1};
  Writer(x).varint(1ull << 62);
  EXPECT_FALSE(decode_extents(x));
  EXPECT_FALSE(decode_xattrs(x));
}

// --- keys
TEST(Keys, SortByTheirNumbers) {
  EXPECT_LT(entry_key(1, 255).bytes, entry_key(1, 256).bytes);
  EXPECT_LT(entry_key(1, 1ull << 40).bytes, entry_key(2, 3).bytes);
  EXPECT_TRUE(entry_key(7, 3).bytes.starts_with(entry_prefix(7)));
  EXPECT_TRUE(link_key(7, 3, 4).bytes.starts_with(link_prefix(7)));
  EXPECT_TRUE(history_key(7, 3).bytes.starts_with(history_prefix(7)));
  EXPECT_TRUE(displaced_key(7, 3).bytes.starts_with(displaced_prefix(7)));
}

TEST(Keys, HideNamesAndSizes) {
  EXPECT_EQ(name_key(5, "secret").clear, 9u);
  EXPECT_EQ(chunk_key(5, 6).clear, 1u);
  EXPECT_EQ(block_key(5, 6).clear, 1u);
  EXPECT_EQ(xattr_key(5).clear, 1u);
  EXPECT_EQ(displaced_chunk_key(5, 6, 7).clear, 1u);
  EXPECT_EQ(diverted_key(5, 6, "secret").clear, 9u);
  for (const RowKey& k : {inode_key(1), entry_key(1, 2), link_key(1, 2, 3), tombstone_key(1), displaced_key(1, 2),
                          alias_key(1), history_key(1, 2)})
    EXPECT_TRUE(k.all_clear());
}

TEST(Keys, AreTakenApart) {
  EXPECT_EQ(parse_entry_key(entry_key(5, 6).bytes)->cookie, 6u);
  EXPECT_EQ(parse_link_key(link_key(4, 5, 6).bytes)->dir, 5u);
  EXPECT_EQ(parse_chunk_key(chunk_key(4, 5).bytes)->chunk, 5u);
  EXPECT_EQ(parse_displaced_key(displaced_key(4, 5).bytes)->version, 5u);
  EXPECT_EQ(*parse_first(RowKind::kInode, inode_key(9).bytes), 9u);
  EXPECT_FALSE(parse_entry_key(inode_key(5).bytes));
  EXPECT_FALSE(parse_entry_key("E"));
  EXPECT_FALSE(parse_link_key(entry_key(5, 6).bytes));
  EXPECT_FALSE(parse_first(RowKind::kInode, "I12"));
  EXPECT_FALSE(kind_of(""));
  EXPECT_FALSE(kind_of("zz"));
}

TEST(Keys, TellWhatHistoryKeeps) {
  for (const RowKey& k :
       {inode_key(1), entry_key(1, 2), chunk_key(1, 2), block_key(1, 2), xattr_key(1), tombstone_key(1),
        displaced_key(1, 2), displaced_chunk_key(1, 2, 3), alias_key(1), diverted_key(1, 2, "a")})
    EXPECT_TRUE(is_tracked(k));
  for (const RowKey& k : {name_key(1, "a"), link_key(1, 2, 3), history_key(1, 2), RowKey{"S of others", 11}, RowKey{}})
    EXPECT_FALSE(is_tracked(k));
}

}  // namespace
}  // namespace coffer::model
