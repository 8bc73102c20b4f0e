// The rules of apply(), one test each: two or three machines change the same thing without having seen each other. `a` is
// the earlier in the order of records, `b` the later; what they end with is compared everywhere, also with one who only
// applied the records.
#include <gtest/gtest.h>

#include "crypto/hash.h"
#include "tests/model/three_machines.h"

namespace coffer::model {
namespace {

using Names = std::vector<std::string>;

using Rules = ThreeMachines;

// --- what is sealed anew

// The frames that a file consists of.
std::vector<Hash> frames_of(const Machine& m, const std::string& path) {
  std::vector<Hash> out;
  for (const Extent& e : must(extents(m.rows(), m.at(path), 0, kSizeMax))) out.push_back(e.frame.hash);
  return out;
}

class SealedAnew : public Rules {
 protected:
  void SetUp() override {
    given([](Machine& m) {
      m.make("f");
      m.write("f", "hello");
      m.write("f", "world", 5);
      m.write("f", "far", 3 * kChunk + 10);
    });
    before_ = frames_of(a, "f");
  }
  static void expect_none_of(const std::vector<Hash>& old, const std::vector<Hash>& now) {
    for (const Hash& h : now) EXPECT_EQ(std::find(old.begin(), old.end(), h), old.end());
  }
  std::vector<Hash> before_;
};

TEST_F(SealedAnew, NothingButThePlaceChanges) {
  const Inode was = b.inode("f");
  a.seal_anew("f");
  auto record = a.publish();
  ASSERT_TRUE(record);
  EXPECT_TRUE(record->changes.inodes.empty());
  EXPECT_EQ(record->changes.moves.size(), 3u);
  records_.push_back(*record);
  sync();
  Inode is = b.inode("f");
  EXPECT_EQ(frames_of(a, "f"), frames_of(b, "f"));
  expect_none_of(before_, frames_of(b, "f"));
  is.only = was.only;
  EXPECT_EQ(is, was);
  EXPECT_EQ(b.read("f"), "hello|world|-|far");
  EXPECT_TRUE(b.conflicts().empty());
}

TEST_F(SealedAnew, ByTwoAtOnce) {
  a.seal_anew("f");
  b.seal_anew("f");
  const auto first = frames_of(a, "f");
  sync();
  EXPECT_EQ(a.names(), Names{"f"});
  EXPECT_EQ(frames_of(b, "f"), first);
}

TEST_F(SealedAnew, WhileItIsChangedElsewhere) {
  a.write("f", "HELLO");
  b.seal_anew("f");
  sync();
  EXPECT_EQ(a.names(), Names{"f"});
  EXPECT_EQ(a.read("f"), "HELLO|world|-|far");
  expect_none_of(before_, frames_of(a, "f"));
}

TEST_F(SealedAnew, BeforeItIsChangedElsewhere) {
  a.seal_anew("f");
  b.write("f", "WORLD", 5);
  sync();
  EXPECT_EQ(a.names(), Names{"f"});
  EXPECT_EQ(a.read("f"), "hello|WORLD|-|far");
  expect_none_of(before_, frames_of(a, "f"));
}

// What others changed without having seen it is a change of the same version, and what it is compared with is, too.
TEST_F(SealedAnew, BetweenTwoThatAreInConflict) {
  a.seal_anew("f");
  b.write("f", "bbbbb");
  c.write("f", "ccccc");
  sync();
  ASSERT_EQ(a.names().size(), 2u);
  EXPECT_EQ(a.read("f"), "bbbbb|world|-|far");
  EXPECT_EQ(a.read(copy_in()), "ccccc|world|-|far");
  expect_none_of(before_, frames_of(a, "f"));
  expect_none_of(before_, frames_of(a, copy_in()));
}

// The version that was replaced is kept in part, for those who have not seen its end.
TEST_F(SealedAnew, AFormerVersionIsLedThereAsWell) {
  a.write("f", "aaaaa");
  publish(a);
  b.seal_anew("f");
  publish(b);
  c.write("f", "ccccc", 5);
  sync();
  EXPECT_EQ(a.read(copy_in()), "hello|ccccc|-|far");
  expect_none_of(before_, frames_of(a, copy_in()));
}

TEST_F(SealedAnew, OfWhatWasRemovedElsewhere) {
  a.remove("f");
  b.seal_anew("f");
  sync();
  EXPECT_EQ(a.names(), Names{});
}

// The author keeps for late changes what others keep: publish() compares.
TEST_F(SealedAnew, AFormerVersionOfItsAuthor) {
  a.write("f", "aaaaa");
  publish(a);
  a.seal_anew("f");
  publish(a);
  c.write("f", "ccccc", 5);
  sync();
  EXPECT_EQ(a.read(copy_in()), "hello|ccccc|-|far");
}

// What is open here and removed is led to where others see its last version.
TEST_F(SealedAnew, ByTwoAtOnceAndRemovedWhileOpen) {
  a.seal_anew("f");
  publish(a);
  b.seal_anew("f");
  const Ino ino = b.remove_open("f");
  publish(b);
  b.receive(records_);  // the one of a comes first
  EXPECT_EQ(b.names(), Names{});
  b.close(ino);
  b.make("g");
  sync();
  EXPECT_EQ(a.names(), Names{"g"});
}

TEST_F(SealedAnew, AndChangedBeforeItIsPublished) {
  b.seal_anew("f");
  b.write("f", "bbbbb");
  a.chmod("f", 0600);
  sync();
  EXPECT_EQ(a.names(), Names{"f"});
  EXPECT_EQ(a.read("f"), "bbbbb|world|-|far");
  expect_none_of(before_, frames_of(a, "f"));
}

// Only what shows the frame where it was seen.
TEST_F(SealedAnew, ACopyElsewhereKeepsWhatItShows) {
  a.make("g");
  sync();
  b.seal_anew("f");
  must(a.run(
      [&](Rows& rows) { return copy_range(rows, a.at("f"), 0, a.at("g"), 0, 5, a.fresh_version(), a.now(), false); }));
  sync();
  EXPECT_EQ(a.read("g"), "hello");
  EXPECT_EQ(frames_of(a, "g").front(), before_.front());
}

// --- attributes

TEST_F(Rules, AttributesMergeFieldByField) {
  given([](Machine& m) { m.make("f"); });
  a.chmod("f", 0600);
  must(b.run([&](Rows& rows) {
    SetAttributes what;
    what.uid = 77;
    return set_attributes(rows, b.at("f"), what, b.now());
  }));
  sync();
  EXPECT_EQ(a.inode("f").mode, 0600u);
  EXPECT_EQ(a.inode("f").uid, 77u);
}

TEST_F(Rules, OfOneAttributeTheLaterWins) {
  given([](Machine& m) { m.make("f"); });
  a.chmod("f", 0600);
  b.chmod("f", 0640);
  sync();
  EXPECT_EQ(a.inode("f").mode, 0640u);
}

TEST_F(Rules, ExtendedAttributesMergeByName) {
  given([](Machine& m) {
    m.make("f");
    m.set_xattr("f", "user.both", "old");
    m.set_xattr("f", "user.gone", "old");
  });
  a.set_xattr("f", "user.a", "1");
  a.set_xattr("f", "user.both", "of a");
  b.set_xattr("f", "user.both", "of b");
  must(b.run([&](Rows& rows) { return remove_xattr(rows, b.at("f"), "user.gone", b.now()); }));
  sync();
  auto xattrs = must(list_xattrs(a.rows(), a.at("f")));
  ASSERT_EQ(xattrs.size(), 2u);
  EXPECT_EQ(xattrs[0].name, "user.a");
  EXPECT_EQ(as_string(xattrs[1].value), "of b");
}

TEST_F(Rules, AttributesOfTheRootMerge) {
  given();
  a.chmod("", 0700);
  b.make("f");
  sync();
  EXPECT_EQ(a.inode("").mode, 0700u);
  EXPECT_EQ(a.names(), Names{"f"});
}

TEST_F(Rules, AttributesOfDirectoriesMergeWithWhatIsMadeInThem) {
  given([](Machine& m) { m.mkdir("d"); });
  a.chmod("d", 0700);
  b.make("d/f");
  sync();
  EXPECT_EQ(a.inode("d").mode, 0700u);
  EXPECT_EQ(a.names("d"), Names{"f"});
}

// --- contents

TEST_F(Rules, ContentsChangedOnBothSidesTheLaterBecomesACopy) {
  given([](Machine& m) {
    m.make("f.txt");
    m.write("f.txt", "old");
  });
  a.write("f.txt", "aaa");
  b.write("f.txt", "bbb");
  sync();
  EXPECT_EQ(a.read("f.txt"), "aaa");
  EXPECT_EQ(copy_in(), "f (conflict, host2, 2023-11-14).txt");
  EXPECT_EQ(a.read(copy_in()), "bbb");
  EXPECT_EQ(a.inode(copy_in()).origin, a.at("f.txt"));
}

TEST_F(Rules, ACopyHasWhatItsAuthorSaw) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "0123456789");
  });
  a.write("f", "AA", 0);
  b.write("f", "BB", 8);
  sync();
  EXPECT_EQ(a.read("f"), "AA|23456789");
  EXPECT_EQ(a.read(copy_in()), "01234567|BB");
}

TEST_F(Rules, ACopyOfALargeFileHasWhatItsAuthorSaw) {
  given([](Machine& m) {
    m.make("f");
    for (uint64_t i = 0; i < 40; ++i) m.write("f", "c" + std::to_string(i), i * kChunk);
  });
  for (uint64_t i = 0; i < 40; i += 2) a.write("f", "a" + std::to_string(i), i * kChunk);
  b.write("f", "b", 39 * kChunk);
  b.truncate("f", 39 * kChunk + 1);
  sync();
  const std::string copy = a.read(copy_in());
  EXPECT_TRUE(copy.starts_with("c0|-|c1|-|c2|-")) << copy;
  EXPECT_TRUE(copy.ends_with("c38|-|b")) << copy;
  EXPECT_TRUE(a.read("f").starts_with("a0|-|c1|-|a2|-"));
  EXPECT_TRUE(a.read("f").ends_with("a38|-|c39"));
}

TEST_F(Rules, EqualContentsDoNotConflict) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.truncate("f", 0);
  b.truncate("f", 0);
  sync();
  EXPECT_EQ(a.names(), Names{"f"});
  // And what comes after is a change of that.
  b.write("f", "new");
  sync();
  EXPECT_EQ(a.read("f"), "new");
  EXPECT_EQ(a.names(), Names{"f"});
}

TEST_F(Rules, AChangeOfWhatTurnedOutEqualDoesNotConflict) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.truncate("f", 0);
  b.truncate("f", 0);
  publish(a);
  publish(b);
  b.write("f", "new");  // has not seen a's
  sync();
  EXPECT_EQ(a.names(), Names{"f"});
  EXPECT_EQ(a.read("f"), "new");
}

TEST_F(Rules, ACopyHasTheAttributesOfBoth) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
    m.set_xattr("f", "user.k", "v");
  });
  a.write("f", "aaa");
  b.write("f", "bbb");
  b.chmod("f", 0600);
  sync();
  EXPECT_EQ(a.inode(copy_in()).mode, 0600u);
  EXPECT_EQ(must(list_xattrs(a.rows(), a.at(copy_in()))).size(), 1u);
  EXPECT_EQ(a.inode("f").mode, 0600u);
}

TEST_F(Rules, TimesGoWithTheContents) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.write("f", "aaa");
  const WallTime of_a = a.inode("f").mtime;
  b.write("f", "bbb");
  const WallTime of_b = b.inode("f").mtime;
  sync();
  EXPECT_EQ(a.inode("f").mtime, of_a);
  EXPECT_EQ(a.inode(copy_in()).mtime, of_b);
}

TEST_F(Rules, AChangeFollowsItsFileToAnotherName) {
  given([](Machine& m) {
    m.mkdir("d");
    m.make("f");
  });
  a.rename("f", "d/g");
  b.write("f", "bbb");
  sync();
  EXPECT_EQ(a.names(), Names{"d"});
  EXPECT_EQ(a.read("d/g"), "bbb");
}

TEST_F(Rules, AChangeOfAVersionThatBecameACopyGoesToTheCopy) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.write("f", "aaa");
  publish(a);
  b.write("f", "b1");
  publish(b);
  b.write("f", "b2", 2);  // still without having seen a's
  publish(b);
  b.write("f", "b3", 4);
  sync();
  EXPECT_EQ(a.read("f"), "aaa");
  EXPECT_EQ(a.read(copy_in()), "b1|b2|b3");
}

TEST_F(Rules, ALaterRecordNamesAVersionThatAnEvenLaterOneDisplaced) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "v0");
  });
  a.write("f", "a1");
  publish(a);
  a.write("f", "a2");
  publish(a);
  b.write("f", "b1", 5);
  publish(b);
  // c saw b's, not a's: what b wrote is a copy in the end, and c changed that; b went on as well.
  c.receive({records_.back()});
  b.write("f", "b2", 5);
  c.write("f", "c1", 10);
  sync();
  EXPECT_EQ(a.read("f"), "a2");
  Names copies = a.names();
  ASSERT_EQ(copies.size(), 3u) << a.describe();
  std::set<std::string> contents{a.read(copies[0]), a.read(copies[1]), a.read(copies[2])};
  EXPECT_EQ(contents, (std::set<std::string>{"a2", "v0|-|b2", "v0|-|b1|-|c1"}));
}

TEST_F(Rules, TheBaseOfManyVersionsAgoIsRebuilt) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "0123456789");
  });
  for (int i = 0; i < 10; ++i) {
    a.write("f", std::string(1, static_cast<char>('a' + i)), static_cast<uint64_t>(i));
    publish(a);
  }
  a.truncate("f", 3);
  b.write("f", "B", 9);
  sync();
  EXPECT_EQ(a.read("f"), "a|b|c");
  EXPECT_EQ(a.read(copy_in()), "012345678|B");
}

TEST_F(Rules, AHugeSparseFileIsCopiedByItsExtents) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "start");
    m.write("f", "end", 1ull << 50);
  });
  a.write("f", "AAA", 1ull << 40);
  b.truncate("f", 1ull << 60);
  sync();
  EXPECT_EQ(a.read("f"), "start|-|AAA|-|end");
  EXPECT_EQ(a.read(copy_in()), "start|-|end|-");
  EXPECT_EQ(a.inode(copy_in()).size, 1ull << 60);
}

TEST_F(Rules, ACopyCanConflictInTurn) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.write("f", "a1");
  b.write("f", "b1");
  sync();
  const std::string copy = copy_in();
  a.write(copy, "a2");
  b.write(copy, "b2");
  sync();
  EXPECT_EQ(a.read("f"), "a1|d");
  EXPECT_EQ(a.read(copy), "a2|d");
  EXPECT_EQ(a.names().size(), 3u);
  for (const std::string& n : a.names()) EXPECT_EQ(a.inode(n).origin, n == "f" ? 0 : a.at("f"));
}

TEST_F(Rules, ACopyThatALateRecordUndoesStillGetsItsChange) {
  given([](Machine& m) {
    m.mkdir("d");
    m.make("f");
    m.write("f", "old");
  });
  // c changes first, and nobody hears of it for long.
  c.write("f", "ccc");
  std::optional<Record> late = c.publish();
  ASSERT_TRUE(late);
  late->stamp = 2;  // as it is: nothing but the start is before it
  a.make("d/x");    // later stamps for the others
  publish(a);
  b.receive(records_);
  a.write("f", "aaa");
  b.write("f", "bbb");
  publish(a);
  publish(b);
  a.receive(records_);
  b.receive(records_);
  const std::string copy = copy_in();
  b.write(copy, "BBB");  // what was b's, in the copy
  publish(b);
  records_.push_back(*late);
  sync();
  // f is c's now; what a and b wrote are copies, and b's change went with b's version.
  EXPECT_EQ(a.read("f"), "ccc");
  std::set<std::string> contents;
  for (const std::string& n : a.names())
    if (n != "f" && n != "d") contents.insert(a.read(n));
  EXPECT_EQ(contents, (std::set<std::string>{"aaa", "BBB"}));
}

// --- making names

TEST_F(Rules, TwoFilesOfOneNameAreBothKept) {
  given();
  a.make("f.c");
  a.write("f.c", "aaa");
  b.make("f.c");
  b.write("f.c", "bbb");
  sync();
  EXPECT_EQ(a.read("f.c"), "aaa");
  EXPECT_EQ(copy_in(), "f (conflict, host2, 2023-11-14).c");
  EXPECT_EQ(a.read(copy_in()), "bbb");
}

TEST_F(Rules, TwoEmptyFilesOfOneNameAreOne) {
  given();
  a.make("f");
  b.make("f");
  publish(a);
  publish(b);
  b.write("f", "bbb");  // into its own
  sync();
  EXPECT_EQ(a.names(), Names{"f"});
  EXPECT_EQ(a.read("f"), "bbb");
}

TEST_F(Rules, TwoDirectoriesOfOneNameBecomeOne) {
  given();
  a.mkdir("d");
  a.make("d/of a");
  b.mkdir("d");
  b.make("d/of b");
  sync();
  EXPECT_EQ(a.names(), Names{"d"});
  EXPECT_EQ(a.names("d"), (Names{"of a", "of b"}));
}

TEST_F(Rules, TwoTreesOfOneNameBecomeOne) {
  given();
  for (Machine* m : {&a, &b}) {
    m->mkdir("p");
    m->mkdir("p/q");
    m->mkdir("p/q/r");
    m->make("p/q/r/file" + std::to_string(m->id()));
    m->make("p/q/same");
    m->write("p/q/same", "of " + std::to_string(m->id()));
  }
  sync();
  EXPECT_EQ(a.names("p/q/r"), (Names{"file1", "file2"}));
  EXPECT_EQ(a.names("p/q"), (Names{"r", "same", "same (conflict, host2, 2023-11-14)"}));
}

TEST_F(Rules, ChangesInADirectoryThatBecameAnotherGoThere) {
  given();
  a.mkdir("d");
  publish(a);
  b.mkdir("d");
  b.mkdir("d/sub");
  publish(b);
  b.make("d/sub/f");  // b still knows only its own
  b.make("d/g");
  publish(b);
  b.chmod("d", 0700);
  sync();
  EXPECT_EQ(a.names("d"), (Names{"g", "sub"}));
  EXPECT_EQ(a.names("d/sub"), Names{"f"});
  EXPECT_EQ(a.inode("d").mode, 0700u);
}

TEST_F(Rules, ADirectoryThatBecameAnotherIsMovedAndRemovedAsThat) {
  given();
  a.mkdir("d");
  publish(a);
  b.mkdir("d");
  publish(b);
  b.rename("d", "e");
  sync();
  EXPECT_EQ(a.names(), Names{"e"});

  a.mkdir("x");
  publish(a);
  b.mkdir("x");
  publish(b);
  b.remove("x");
  sync();
  EXPECT_EQ(a.names(), Names{"e"});
}

TEST_F(Rules, AFileAndADirectoryOfOneNameAreBothKept) {
  given();
  a.make("n");
  a.write("n", "aaa");
  b.mkdir("n");
  b.make("n/inside");
  sync();
  EXPECT_EQ(a.read("n"), "aaa");
  EXPECT_EQ(a.names(copy_in()), Names{"inside"});
}

TEST_F(Rules, ADirectoryAndAFileOfOneNameAreBothKept) {
  given();
  a.mkdir("n");
  a.make("n/inside");
  b.make("n");
  b.write("n", "bbb");
  sync();
  EXPECT_EQ(a.names("n"), Names{"inside"});
  EXPECT_EQ(a.read(copy_in()), "bbb");
}

TEST_F(Rules, EqualSymbolicLinksAreOneAndOthersAreNot) {
  given();
  a.symlink("same", "t");
  b.symlink("same", "t");
  a.symlink("other", "t");
  b.symlink("other", "u");
  sync();
  EXPECT_EQ(a.names(), (Names{"other", "other (conflict, host2, 2023-11-14)", "same"}));
  EXPECT_EQ(a.inode("other").target, "t");
  EXPECT_EQ(a.inode(copy_in()).target, "u");
}

TEST_F(Rules, SpecialFilesOfOneKindAreOne) {
  given();
  a.make("fifo", FileType::kFifo);
  b.make("fifo", FileType::kFifo);
  b.make("sock", FileType::kSocket);
  sync();
  EXPECT_EQ(a.names(), (Names{"fifo", "sock"}));
}

TEST_F(Rules, ThreeFilesOfOneNameAreAllKept) {
  given();
  for (Machine* m : all_) {
    m->make("f");
    m->write("f", std::to_string(m->id()));
  }
  sync();
  EXPECT_EQ(a.names(), (Names{"f", "f (conflict, host2, 2023-11-14)", "f (conflict, host3, 2023-11-14)"}));
}

// --- what went to a conflict name is still found by what its author does next

TEST_F(Rules, ADivertedFileIsRenamedByItsAuthor) {
  given();
  a.make("f");
  a.write("f", "aaa");
  publish(a);
  b.make("f");
  b.write("f", "bbb");
  publish(b);
  b.rename("f", "g");
  sync();
  EXPECT_EQ(a.names(), (Names{"f", "g"}));
  EXPECT_EQ(a.read("g"), "bbb");
}

TEST_F(Rules, ADivertedFileIsRemovedByItsAuthor) {
  given();
  a.make("f");
  a.write("f", "aaa");
  publish(a);
  b.make("f");
  b.write("f", "bbb");
  publish(b);
  b.remove("f");
  sync();
  EXPECT_EQ(a.names(), Names{"f"});
  EXPECT_EQ(a.read("f"), "aaa");
}

TEST_F(Rules, ADivertedFileIsReplacedByItsAuthor) {
  given();
  a.make("f");
  a.write("f", "aaa");
  publish(a);
  b.make("f");
  b.write("f", "b0");
  publish(b);
  for (int i = 1; i <= 3; ++i) {  // as editors save
    b.make("tmp");
    b.write("tmp", "b" + std::to_string(i));
    b.rename("tmp", "f");
    publish(b);
  }
  sync();
  EXPECT_EQ(a.read("f"), "aaa");
  EXPECT_EQ(a.names(), (Names{"f", "f (conflict, host2, 2023-11-14)"}));
  EXPECT_EQ(a.read(copy_in()), "b3");
}

TEST_F(Rules, ADivertedFileThatGotItsNameIsNotDivertedAnyMore) {
  given();
  a.make("f");
  a.write("f", "aaa");
  b.make("f");
  b.write("f", "bbb");
  sync();
  const std::string copy = copy_in();
  a.remove("f");
  a.link(copy, "f");  // both names are those of one file now
  sync();
  a.forget_applied();  // and not all may have forgotten
  a.rename("f", "elsewhere");
  publish(a);
  b.remove("f");  // not the other name
  sync();
  EXPECT_EQ(a.names(), (Names{"elsewhere", copy}));
}

TEST_F(Rules, ACopyIsRemovedByTheAuthorOfItsVersion) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.write("f", "aaa");
  publish(a);
  b.write("f", "bbb");
  publish(b);
  b.remove("f");  // he means what he wrote
  sync();
  EXPECT_EQ(a.names(), Names{"f"});
  EXPECT_EQ(a.read("f"), "aaa");
}

TEST_F(Rules, ACopyIsReplacedByTheAuthorOfItsVersion) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.write("f", "aaa");
  publish(a);
  b.write("f", "bbb");
  publish(b);
  b.make("tmp");
  b.write("tmp", "b2");
  b.rename("tmp", "f");
  sync();
  EXPECT_EQ(a.read("f"), "aaa");
  EXPECT_EQ(a.names().size(), 2u);
  EXPECT_EQ(a.read(copy_in()), "b2");
}

// --- moving

TEST_F(Rules, OfTwoMovesOfAFileTheLaterCounts) {
  given([](Machine& m) { m.make("f"); });
  a.rename("f", "of a");
  b.rename("f", "of b");
  sync();
  EXPECT_EQ(a.names(), Names{"of b"});
}

TEST_F(Rules, OfTwoMovesOfADirectoryTheLaterCounts) {
  given([](Machine& m) {
    m.mkdir("d");
    m.make("d/f");
    m.mkdir("x");
    m.mkdir("y");
  });
  a.rename("d", "x/d");
  b.rename("d", "y/e");
  sync();
  EXPECT_TRUE(a.names("x").empty());
  EXPECT_EQ(a.names("y/e"), Names{"f"});
}

TEST_F(Rules, TheSameMoveTwiceIsOne) {
  given([](Machine& m) {
    m.make("f");
    m.mkdir("d");
  });
  for (Machine* m : {&a, &b}) {
    m->rename("f", "g");
    m->rename("d", "e");
  }
  sync();
  EXPECT_EQ(a.names(), (Names{"e", "g"}));
}

TEST_F(Rules, TwoFilesMovedToOneNameAreBothKept) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "fff");
    m.make("g");
    m.write("g", "ggg");
  });
  a.rename("f", "n");
  b.rename("g", "n");
  sync();
  EXPECT_EQ(a.read("n"), "fff");
  EXPECT_EQ(a.read(copy_in()), "ggg");
}

TEST_F(Rules, ADirectoryMovedOntoANewOneKeepsApart) {
  given([](Machine& m) {
    m.mkdir("d");
    m.make("d/f");
  });
  a.mkdir("n");
  a.make("n/g");
  b.rename("d", "n");
  sync();
  EXPECT_EQ(a.names("n"), Names{"g"});
  EXPECT_EQ(a.names(copy_in()), Names{"f"});
}

TEST_F(Rules, AMoveThatWouldMakeACycleDoesNotHappen) {
  given([](Machine& m) {
    m.mkdir("p");
    m.mkdir("q");
    m.make("q/f");
  });
  a.rename("p", "q/p");
  publish(a);
  b.rename("q", "p/q");
  publish(b);
  c.receive(records_);
  ASSERT_EQ(c.conflicts().size(), 1u);  // and it says so
  EXPECT_EQ(c.conflicts()[0].copy, 0u);
  EXPECT_EQ(c.conflicts()[0].original, b.at("p/q"));
  sync();
  EXPECT_EQ(a.names(), Names{"q"});
  EXPECT_EQ(a.names("q"), (Names{"f", "p"}));
}

TEST_F(Rules, ThreeMovesThatWouldMakeACycle) {
  given([](Machine& m) {
    m.mkdir("p");
    m.mkdir("q");
    m.mkdir("r");
  });
  a.rename("p", "q/p");
  b.rename("q", "r/q");
  c.rename("r", "p/r");
  sync();
  EXPECT_EQ(a.names(), Names{"r"});
  EXPECT_EQ(a.names("r/q"), Names{"p"});
}

TEST_F(Rules, AMoveThatCannotBeWhoseOldNameIsTakenGetsAnother) {
  given([](Machine& m) {
    m.mkdir("p");
    m.mkdir("q");
  });
  a.rename("p", "q/p");
  b.rename("q", "p/q");
  b.make("q");  // in place of what it moved
  b.write("q", "bbb");
  sync();
  EXPECT_EQ(a.read("q"), "bbb");
  EXPECT_EQ(a.names(copy_in()), Names{"p"});
}

TEST_F(Rules, AMoveIntoADirectoryThatWasMovedGoesAlong) {
  given([](Machine& m) {
    m.mkdir("d");
    m.make("f");
  });
  a.rename("d", "e");
  b.rename("f", "d/f");
  sync();
  EXPECT_EQ(a.names(), Names{"e"});
  EXPECT_EQ(a.names("e"), Names{"f"});
}

TEST_F(Rules, WhatIsMadeInADirectoryThatWasMovedGoesAlong) {
  given([](Machine& m) { m.mkdir("d"); });
  a.rename("d", "e");
  b.make("d/f");
  sync();
  EXPECT_EQ(a.names("e"), Names{"f"});
}

TEST_F(Rules, AnExchangeAndAChange) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "fff");
    m.mkdir("d");
  });
  a.rename("f", "d", RenameMode::kExchange);
  b.write("f", "FFF");
  b.make("d/x");
  sync();
  EXPECT_EQ(a.read("d"), "FFF");
  EXPECT_EQ(a.names("f"), Names{"x"});
}

TEST_F(Rules, TwoExchangesAreUndoneByNobody) {
  given([](Machine& m) {
    m.make("f");
    m.make("g");
    m.write("f", "fff");
    m.write("g", "ggg");
  });
  a.rename("f", "g", RenameMode::kExchange);
  b.rename("f", "g", RenameMode::kExchange);
  sync();  // both wanted the same
  EXPECT_EQ(a.read("f"), "ggg");
  EXPECT_EQ(a.read("g"), "fff");
}

// --- removing

TEST_F(Rules, AFileRemovedThereAndChangedHereStays) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.write("f", "aaa");
  b.remove("f");
  sync();
  EXPECT_EQ(a.read("f"), "aaa");
}

TEST_F(Rules, AFileRemovedThereAndThenChangedHereComesBack) {
  given([](Machine& m) {
    m.mkdir("d");
    m.make("d/f");
    m.write("d/f", "0123");
    m.set_xattr("d/f", "user.k", "v");
  });
  a.remove("d/f");
  b.write("d/f", "B", 1);
  sync();
  EXPECT_EQ(a.read("d/f"), "0|B|23");
  EXPECT_EQ(must(list_xattrs(a.rows(), a.at("d/f"))).size(), 1u);
}

TEST_F(Rules, WhatComesBackIsWhatItsChangerSaw) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "0123");
  });
  a.write("f", "AA", 0);
  publish(a);
  a.remove("f");
  publish(a);
  for (int i = 0; i < 3; ++i) {  // later stamps
    b.make("other" + std::to_string(i));
    publish(b);
  }
  b.write("f", "B", 3);
  sync();
  EXPECT_EQ(a.names(), (Names{"f", "other0", "other1", "other2"}));
  EXPECT_EQ(a.read("f"), "012|B");
}

TEST_F(Rules, AFileOfSeveralNamesThatWasChangedKeepsThemAll) {
  given([](Machine& m) {
    m.make("f");
    m.link("f", "g");
  });
  a.write("f", "aaa");
  b.remove("f");
  b.remove("g");
  sync();
  EXPECT_EQ(a.names(), (Names{"f", "g"}));
  EXPECT_EQ(a.inode("f").nlink, 2u);
}

TEST_F(Rules, RemovedOnBothSidesIsGone) {
  given([](Machine& m) {
    m.mkdir("d");
    m.make("d/f");
  });
  for (Machine* m : {&a, &b}) {
    m->remove("d/f");
    m->remove("d");
  }
  sync();
  EXPECT_TRUE(a.names().empty());
}

TEST_F(Rules, AttributesDoNotBringAFileBack) {
  given([](Machine& m) {
    m.make("f");
    m.make("g");
  });
  a.remove("f");
  b.chmod("f", 0600);
  a.chmod("g", 0600);
  b.remove("g");
  sync();
  EXPECT_TRUE(a.names().empty());
}

TEST_F(Rules, AttributesOfARemovedFileAreThereWhenItComesBack) {
  given([](Machine& m) { m.make("f"); });
  a.remove("f");
  b.chmod("f", 0600);
  publish(a);
  publish(b);
  c.write("f", "ccc");
  sync();
  EXPECT_EQ(a.read("f"), "ccc");
  EXPECT_EQ(a.inode("f").mode, 0600u);
}

TEST_F(Rules, AMoveIsStrongerThanARemoval) {
  given([](Machine& m) {
    m.make("f");
    m.make("g");
  });
  a.rename("f", "f2");
  b.remove("f");
  a.remove("g");
  b.rename("g", "g2");
  sync();
  EXPECT_EQ(a.names(), (Names{"f2", "g2"}));
}

TEST_F(Rules, AMovedDirectoryIsNotRemoved) {
  given([](Machine& m) {
    m.mkdir("d");
    m.mkdir("e");
  });
  a.rename("d", "d2");
  b.remove("d");
  a.remove("e");
  b.rename("e", "e2");
  sync();
  EXPECT_EQ(a.names(), (Names{"d2", "e2"}));
}

TEST_F(Rules, AReplacedFileThatWasChangedKeepsItsName) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.write("f", "aaa");
  b.make("tmp");
  b.write("tmp", "bbb");
  b.rename("tmp", "f");
  sync();
  EXPECT_EQ(a.read("f"), "aaa");
  EXPECT_EQ(a.read(copy_in()), "bbb");
  EXPECT_EQ(a.names().size(), 2u);
}

TEST_F(Rules, AChangeOfAReplacedFileComesBackBesideIt) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.make("tmp");
  a.write("tmp", "aaa");
  a.rename("tmp", "f");
  b.write("f", "bbb");
  sync();
  EXPECT_EQ(a.read("f"), "aaa");
  EXPECT_EQ(a.read(copy_in()), "bbb");
}

TEST_F(Rules, AFileReplacedOnBothSidesIsBoth) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  for (Machine* m : {&a, &b}) {
    m->make("tmp");
    m->write("tmp", "of " + std::to_string(m->id()));
    m->rename("tmp", "f");
  }
  sync();
  EXPECT_EQ(a.read("f"), "of 1");
  EXPECT_EQ(a.read(copy_in()), "of 2");
  EXPECT_EQ(a.names().size(), 2u);
}

TEST_F(Rules, AFileRemovedHereAndReplacedThereIsReplaced) {
  given([](Machine& m) {
    m.make("f");
    m.make("g");
  });
  a.remove("f");
  b.make("tmp");
  b.write("tmp", "bbb");
  b.rename("tmp", "f");
  a.make("tmp2");
  a.write("tmp2", "aaa");
  a.rename("tmp2", "g");
  b.remove("g");
  sync();
  EXPECT_EQ(a.names(), (Names{"f", "g"}));
  EXPECT_EQ(a.read("f"), "bbb");
  EXPECT_EQ(a.read("g"), "aaa");
}

TEST_F(Rules, ADirectoryRemovedThereAndAddedToHereStays) {
  given([](Machine& m) { m.mkdir("d"); });
  a.make("d/f");
  b.remove("d");
  sync();
  EXPECT_EQ(a.names("d"), Names{"f"});
}

TEST_F(Rules, ADirectoryRemovedThereAndThenAddedToHereComesBack) {
  given([](Machine& m) {
    m.mkdir("d");
    m.chmod("d", 0750);
  });
  a.remove("d");
  b.make("d/f");
  sync();
  EXPECT_EQ(a.names("d"), Names{"f"});
  EXPECT_EQ(a.inode("d").mode, 0750u);
}

TEST_F(Rules, ATreeRemovedThereAndAddedToHereComesBackAsFarAsNeeded) {
  given([](Machine& m) {
    m.mkdir("p");
    m.mkdir("p/q");
    m.mkdir("p/q/r");
    m.mkdir("p/other");
    m.make("p/q/old");
  });
  a.remove("p/q/r");
  a.remove("p/q/old");
  a.remove("p/q");
  a.remove("p/other");
  a.remove("p");
  b.make("p/q/r/new");
  sync();
  EXPECT_EQ(a.names(), Names{"p"});
  EXPECT_EQ(a.names("p"), Names{"q"});
  EXPECT_EQ(a.names("p/q"), Names{"r"});
  EXPECT_EQ(a.names("p/q/r"), Names{"new"});
}

TEST_F(Rules, ATreeAddedToHereAndRemovedThereStaysAsFarAsNeeded) {
  given([](Machine& m) {
    m.mkdir("p");
    m.mkdir("p/q");
    m.mkdir("p/other");
    m.make("p/q/old");
  });
  a.make("p/q/new");
  b.remove("p/q/old");
  b.remove("p/q");
  b.remove("p/other");
  b.remove("p");
  sync();
  EXPECT_EQ(a.names("p"), Names{"q"});
  EXPECT_EQ(a.names("p/q"), Names{"new"});
}

TEST_F(Rules, WhatIsMadeInADirectoryThatWasMadeAnewGoesThere) {
  given([](Machine& m) { m.mkdir("d"); });
  a.remove("d");
  a.mkdir("d");
  a.make("d/of a");
  b.make("d/of b");
  sync();
  EXPECT_EQ(a.names(), Names{"d"});
  EXPECT_EQ(a.names("d"), (Names{"of a", "of b"}));
}

TEST_F(Rules, ADirectoryWhoseNameAFileTookComesBackBesideIt) {
  given([](Machine& m) { m.mkdir("d"); });
  a.remove("d");
  a.make("d");
  a.write("d", "aaa");
  b.make("d/of b");
  sync();
  EXPECT_EQ(a.read("d"), "aaa");
  EXPECT_EQ(a.names(copy_in()), Names{"of b"});
}

TEST_F(Rules, AMoveIntoARemovedDirectoryBringsItBack) {
  given([](Machine& m) {
    m.mkdir("d");
    m.make("f");
    m.mkdir("e");
  });
  a.remove("d");
  b.rename("f", "d/f");
  b.rename("e", "d/e");
  sync();
  EXPECT_EQ(a.names(), Names{"d"});
  EXPECT_EQ(a.names("d"), (Names{"e", "f"}));
}

TEST_F(Rules, AMoveOutOfARemovedTreeIsAMove) {
  given([](Machine& m) {
    m.mkdir("d");
    m.make("d/f");
  });
  a.remove("d/f");
  a.remove("d");
  b.rename("d/f", "f");
  sync();
  EXPECT_EQ(a.names(), Names{"f"});
}

TEST_F(Rules, AChangedFileInARemovedTreeComesBackWithItsDirectories) {
  given([](Machine& m) {
    m.mkdir("p");
    m.mkdir("p/q");
    m.make("p/q/f");
    m.write("p/q/f", "old");
  });
  a.remove("p/q/f");
  a.remove("p/q");
  a.remove("p");
  b.write("p/q/f", "bbb");
  sync();
  EXPECT_EQ(a.read("p/q/f"), "bbb");
}

TEST_F(Rules, ARemovedTreeWithAChangedFileStaysAroundIt) {
  given([](Machine& m) {
    m.mkdir("p");
    m.mkdir("p/q");
    m.make("p/q/f");
    m.write("p/q/f", "old");
    m.make("p/g");
  });
  a.write("p/q/f", "aaa");
  b.remove("p/q/f");
  b.remove("p/q");
  b.remove("p/g");
  b.remove("p");
  sync();
  EXPECT_EQ(a.names("p"), Names{"q"});
  EXPECT_EQ(a.read("p/q/f"), "aaa");
}

TEST_F(Rules, ADirectoryInWhichADirectoryWasReplacedByOneThatIsNotEmpty) {
  given([](Machine& m) {
    m.mkdir("d");
    m.mkdir("e");
    m.make("e/x");
  });
  a.make("d/new");
  b.rename("e", "d");  // over the empty one
  sync();
  EXPECT_EQ(a.names("d"), Names{"new"});
  EXPECT_EQ(a.names(copy_in()), Names{"x"});
}

// --- hard links

TEST_F(Rules, ALinkMadeHereKeepsAFileRemovedThere) {
  given([](Machine& m) {
    m.make("f");
    m.make("g");
  });
  a.link("f", "f2");
  b.remove("f");
  a.remove("g");
  b.link("g", "g2");
  sync();
  EXPECT_EQ(a.names(), (Names{"f2", "g2"}));
  EXPECT_EQ(a.inode("f2").nlink, 1u);
}

TEST_F(Rules, TheLastNameStaysWhenNobodyRemovedTheFile) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "fff");
    m.link("f", "g");
  });
  a.remove("f");
  b.remove("g");
  sync();
  EXPECT_EQ(a.names(), Names{"g"});
  EXPECT_EQ(a.read("g"), "fff");
}

TEST_F(Rules, ContentsOfAFileWithTwoNamesMakeOneCopy) {
  given([](Machine& m) {
    m.make("f");
    m.link("f", "g");
  });
  a.write("f", "aaa");
  b.write("g", "bbb");
  sync();
  EXPECT_EQ(a.read("f"), "aaa");
  EXPECT_EQ(a.read("g"), "aaa");
  EXPECT_EQ(copy_in(), "f (conflict, host2, 2023-11-14)");
  EXPECT_EQ(a.inode(copy_in()).nlink, 1u);
}

TEST_F(Rules, MovesOfTwoNamesOfOneFileAreBothDone) {
  given([](Machine& m) {
    m.make("f");
    m.link("f", "g");
  });
  a.rename("f", "f2");
  b.rename("g", "g2");
  sync();
  EXPECT_EQ(a.names(), (Names{"f2", "g2"}));
}

TEST_F(Rules, OneNameMovedTwiceOfAFileWithTwoKeepsBoth) {
  given([](Machine& m) {
    m.make("f");
    m.link("f", "g");
  });
  a.rename("f", "of a");
  b.rename("f", "of b");
  sync();  // which of its names b would have moved is not known
  EXPECT_EQ(a.names(), (Names{"g", "of a", "of b"}));
  EXPECT_EQ(a.inode("g").nlink, 3u);
}

TEST_F(Rules, TheSameLinkMadeTwiceIsOne) {
  given([](Machine& m) { m.make("f"); });
  a.link("f", "g");
  b.link("f", "g");
  sync();
  EXPECT_EQ(a.inode("f").nlink, 2u);
}

// --- records that come late, and pending changes

TEST_F(Rules, PendingChangesAreTheLaterOnes) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.write("f", "aaa");
  publish(a);
  b.write("f", "bbb");  // not published yet
  b.freeze();
  b.make("g");
  b.receive(records_);
  b.check();
  EXPECT_EQ(b.read("f"), "aaa");
  EXPECT_EQ(b.names().size(), 3u);
  sync();
  EXPECT_EQ(a.read(copy_in()), "bbb");
}

TEST_F(Rules, PendingChangesOfARemovedFileBringItBackEverywhere) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "0123");
  });
  a.remove("f");
  publish(a);
  b.write("f", "B", 1);
  b.receive(records_);
  EXPECT_EQ(b.read("f"), "0|B|23");
  sync();
  EXPECT_EQ(c.read("f"), "0|B|23");
}

// A device whose log was ended does not keep others from forgetting what they removed. What it brings back, it brings back
// for them as well.
TEST_F(Rules, WhatComesBackComesBackForThoseWhoForgotTheRemoval) {
  given([](Machine& m) {
    m.mkdir("d");
    m.make("d/f");
    m.write("d/f", "0123");
    m.set_xattr("d/f", "user.gone", "v");
    m.set_xattr("d/f", "user.kept", "v");
    m.mkdir("e");
    m.mkdir("e/sub");
  });
  a.remove("d/f");
  a.remove("d");
  a.remove("e/sub");
  a.remove("e");
  publish(a);
  b.write("d/f", "B", 1);
  must(b.run([&](Rows& rows) { return remove_xattr(rows, b.at("d/f"), "user.gone", b.now()); }));
  b.make("e/sub/new");
  a.forget_applied();
  b.receive(records_);
  EXPECT_EQ(b.read("d/f"), "0|B|23");
  sync();  // c has the tombstones still, and has to come to the same
  EXPECT_EQ(a.read("d/f"), "0|B|23");
  EXPECT_EQ(a.names("e/sub"), Names{"new"});
  // And it goes on from there.
  c.write("d/f", "C", 0);
  a.chmod("d/f", 0600);
  sync();
  EXPECT_EQ(b.read("d/f"), "C|B|23");
}

TEST_F(Rules, PendingDirectoriesBecomeThoseOfOthers) {
  given();
  a.mkdir("d");
  publish(a);
  b.mkdir("d");
  b.make("d/f");
  b.receive(records_);
  b.make("d/g");
  sync();
  EXPECT_EQ(c.names("d"), (Names{"f", "g"}));
}

TEST_F(Rules, ALateRecordIsAppliedInItsPlace) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.write("f", "aaa");
  std::optional<Record> late = a.publish();
  b.write("f", "bbb");
  publish(b);
  c.receive(records_);  // b's first
  EXPECT_EQ(c.read("f"), "bbb");
  records_.push_back(*late);
  c.receive(records_);
  EXPECT_EQ(c.read("f"), "aaa");
  EXPECT_EQ(c.names().size(), 2u);
  sync();
}

TEST_F(Rules, AnOpenFileThatWasRemovedStaysAsItIsWhenNewsArrives) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  Ino open = b.remove_open("f");
  b.write(open, "only here");
  Ino temporary = b.make("tmp");
  b.remove_open("tmp");
  b.write(temporary, "temporary");
  a.make("news");
  publish(a);
  b.receive(records_);
  EXPECT_EQ(b.read(open), "only here");
  EXPECT_EQ(b.read(temporary), "temporary");
  publish(b);
  b.write(open, "more", 9);
  a.make("more news");
  publish(a);
  b.receive(records_);
  EXPECT_EQ(b.read(open), "only here|more");
  b.close(open);
  b.close(temporary);
  sync();
}

TEST_F(Rules, AnOpenFileThatWasRemovedComesBackWithWhatOthersKnow) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "0123");
    m.set_xattr("f", "user.k", "v");
  });
  a.write("f", "local");
  a.chmod("f", 0600);
  must(a.run([&](Rows& rows) { return remove_xattr(rows, a.at("f"), "user.k", a.now()); }));
  Ino open = a.remove_open("f");
  a.write(open, "after");
  publish(a);
  a.write(open, "later still");
  b.write("f", "B", 1);
  sync();
  EXPECT_EQ(a.read("f"), "0|B|23");
  EXPECT_EQ(a.inode("f").mode, 0644u);
  EXPECT_EQ(must(list_xattrs(a.rows(), a.at("f"))).size(), 1u);
}

TEST_F(Rules, TwoLogsThatMakeTheSameInode) {
  given();
  a.make("f");
  a.write("f", "aaa");
  std::optional<Record> r = a.publish();
  ASSERT_TRUE(r);
  Record clone = *r;  // a copy of the replica publishes the same pending changes
  clone.log = 7;
  clone.number = 1;
  clone.author.record = blake2b(as_bytes("clone"));
  records_.push_back(*r);
  records_.push_back(clone);
  sync();
  EXPECT_EQ(a.names(), Names{"f"});
}

// --- copies of a machine, or backups of it that were restored: the same pending changes in two logs

TEST_F(Rules, WhatACopyPublishedIsThereAlthoughItsOriginalRemovedItUnseen) {
  given();
  a.make("f");
  a.freeze();
  Machine copy(a, 4);
  all_.push_back(&copy);
  a.remove("f");
  a.make("g");
  publish(a);
  publish(copy);
  sync();
  EXPECT_EQ(a.names(), (Names{"f", "g"}));
}

TEST_F(Rules, WhatACopyPublishedIsThereAlthoughItsOriginalHasItRemovedAndOpen) {
  given();
  Ino ino = a.make("f");
  a.write("f", "both");
  Machine copy(a, 4);
  all_.push_back(&copy);
  a.remove_open("f");
  a.write(ino, "only here");
  a.make("g");
  publish(a);
  publish(copy);
  sync();
  EXPECT_EQ(a.names(), (Names{"f", "g"}));
  EXPECT_EQ(a.read("f"), "both");
}

TEST_F(Rules, ADirectoryThatBecameAnotherOnlyHereIsWhatACopySaysOfIt) {
  given();
  a.mkdir("d");
  Machine copy(a, 4);
  all_.push_back(&copy);
  b.make("x");
  publish(b);
  copy.receive(records_);
  copy.rename("d", "e");
  c.mkdir("d");
  publish(c);
  a.receive(records_);
  a.make("g");
  publish(a);
  publish(copy);
  sync();
  EXPECT_EQ(a.names(), (Names{"d", "e", "g", "x"}));
}

TEST_F(Rules, AVersionThatWentOnOnlyHereIsWhatACopyMadeOfIt) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.write("f", "one");
  Machine copy(a, 4);
  all_.push_back(&copy);
  b.make("x");
  publish(b);
  copy.receive(records_);
  c.write("f", "ccc");
  publish(c);
  a.receive(records_);
  a.write(copy_in(), "two");
  publish(a);
  publish(copy);
  sync();
  EXPECT_EQ(a.names().size(), 4u) << a.describe();  // f, x, and both versions of a's
}

TEST_F(Rules, AChangeOfAFileWhoseVersionACopyHasElsewhereIsOfTheFile) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
  });
  a.write("f", "aaa");
  Machine copy(a, 4);
  all_.push_back(&copy);
  b.write("f", "bbb");
  publish(b);
  copy.receive(records_);  // there "aaa" is the conflict copy
  publish(copy);
  publish(a);  // sorts before b's, whose version is the conflict copy then
  c.receive(records_);
  EXPECT_EQ(c.read("f"), "aaa");
  c.chmod("f", 0600);  // which forgets nothing of it
  publish(c);
  c.write("f", "ccc");
  sync();
  EXPECT_EQ(a.read("f"), "ccc");
}

// --- what is left behind, and when it goes

TEST_F(Rules, WhatIsForgottenIsNotSeen) {
  given([](Machine& m) {
    m.make("f");
    m.write("f", "old");
    m.make("g");
    for (uint64_t i = 0; i < 100; ++i) m.write("g", "x", i * kChunk * 3);
  });
  a.write("f", "aaa");
  b.write("f", "bbb");
  a.mkdir("d");
  b.mkdir("d");
  b.make("d/f");
  a.truncate("g", 0);
  sync();
  a.remove("g");
  sync();
  const Hash before = a.hash();
  must(forget(a.rows(), 1000));
  for (Generation g = 1; g < 1000; ++g) must(drop_history(a.rows(), g));
  EXPECT_EQ(a.hash(), before);
  a.check();
  for (auto& [key, value] : a.rows().rows) {
    const RowKind kind = *kind_of(key);
    EXPECT_TRUE(kind == RowKind::kInode || kind == RowKind::kEntry || kind == RowKind::kName ||
                kind == RowKind::kLink || kind == RowKind::kExtents || kind == RowKind::kXattrs)
        << key[0];
  }
}

TEST_F(Rules, WhatALaterGenerationTouchedIsKept) {
  given([](Machine& m) { m.make("f"); });
  a.remove("f");
  publish(a);  // generation 2 or so
  Generation first = 0;
  for (auto& [key, value] : a.rows().rows)
    if (kind_of(key) == RowKind::kHistory) first = must(parse_first(RowKind::kHistory, key));
  b.write("f", "bbb");
  sync();  // it came back
  a.remove("f");
  publish(a);
  must(forget(a.rows(), first));
  bool tombstone = false;
  for (auto& [key, value] : a.rows().rows) tombstone |= kind_of(key) == RowKind::kTombstone;
  EXPECT_TRUE(tombstone);
}

// --- a database and what lies beside it

class Databases : public Rules {
 protected:
  void given_database() {
    given([](Machine& m) {
      m.make("x.db");
      m.write("x.db", "v0");
      m.make("x.db-wal");
      m.write("x.db-wal", "w0");
    });
  }
  const std::string copy_ = "x (conflict, host2, 2023-11-14).db";
};

TEST_F(Databases, LogAndDatabaseChangedOnTwoSidesAreKeptApart) {
  given_database();
  a.write("x.db", "checkpoint of a");
  b.write("x.db-wal", "log of b");
  sync();
  EXPECT_EQ(a.names(), (Names{copy_, copy_ + "-wal", "x.db", "x.db-wal"}));
  EXPECT_EQ(a.read("x.db"), "checkpoint of a");
  EXPECT_EQ(a.read("x.db-wal"), "w0");
  EXPECT_EQ(a.read(copy_), "v0");
  EXPECT_EQ(a.read(copy_ + "-wal"), "log of b");
}

TEST_F(Databases, TwoLogsOfOneDatabase) {
  given([](Machine& m) {
    m.make("x.db");
    m.write("x.db", "v0");
  });
  for (Machine* m : {&a, &b}) {
    m->make("x.db-wal");
    m->write("x.db-wal", "log of " + std::to_string(m->id()));
  }
  sync();
  EXPECT_EQ(a.names(), (Names{copy_, copy_ + "-wal", "x.db", "x.db-wal"}));
  EXPECT_EQ(a.read("x.db-wal"), "log of 1");
  EXPECT_EQ(a.read(copy_), "v0");
  EXPECT_EQ(a.read(copy_ + "-wal"), "log of 2");
}

TEST_F(Databases, ALogThatTheOtherDidNotSee) {
  given([](Machine& m) {
    m.make("x.db");
    m.write("x.db", "v0");
  });
  a.make("x.db-wal");
  a.write("x.db-wal", "log of a");
  b.write("x.db", "opened, changed and closed by b");
  sync();
  EXPECT_EQ(a.names(), (Names{copy_, "x.db", "x.db-wal"}));
  EXPECT_EQ(a.read("x.db"), "v0");
  EXPECT_EQ(a.read("x.db-wal"), "log of a");
  EXPECT_EQ(a.read(copy_), "opened, changed and closed by b");
}

TEST_F(Databases, ALogThatTheOtherTookInAndRemoved) {
  given_database();
  a.write("x.db", "all of it, by a");
  a.remove("x.db-wal");
  b.write("x.db-wal", "log of b");
  sync();
  EXPECT_EQ(a.names(), (Names{copy_, copy_ + "-wal", "x.db"}));
  EXPECT_EQ(a.read("x.db"), "all of it, by a");
  EXPECT_EQ(a.read(copy_), "v0");
  EXPECT_EQ(a.read(copy_ + "-wal"), "log of b");
}

TEST_F(Databases, ARemovalThatComesLaterThanTheLog) {
  given_database();
  a.write("x.db-wal", "log of a");
  b.write("x.db", "all of it, by b");
  b.remove("x.db-wal");
  sync();
  EXPECT_EQ(a.names(), (Names{copy_, "x.db", "x.db-wal"}));
  EXPECT_EQ(a.read("x.db"), "v0");
  EXPECT_EQ(a.read("x.db-wal"), "log of a");
  EXPECT_EQ(a.read(copy_), "all of it, by b");
}

TEST_F(Databases, ARemovedOneWhoseLogWasChangedStaysWhole) {
  given_database();
  a.write("x.db-wal", "log of a");
  b.remove("x.db");
  b.remove("x.db-wal");
  sync();
  EXPECT_EQ(a.names(), (Names{"x.db", "x.db-wal"}));
  EXPECT_EQ(a.read("x.db-wal"), "log of a");
}

TEST_F(Databases, ItsAuthorGoesOnWithTheCopies) {
  given_database();
  a.write("x.db", "checkpoint of a");
  b.write("x.db-wal", "log of b");
  publish(a);
  publish(b);
  b.write("x.db-wal", "more of b");
  b.write("x.db", "checkpoint of b");
  publish(b);
  sync();
  EXPECT_EQ(a.read("x.db"), "checkpoint of a");
  EXPECT_EQ(a.read("x.db-wal"), "w0");
  const std::string second = "x (conflict, host2, 2023-11-14, 2).db";
  EXPECT_EQ(a.names(), (Names{copy_, copy_ + "-wal", second, second + "-wal", "x.db", "x.db-wal"}));
  EXPECT_EQ(a.read(second), "checkpoint of b");
  EXPECT_EQ(a.read(second + "-wal"), "more of b");
  b.write(second, "by b, who has seen it");
  sync();
  EXPECT_EQ(a.names().size(), 6u);
  EXPECT_EQ(a.read(second), "by b, who has seen it");
}

TEST_F(Databases, WhoIsAloneNeverMeetsThisRule) {
  given_database();
  a.write("x.db-wal", "more");
  sync();
  a.write("x.db", "checkpoint");
  a.remove("x.db-wal");
  sync();
  a.make("x.db-journal");
  a.write("x.db-journal", "undo");
  sync();
  a.write("x.db", "changed");
  a.remove("x.db-journal");
  sync();
  b.write("x.db", "by b");
  sync();
  EXPECT_EQ(a.names(), (Names{"x.db"}));
  EXPECT_EQ(a.read("x.db"), "by b|ged|int");
}

// --- conflict names

TEST(ConflictName, IsBesideAndKeepsTheExtension) {
  WallTime when{1'795'500'000'000'000'000};
  EXPECT_EQ(conflict_name("report.pdf", "HOST", when, 1), "report (conflict, HOST, 2026-11-24).pdf");
  EXPECT_EQ(conflict_name("report.pdf", "HOST", when, 2), "report (conflict, HOST, 2026-11-24, 2).pdf");
  EXPECT_EQ(conflict_name("README", "HOST", when, 1), "README (conflict, HOST, 2026-11-24)");
  EXPECT_EQ(conflict_name(".bashrc", "HOST", when, 1), ".bashrc (conflict, HOST, 2026-11-24)");
  EXPECT_EQ(conflict_name("x.db-wal", "HOST", when, 1), "x (conflict, HOST, 2026-11-24).db-wal");
  EXPECT_EQ(conflict_name("x-journal", "HOST", when, 1), "x (conflict, HOST, 2026-11-24)-journal");
  EXPECT_EQ(conflict_name("a.tar.gz", "", when, 1), "a.tar (conflict, unknown, 2026-11-24).gz");
  EXPECT_EQ(conflict_name("x", "a/b\n", {-1}, 1), "x (conflict, a-b-, 1969-12-31)");
}

TEST(ConflictName, IsTakenApartAgain) {
  WallTime when{1'795'500'000'000'000'000};
  for (const char* name : {"report.pdf", "README", ".bashrc", "a.tar.gz", "a (b).c", "x.db-wal", "x-journal",
                           "x (conflict, y, 2026-01-01).txt"})
    for (const char* device : {"host", "two, words", "(odd)", "2026-11-24"})
      for (unsigned attempt : {1u, 2u, 4000000000u}) {
        auto parsed = parse_conflict_name(conflict_name(name, device, when, attempt));
        ASSERT_TRUE(parsed) << name << device;
        EXPECT_EQ(*parsed, (ConflictName{name, device, "2026-11-24", attempt}));
      }
  for (const char* name :
       {"", "report.pdf", "a (conflict, b)", "a (conflict, 2026-11-24)", "a (conflict, b, 2026-11-24",
        " (conflict, b, 2026-11-24)", "a (conflict, b, 2026-11-24) c", "a (conflict, b, 2026-11-24, 1)",
        "a (conflict, b, 2026-11-24, x)", "a (conflict, b, 26-11-24)", ")a (conflict, b, 2026-11-24"})
    EXPECT_FALSE(parse_conflict_name(name)) << name;
}

TEST(ConflictName, FitsAndIsCutBetweenCharacters) {
  std::string umlauts;
  while (umlauts.size() + 2 <= kNameMax - 4) umlauts += "\xc3\xa4";
  for (const std::string& name : {std::string(255, 'x'), umlauts + ".txt", "a" + umlauts + "." + std::string(60, 'e'),
                                  std::string(255, '\x80'), "." + std::string(254, 'x')})
    for (const std::string& device : {std::string("host"), std::string(300, 'h'), umlauts})
      for (unsigned attempt : {1u, 4000000000u}) {
        std::string n = conflict_name(name, device, {INT64_MAX}, attempt);
        EXPECT_TRUE(valid_name(n)) << n.size();
        if (name.starts_with("\xc3")) {
          size_t mark = n.find(" (conflict");
          EXPECT_EQ(mark % 2, 0u);  // whole characters
          EXPECT_TRUE(n.ends_with(").txt"));
        }
      }
}

}  // namespace
}  // namespace coffer::model
