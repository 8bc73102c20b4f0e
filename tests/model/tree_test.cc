// What single system calls do, and the errors that they give.
#include <gtest/gtest.h>

#include "tests/model/machine.h"

namespace coffer::model {
namespace {

class Tree : public ::testing::Test {
 protected:
  Tree() { make_root(rows, 0755, 0, 0, {1}); }
  template <typename T>
  static Code code(const Result<T>& r) {
    return r ? Code::kInternal : r.error().code();
  }
  Ino file(Ino dir, const std::string& name, FileType type = FileType::kRegular) {
    NewInode what;
    what.type = type;
    what.mode = 0644;
    what.target = "t";
    return must(make(rows, dir, name, what, ++ino, ++version, {++now})).ino;
  }
  Ino dir(Ino parent, const std::string& name) { return file(parent, name, FileType::kDirectory); }
  Inode get(Ino i) { return must(get_inode(rows, i)); }
  void TearDown() override {
    for (const std::string& f : must(find_faults(rows))) ADD_FAILURE() << f;
  }
  static Extent extent(uint64_t offset, uint32_t length, uint8_t n = 1) {
    Extent e;
    e.offset = offset;
    e.length = e.frame_length = length;
    e.frame.pack.bytes[0] = n;
    e.frame.length = length + 40;
    e.frame.hash.bytes[0] = n;
    return e;
  }
  Inode put(Ino i, const std::vector<Extent>& pieces) {
    return must(put_extents(rows, i, pieces, 0, ++version, {++now}, false));
  }

  MapRows rows;
  Ino ino = 100;
  Version version = 1000;
  int64_t now = 10;
  static constexpr WallTime kThen{12345};
};

TEST_F(Tree, MakeSetsEverything) {
  NewInode what;
  what.mode = 0640;
  what.uid = 5;
  what.gid = 6;
  Node n = must(make(rows, kRootIno, "f", what, 50, 7, kThen));
  EXPECT_EQ(n.ino, 50u);
  EXPECT_EQ(n.inode, get(50));
  EXPECT_EQ(n.inode.nlink, 1u);
  EXPECT_EQ(n.inode.version, 7u);
  EXPECT_EQ(n.inode.parent, kRootIno);
  for (WallTime t : {n.inode.atime, n.inode.mtime, n.inode.ctime, n.inode.btime}) EXPECT_EQ(t, kThen);
  EXPECT_EQ(get(kRootIno).mtime, kThen);
  EXPECT_EQ(get(kRootIno).ctime, kThen);
  EXPECT_EQ(must(lookup(rows, kRootIno, "f")).ino, 50u);
}

TEST_F(Tree, MakeRefuses) {
  Ino f = file(kRootIno, "f");
  Ino d = dir(kRootIno, "d");
  must(rmdir(rows, kRootIno, "d", {++now}));
  auto try_make = [&](Ino parent, const std::string& name, FileType type = FileType::kRegular,
                      std::string target = "t") {
    NewInode what;
    what.type = type;
    what.target = std::move(target);
    return code(make(rows, parent, name, what, 99, 1, kThen));
  };
  EXPECT_EQ(try_make(kRootIno, "f"), Code::kExists);
  EXPECT_EQ(try_make(f, "x"), Code::kNotDirectory);
  EXPECT_EQ(try_make(d, "x"), Code::kStale);
  EXPECT_EQ(try_make(12345, "x"), Code::kStale);
  EXPECT_EQ(try_make(kRootIno, std::string(256, 'x')), Code::kNameTooLong);
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("a\0", 2)})
    EXPECT_EQ(try_make(kRootIno, name), Code::kInvalid);
  EXPECT_EQ(try_make(kRootIno, "l", FileType::kSymlink, ""), Code::kInvalid);
  EXPECT_EQ(try_make(kRootIno, "l", FileType::kSymlink, std::string(4096, 'x')), Code::kNameTooLong);
  must(erase_inode(rows, d, false));
}

TEST_F(Tree, NamesAreBytes) {
  std::string name;
  for (int c = 1; c < 256; ++c)
    if (c != '/') name.push_back(static_cast<char>(c));
  Ino a = file(kRootIno, name);
  Ino b = file(kRootIno, std::string(255, '\xff'));
  EXPECT_EQ(must(lookup(rows, kRootIno, name)).ino, a);
  EXPECT_EQ(must(lookup(rows, kRootIno, std::string(255, '\xff'))).ino, b);
}

TEST_F(Tree, SetGroupIdDirectoriesHandDownTheirGroup) {
  Ino d = dir(kRootIno, "d");
  SetAttributes what;
  what.mode = 02755;
  what.gid = 42;
  must(set_attributes(rows, d, what, kThen));
  Ino f = file(d, "f");
  Ino sub = dir(d, "sub");
  EXPECT_EQ(get(f).gid, 42u);
  EXPECT_EQ(get(f).mode, 0644u);
  EXPECT_EQ(get(sub).gid, 42u);
  EXPECT_EQ(get(sub).mode, 02644u);
}

TEST_F(Tree, LookupRefuses) {
  Ino f = file(kRootIno, "f");
  EXPECT_EQ(code(lookup(rows, kRootIno, "x")), Code::kNotFound);
  EXPECT_EQ(code(lookup(rows, f, "x")), Code::kNotDirectory);
  EXPECT_EQ(code(lookup(rows, 555, "x")), Code::kStale);
}

TEST_F(Tree, LinksCount) {
  Ino f = file(kRootIno, "f");
  Ino d = dir(kRootIno, "d");
  EXPECT_EQ(must(link(rows, f, d, "g", kThen)).inode.nlink, 2u);
  EXPECT_EQ(get(f).ctime, kThen);
  EXPECT_EQ(code(link(rows, f, d, "g", kThen)), Code::kExists);
  EXPECT_EQ(code(link(rows, d, kRootIno, "x", kThen)), Code::kNotPermitted);
  EXPECT_EQ(code(link(rows, f, f, "x", kThen)), Code::kNotDirectory);
  EXPECT_EQ(must(names_of(rows, f)).size(), 2u);
  Unlinked u = must(unlink(rows, kRootIno, "f", kThen));
  EXPECT_FALSE(u.last);
  ASSERT_EQ(must(names_of(rows, f)).size(), 1u);
  EXPECT_EQ(must(names_of(rows, f))[0].name, "g");
  u = must(unlink(rows, d, "g", kThen));
  EXPECT_TRUE(u.last);
  EXPECT_EQ(u.ino, f);
  EXPECT_EQ(get(f).nlink, 0u);
  EXPECT_EQ(code(link(rows, f, d, "h", kThen)), Code::kStale);
  EXPECT_TRUE(must(names_of(rows, f)).empty());
  must(erase_inode(rows, f, false));
  EXPECT_EQ(code(get_inode(rows, f)), Code::kStale);
}

TEST_F(Tree, LinksHaveALimit) {
  Ino f = file(kRootIno, "f");
  Inode i = get(f);
  i.nlink = kLinkMax;
  put_inode(rows, f, i);
  EXPECT_EQ(code(link(rows, f, kRootIno, "g", kThen)), Code::kTooManyLinks);
  i.nlink = 1;
  put_inode(rows, f, i);
}

TEST_F(Tree, UnlinkAndRmdirRefuse) {
  dir(kRootIno, "d");
  file(must(lookup(rows, kRootIno, "d")).ino, "inside");
  file(kRootIno, "f");
  EXPECT_EQ(code(unlink(rows, kRootIno, "d", kThen)), Code::kIsDirectory);
  EXPECT_EQ(code(unlink(rows, kRootIno, "x", kThen)), Code::kNotFound);
  EXPECT_EQ(code(rmdir(rows, kRootIno, "f", kThen)), Code::kNotDirectory);
  EXPECT_EQ(code(rmdir(rows, kRootIno, "d", kThen)), Code::kNotEmpty);
  EXPECT_EQ(code(rmdir(rows, kRootIno, "x", kThen)), Code::kNotFound);
}

TEST_F(Tree, SubdirectoriesCountAsLinks) {
  Ino d = dir(kRootIno, "d");
  dir(d, "a");
  dir(d, "b");
  EXPECT_EQ(get(d).nlink, 4u);
  Unlinked u = must(rmdir(rows, d, "a", kThen));
  EXPECT_TRUE(u.last);
  EXPECT_EQ(get(u.ino).nlink, 0u);
  EXPECT_EQ(get(d).nlink, 3u);
  must(erase_inode(rows, u.ino, false));
  must(rename(rows, d, "b", kRootIno, "b", RenameMode::kReplace, kThen));
  EXPECT_EQ(get(d).nlink, 2u);
  EXPECT_EQ(get(kRootIno).nlink, 4u);
}

TEST_F(Tree, RenameReplaces) {
  Ino f = file(kRootIno, "f");
  Ino g = file(kRootIno, "g");
  auto u = must(rename(rows, kRootIno, "f", kRootIno, "g", RenameMode::kReplace, kThen));
  ASSERT_TRUE(u);
  EXPECT_EQ(u->ino, g);
  EXPECT_TRUE(u->last);
  EXPECT_EQ(must(lookup(rows, kRootIno, "g")).ino, f);
  EXPECT_EQ(code(lookup(rows, kRootIno, "f")), Code::kNotFound);
  EXPECT_EQ(get(f).ctime, kThen);
  must(erase_inode(rows, g, false));
}

TEST_F(Tree, RenameOntoAnOtherLinkOfTheSameFileDoesNothing) {
  Ino f = file(kRootIno, "f");
  must(link(rows, f, kRootIno, "g", kThen));
  auto before = rows.rows;
  EXPECT_FALSE(must(rename(rows, kRootIno, "f", kRootIno, "g", RenameMode::kReplace, {999})));
  EXPECT_FALSE(must(rename(rows, kRootIno, "f", kRootIno, "f", RenameMode::kReplace, {999})));
  EXPECT_EQ(rows.rows, before);
}

TEST_F(Tree, RenameRefuses) {
  Ino d = dir(kRootIno, "d");
  Ino sub = dir(d, "sub");
  file(kRootIno, "f");
  dir(kRootIno, "full");
  file(must(lookup(rows, kRootIno, "full")).ino, "x");
  auto ren = [&](Ino from, const char* name, Ino to, const char* new_name, RenameMode mode = RenameMode::kReplace) {
    return code(rename(rows, from, name, to, new_name, mode, kThen));
  };
  EXPECT_EQ(ren(kRootIno, "d", sub, "x"), Code::kInvalid);
  EXPECT_EQ(ren(kRootIno, "d", d, "x"), Code::kInvalid);
  EXPECT_EQ(ren(kRootIno, "d", d, "sub", RenameMode::kExchange), Code::kInvalid);
  EXPECT_EQ(ren(d, "sub", kRootIno, "d", RenameMode::kExchange), Code::kInvalid);
  EXPECT_EQ(ren(kRootIno, "d", kRootIno, "f"), Code::kNotDirectory);
  EXPECT_EQ(ren(kRootIno, "f", kRootIno, "d"), Code::kIsDirectory);
  EXPECT_EQ(ren(kRootIno, "d", kRootIno, "full"), Code::kNotEmpty);
  EXPECT_EQ(ren(kRootIno, "f", kRootIno, "d", RenameMode::kNoReplace), Code::kExists);
  EXPECT_EQ(ren(kRootIno, "f", kRootIno, "x", RenameMode::kExchange), Code::kNotFound);
  EXPECT_EQ(ren(kRootIno, "x", kRootIno, "y"), Code::kNotFound);
  EXPECT_EQ(ren(kRootIno, "f", kRootIno, ".."), Code::kInvalid);
  EXPECT_EQ(ren(kRootIno, "f", kRootIno, std::string(256, 'x').c_str()), Code::kNameTooLong);
}

TEST_F(Tree, ExchangeOfAFileAndADirectory) {
  Ino d1 = dir(kRootIno, "d1");
  Ino d2 = dir(kRootIno, "d2");
  Ino f = file(d1, "f");
  must(link(rows, f, kRootIno, "other", kThen));
  Ino sub = dir(d2, "sub");
  EXPECT_FALSE(must(rename(rows, d1, "f", d2, "sub", RenameMode::kExchange, kThen)));
  EXPECT_EQ(must(lookup(rows, d1, "f")).ino, sub);
  EXPECT_EQ(must(lookup(rows, d2, "sub")).ino, f);
  EXPECT_EQ(get(d1).nlink, 3u);
  EXPECT_EQ(get(d2).nlink, 2u);
}

TEST_F(Tree, RenameInADirectoryKeepsItsPlaceInTheListing) {
  file(kRootIno, "a");
  file(kRootIno, "b");
  auto before = must(list(rows, kRootIno, 0, 10));
  must(rename(rows, kRootIno, "a", kRootIno, "z", RenameMode::kReplace, kThen));
  auto after = must(list(rows, kRootIno, 0, 10));
  ASSERT_EQ(after.size(), 2u);
  EXPECT_EQ(after[0].cookie, before[0].cookie);
  EXPECT_EQ(after[0].entry.name, "z");
}

TEST_F(Tree, ListingGoesOnWhileNamesComeAndGo) {
  for (int i = 0; i < 100; ++i) file(kRootIno, "f" + std::to_string(i));
  uint64_t at = 0;
  std::set<std::string> seen;
  for (int round = 0;; ++round) {
    auto part = must(list(rows, kRootIno, at, 7));
    if (part.empty()) break;
    for (auto& e : part) EXPECT_TRUE(seen.insert(e.entry.name).second);
    at = part.back().cookie;
    EXPECT_GE(part.front().cookie, kFirstCookie);
    Unlinked u = must(unlink(rows, kRootIno, part.front().entry.name, kThen));
    must(erase_inode(rows, u.ino, false));
    if (round < 20) file(kRootIno, "new" + std::to_string(round));
  }
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(seen.contains("f" + std::to_string(i)));
}

TEST_F(Tree, AttributesAreSetOneByOne) {
  Ino f = file(kRootIno, "f");
  SetAttributes what;
  what.mode = 0177777;
  Inode i = must(set_attributes(rows, f, what, kThen));
  EXPECT_EQ(i.mode, 07777u);
  EXPECT_EQ(i.ctime, kThen);
  SetAttributes times;
  times.atime = WallTime{1};
  times.mtime = WallTime{2};
  times.ctime = WallTime{3};
  i = must(set_attributes(rows, f, times, kThen));
  EXPECT_EQ(i.atime, WallTime{1});
  EXPECT_EQ(i.mtime, WallTime{2});
  EXPECT_EQ(i.ctime, WallTime{3});
  EXPECT_EQ(i, get(f));
}

TEST_F(Tree, ExtendedAttributes) {
  Ino f = file(kRootIno, "f");
  const Bytes v{1, 2, 3};
  EXPECT_EQ(code(get_xattr(rows, f, "user.a")), Code::kNoData);
  EXPECT_EQ(code(set_xattr(rows, f, "user.a", v, XattrMode::kReplace, kThen)), Code::kNoData);
  must(set_xattr(rows, f, "user.b", v, XattrMode::kCreate, kThen));
  must(set_xattr(rows, f, "user.a", v, XattrMode::kAny, kThen));
  EXPECT_EQ(code(set_xattr(rows, f, "user.a", v, XattrMode::kCreate, kThen)), Code::kExists);
  EXPECT_EQ(must(get_xattr(rows, f, "user.a")), v);
  EXPECT_EQ(must(list_xattrs(rows, f)).size(), 2u);
  EXPECT_EQ(must(list_xattrs(rows, f))[0].name, "user.a");
  EXPECT_EQ(get(f).ctime, kThen);
  EXPECT_EQ(code(remove_xattr(rows, f, "user.c", kThen)), Code::kNoData);
  must(remove_xattr(rows, f, "user.a", kThen));
  must(remove_xattr(rows, f, "user.b", kThen));
  EXPECT_FALSE(get(f).has_xattrs);
  EXPECT_EQ(code(set_xattr(rows, f, "", v, XattrMode::kAny, kThen)), Code::kInvalid);
  EXPECT_EQ(code(set_xattr(rows, f, "user.big", Bytes(kXattrValueMax + 1), XattrMode::kAny, kThen)), Code::kTooLarge);
  for (int i = 0; i < 3; ++i)
    must(set_xattr(rows, f, "user." + std::to_string(i), Bytes(kXattrValueMax), XattrMode::kAny, kThen));
  EXPECT_EQ(code(set_xattr(rows, f, "user.3", Bytes(kXattrValueMax), XattrMode::kAny, kThen)), Code::kTooLarge);
}

TEST_F(Tree, ATombstoneKeepsWhatWasThere) {
  Ino f = file(kRootIno, "f");
  put(f, {extent(0, 10), extent(5 * kChunk, 10, 2)});
  must(set_xattr(rows, f, "user.a", Bytes{1}, XattrMode::kAny, kThen));
  must(unlink(rows, kRootIno, "f", kThen));
  must(erase_inode(rows, f, true));
  EXPECT_EQ(code(get_inode(rows, f)), Code::kStale);
  auto t = must(get_tombstone(rows, f));
  ASSERT_TRUE(t);
  EXPECT_EQ(t->xattrs.size(), 1u);
  auto extents = must(open_removed(rows, f));
  EXPECT_EQ(must(extents->read(0, kSizeMax)).size(), 2u);
  must(drop_tombstone(rows, f));
  EXPECT_EQ(rows.rows.size(), 1u);  // the root
}

TEST_F(Tree, ErasingWhatHasLinksAgainDoesNothing) {
  Ino f = file(kRootIno, "f");
  must(erase_inode(rows, f, true));
  EXPECT_EQ(get(f).nlink, 1u);
}

// --- contents

TEST_F(Tree, ContentsAreOfRegularFiles) {
  Ino d = dir(kRootIno, "d");
  Ino l = file(kRootIno, "l", FileType::kSymlink);
  for (Ino i : {d, l}) {
    EXPECT_EQ(code(extents(rows, i, 0, 10)), Code::kInvalid);
    EXPECT_EQ(code(truncate(rows, i, 0, 1, kThen)), Code::kInvalid);
    EXPECT_EQ(code(punch_hole(rows, i, 0, 1, 1, kThen)), Code::kInvalid);
    EXPECT_EQ(code(put_extents(rows, i, {}, 0, 1, kThen, false)), Code::kInvalid);
    EXPECT_EQ(code(seek_data(rows, i, 0)), Code::kInvalid);
  }
}

TEST_F(Tree, ASmallFileIsInItsInode) {
  Ino f = file(kRootIno, "f");
  Inode i = put(f, {extent(0, 1000)});
  EXPECT_TRUE(i.only);
  EXPECT_EQ(i.size, 1000u);
  EXPECT_EQ(i.version, version);
  i = put(f, {extent(1000, 500, 2)});  // a second extent
  EXPECT_FALSE(i.only);
  EXPECT_EQ(i.chunks, (std::vector<model::Run>{{0, 1}}));
  i = must(truncate(rows, f, 700, ++version, kThen));  // one again
  EXPECT_TRUE(i.only);
  EXPECT_EQ(i.only->length, 700u);
  i = put(f, {extent(0, 800, 3)});
  EXPECT_TRUE(i.only);
  i = must(truncate(rows, f, 0, ++version, kThen));
  EXPECT_FALSE(i.only);
  i = put(f, {extent(10, 10)});  // one, but not at the start
  EXPECT_FALSE(i.only);
  i = put(f, {extent(0, 40, 4)});
  EXPECT_TRUE(i.only);
}

TEST_F(Tree, OverwritingTheMiddleSplits) {
  Ino f = file(kRootIno, "f");
  put(f, {extent(0, 10000)});
  put(f, {extent(2000, 1000, 2)});
  auto list = must(extents(rows, f, 0, kSizeMax));
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].length, 2000u);
  EXPECT_EQ(list[2].offset, 3000u);
  EXPECT_EQ(list[2].skip, 3000u);
  EXPECT_EQ(list[2].length, 7000u);
  // Clipped to what is asked for.
  list = must(extents(rows, f, 1000, 1500));
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].offset, 1000u);
  EXPECT_EQ(list[0].skip, 1000u);
  EXPECT_EQ(list[1].end(), 2500u);
}

TEST_F(Tree, AnExtentAcrossAChunkBorderIsReadAsOne) {
  Ino f = file(kRootIno, "f");
  Inode i = put(f, {extent(kChunk - 100, 1000)});
  EXPECT_EQ(i.chunks, (std::vector<model::Run>{{0, 2}}));
  auto list = must(extents(rows, f, 0, kSizeMax));
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0], extent(kChunk - 100, 1000));
}

TEST_F(Tree, PutRefusesWhatIsNoList) {
  Ino f = file(kRootIno, "f");
  auto refuse = [&](const std::vector<Extent>& pieces) {
    EXPECT_EQ(code(put_extents(rows, f, pieces, 0, 1, kThen, false)), Code::kInvalid);
  };
  refuse({extent(0, 10), extent(5, 10)});
  refuse({extent(10, 10), extent(0, 10)});
  refuse({extent(0, 0)});
  refuse({extent(kSizeMax, 10)});
  Extent beyond = extent(0, 10);
  beyond.skip = 1;
  refuse({beyond});
  EXPECT_EQ(code(put_extents(rows, f, {}, 1ull << 63, 1, kThen, false)), Code::kTooLarge);
}

TEST_F(Tree, TimesAndSizeOfWrites) {
  Ino f = file(kRootIno, "f");
  std::vector<Extent> pieces{extent(0, 10)};
  Inode i = must(put_extents(rows, f, pieces, 100, ++version, {777}, false));
  EXPECT_EQ(i.size, 100u);
  EXPECT_EQ(i.mtime, WallTime{777});
  i = must(put_extents(rows, f, pieces, 50, ++version, {888}, true));
  EXPECT_EQ(i.size, 100u);  // never less
  EXPECT_EQ(i.mtime, WallTime{777});
  i = must(put_extents(rows, f, {}, 200, ++version, {888}, false));  // growing only
  EXPECT_EQ(i.size, 200u);
}

TEST_F(Tree, WhatATruncateCutOffReadsAsZeros) {
  Ino f = file(kRootIno, "f");
  put(f, {extent(0, 1000)});
  must(truncate(rows, f, 400, ++version, kThen));
  Inode i = must(truncate(rows, f, 1000, ++version, kThen));
  EXPECT_EQ(i.size, 1000u);
  auto list = must(extents(rows, f, 0, kSizeMax));
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].length, 400u);
  Version v = i.version;
  EXPECT_EQ(must(truncate(rows, f, 1000, ++version, {31})).version, v);  // no other contents
  EXPECT_EQ(get(f).mtime, WallTime{31});
  EXPECT_EQ(code(truncate(rows, f, 1ull << 63, 1, kThen)), Code::kTooLarge);
}

TEST_F(Tree, Holes) {
  Ino f = file(kRootIno, "f");
  put(f, {extent(0, 10000)});
  Inode i = must(punch_hole(rows, f, 1000, 2000, ++version, kThen));
  EXPECT_EQ(i.version, version);
  EXPECT_EQ(i.size, 10000u);
  EXPECT_EQ(must(extents(rows, f, 0, kSizeMax)).size(), 2u);
  Version v = i.version;
  EXPECT_EQ(must(punch_hole(rows, f, 1000, 2000, ++version, kThen)).version, v);  // there was one
  EXPECT_EQ(must(punch_hole(rows, f, 20000, 2000, ++version, kThen)).version, v);
  EXPECT_EQ(must(seek_data(rows, f, 0)), 0u);
  EXPECT_EQ(must(seek_data(rows, f, 1500)), 3000u);
  EXPECT_EQ(must(seek_hole(rows, f, 0)), 1000u);
  EXPECT_EQ(must(seek_hole(rows, f, 1500)), 1500u);
  EXPECT_EQ(must(seek_hole(rows, f, 5000)), 10000u);
  EXPECT_EQ(code(seek_hole(rows, f, 10000)), Code::kNoData);
  EXPECT_EQ(code(seek_data(rows, f, 10000)), Code::kNoData);
  must(truncate(rows, f, 20000, ++version, kThen));
  EXPECT_EQ(must(seek_hole(rows, f, 5000)), 10000u);
  EXPECT_EQ(code(seek_data(rows, f, 10000)), Code::kNoData);
  must(punch_hole(rows, f, 0, UINT64_MAX, ++version, kThen));
  EXPECT_TRUE(must(extents(rows, f, 0, kSizeMax)).empty());
}

// --- what a check finds

TEST_F(Tree, FaultsAreFound) {
  Ino d = dir(kRootIno, "d");
  Ino f = file(d, "f");
  must(link(rows, f, kRootIno, "g", kThen));
  put(f, {extent(0, 10), extent(5 * kChunk, 10, 2)});
  must(set_xattr(rows, f, "user.a", Bytes{1}, XattrMode::kAny, kThen));
  const auto sound = rows.rows;
  EXPECT_TRUE(must(find_faults(rows)).empty());
  // Without any one of its rows, the state is unsound.
  for (auto& [key, value] : sound) {
    rows.rows = sound;
    rows.rows.erase(key);
    EXPECT_FALSE(must(find_faults(rows)).empty()) << key[0];
  }
  auto spoil = [&](Ino i, auto change) {
    rows.rows = sound;
    Inode inode = get(i);
    change(inode);
    put_inode(rows, i, inode);
    EXPECT_FALSE(must(find_faults(rows)).empty());
  };
  spoil(f, [](Inode& i) { i.nlink = 3; });
  spoil(f, [](Inode& i) { i.size = 20; });
  spoil(f, [](Inode& i) { i.parent = kRootIno; });
  spoil(f, [](Inode& i) { i.has_xattrs = false; });
  spoil(f, [](Inode& i) { i.chunks.push_back({9, 1}); });
  spoil(d, [](Inode& i) { i.nlink = 3; });
  spoil(d, [](Inode& i) { i.next_cookie = kFirstCookie; });
  spoil(d, [&](Inode& i) { i.parent = d; });
  rows.rows = sound;
  rows.put(inode_key(f), Bytes{1, 2});
  EXPECT_FALSE(must(find_faults(rows)).empty());
  rows.rows = sound;
}

TEST_F(Tree, HashesDifferWhenTreesDo) {
  Ino d = dir(kRootIno, "d");
  Ino f = file(d, "f");
  put(f, {extent(0, 10)});
  const auto before = rows.rows;
  const Hash hash = must(tree_hash(rows));
  auto differs = [&](const char* what) {
    EXPECT_NE(must(tree_hash(rows)), hash) << what;
    rows.rows = before;
  };
  SetAttributes mode;
  mode.mode = 01;
  must(set_attributes(rows, f, mode, get(f).ctime));
  differs("mode");
  put(f, {extent(0, 10, 2)});
  differs("contents");
  must(rename(rows, d, "f", d, "g", RenameMode::kReplace, get(d).mtime));
  differs("name");
  must(set_xattr(rows, f, "user.a", {}, XattrMode::kAny, get(f).ctime));
  differs("extended attribute");
  // But not by cookies.
  Inode i = get(d);
  i.next_cookie += 5;
  put_inode(rows, d, i);
  EXPECT_EQ(must(tree_hash(rows)), hash);
}

}  // namespace
}  // namespace coffer::model
