#include "fs/replica/replica.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <random>
#include <thread>

#include "base/failpoint.h"
#include "crypto/random.h"
#include "fs/model/invariants.h"
#include "fs/replica/bookkeeping.h"
#include "tests/cache/fixture.h"
#include "tests/replica/exchange.h"

namespace coffer {
namespace {

using model::FileType;
using model::kRootIno;
using test::Exchange;
using test::Packs;
using test::TempDir;
using test::TestVolume;

Bytes random_content(std::mt19937_64& rng, size_t size) {
  Bytes out(size);
  for (auto& b : out) b = static_cast<uint8_t>(rng());
  return out;
}

Result<Bytes> read_all(Replica& replica, Ino ino) {
  TRY(model::Inode inode, replica.attributes(ino));
  Bytes out(inode.size);
  for (size_t at = 0; at < out.size();) {
    size_t step = std::min<size_t>(out.size() - at, 100'000);
    TRY(auto outcome, replica.read(ino, at, MutableBytes(out).subspan(at, step)));
    if (!outcome.missing.empty()) return fail(Code::kNotFound, "not local");
    if (outcome.bytes != step) return fail(Code::kInternal, "short read");
    at += step;
  }
  return out;
}

Ino make_file(Replica& replica, Ino dir, const std::string& name) {
  auto node = replica.make(dir, name, {FileType::kRegular, 0644, 0, 0, 0, ""});
  EXPECT_TRUE(node.has_value()) << node.error().what();
  return node ? node->ino : 0;
}

void expect_sound(Replica& replica) {
  auto faults = replica.find_faults();
  ASSERT_OK(faults);
  for (const std::string& f : *faults) ADD_FAILURE() << f;
}

// A stream is sealed as it is written, and waited for by who syncs it.
TEST(Replica, AnFsyncDoesNotWaitForWhatOthersStream) {
  constexpr size_t kMebibyte = 1 << 20;
  TempDir dir;
  TestVolume volume;
  std::mt19937_64 rng(1);
  auto replica = volume.open(dir.path());
  ASSERT_OK(replica);
  ASSERT_OK((*replica)->make_root());
  Ino stream = make_file(**replica, kRootIno, "stream"), note = make_file(**replica, kRootIno, "note");
  ASSERT_OK((*replica)->write(note, 0, random_content(rng, 100), false));
  ASSERT_OK((*replica)->sync_all(true));
  Bytes content;
  bool waited = true;
  // (Four times a second, the replica syncs what is streamed by itself.)
  for (int i = 0; i < 20 && waited; ++i) {
    const Bytes piece = random_content(rng, kMebibyte);
    ASSERT_OK((*replica)->write(stream, content.size(), piece, false));
    content.insert(content.end(), piece.begin(), piece.end());
    EXPECT_EQ((*replica)->attributes(stream)->size, content.size());
    const uint64_t before = (*replica)->counters().pack_syncs;
    ASSERT_OK((*replica)->write(note, 0, random_content(rng, 100), false));
    ASSERT_OK((*replica)->sync_file(note));
    waited = (*replica)->counters().pack_syncs != before;
  }
  EXPECT_FALSE(waited);
  EXPECT_EQ(read_all(**replica, stream).value(), content);
  // Whoever wants it durable gets it.
  const uint64_t before = (*replica)->counters().pack_syncs;
  ASSERT_OK((*replica)->write(stream, 0, BytesView(content).last(kMebibyte), false));
  ASSERT_OK((*replica)->sync_file(stream));
  EXPECT_GT((*replica)->counters().pack_syncs, before);
  std::copy_n(content.end() - kMebibyte, kMebibyte, content.begin());
  EXPECT_EQ(read_all(**replica, stream).value(), content);
}

TEST(Replica, WhatIsStreamedComesBeforeWhatIsDoneToTheFileAfterIt) {
  constexpr size_t kMebibyte = 1 << 20;
  TempDir dir;
  TestVolume volume;
  std::mt19937_64 rng(2);
  auto replica = volume.open(dir.path());
  ASSERT_OK(replica);
  ASSERT_OK((*replica)->make_root());
  Ino file = make_file(**replica, kRootIno, "file"), copy = make_file(**replica, kRootIno, "copy");
  Bytes content(3 * kMebibyte);
  auto stream = [&](size_t at) {
    const Bytes piece = random_content(rng, kMebibyte);
    ASSERT_OK((*replica)->write(file, at, piece, false));
    std::copy(piece.begin(), piece.end(), content.begin() + static_cast<long>(at));
  };
  for (size_t at = 0; at < content.size(); at += kMebibyte) stream(at);
  stream(kMebibyte);  // over what is sealed and not named
  const Bytes few = random_content(rng, 1000);
  ASSERT_OK((*replica)->write(file, 77, few, false));  // over it, in memory
  std::copy(few.begin(), few.end(), content.begin() + 77);
  EXPECT_EQ(read_all(**replica, file).value(), content);
  stream(0);
  ASSERT_OK((*replica)->truncate(file, 2 * kMebibyte + 5));
  content.resize(2 * kMebibyte + 5);
  EXPECT_EQ(read_all(**replica, file).value(), content);
  stream(kMebibyte);
  ASSERT_OK((*replica)->punch_hole(file, kMebibyte + 3, 100'000));
  std::fill_n(content.begin() + kMebibyte + 3, 100'000, uint8_t{0});
  EXPECT_EQ(read_all(**replica, file).value(), content);
  stream(0);
  ASSERT_EQ((*replica)->copy_range(file, 0, copy, 0, content.size(), false).value(), content.size());
  EXPECT_EQ(read_all(**replica, copy).value(), content);
  stream(0);
  ASSERT_OK((*replica)->rename(kRootIno, "file", kRootIno, "copy", model::RenameMode::kReplace));
  (*replica)->forget(copy);
  // A file that goes takes along what was streamed to it.
  Ino gone = make_file(**replica, kRootIno, "gone");
  ASSERT_OK((*replica)->write(gone, 0, Bytes(kMebibyte, 1), false));
  ASSERT_OK((*replica)->unlink(kRootIno, "gone"));
  (*replica)->forget(gone);
  expect_sound(**replica);
  replica->reset();
  replica = volume.open(dir.path());
  ASSERT_OK(replica);
  EXPECT_EQ(read_all(**replica, (*replica)->lookup(kRootIno, "copy")->ino).value(), content);
  expect_sound(**replica);
}

TEST(Replica, KeepsWhatWasWrittenAcrossReopen) {
  TempDir dir;
  TestVolume volume;
  std::mt19937_64 rng(1);
  Bytes big = random_content(rng, 3'000'000), small = random_content(rng, 10);
  {
    auto replica = volume.open(dir.path());
    ASSERT_OK(replica);
    ASSERT_OK((*replica)->make_root());
    Ino a = make_file(**replica, kRootIno, "big"), b = make_file(**replica, kRootIno, "small");
    ASSERT_OK((*replica)->write(a, 0, big, false));
    ASSERT_OK((*replica)->write(b, 5, small, false));
    EXPECT_EQ((*replica)->attributes(b)->size, 15u);
    EXPECT_EQ(*read_all(**replica, a), big);
    ASSERT_OK((*replica)->close());
  }
  auto replica = volume.open(dir.path());
  ASSERT_OK(replica);
  auto a = (*replica)->lookup(kRootIno, "big"), b = (*replica)->lookup(kRootIno, "small");
  ASSERT_OK(a);
  ASSERT_OK(b);
  EXPECT_EQ(*read_all(**replica, a->ino), big);
  Bytes expected(5, 0);
  expected.insert(expected.end(), small.begin(), small.end());
  EXPECT_EQ(*read_all(**replica, b->ino), expected);
  expect_sound(**replica);
}

// What is written goes from memory to the rows, and whoever looks in between must not find it in neither. In a long listing
// there is much in between.
TEST(Replica, SizeNeverShrinksWhileAFileIsSealed) {
  TempDir dir;
  TestVolume volume;
  TAKE(auto replica, volume.open(dir.path()));
  ASSERT_OK(replica->make_root());
  for (int i = 0; i < 2000; ++i) make_file(*replica, kRootIno, "f" + std::to_string(i));
  const Ino ino = make_file(*replica, kRootIno, "written");
  for (uint64_t size = 1; size <= 50; ++size) {
    ASSERT_OK(replica->write(ino, size - 1, Bytes(1, 7), false));
    std::jthread sealer([&] { ASSERT_OK(replica->seek_hole(ino, 0)); });
    TAKE(auto listed, replica->list_nodes(kRootIno, 0, 5000));
    ASSERT_EQ(listed.back().node.inode.size, size);
  }
}

// Two files, each synced, that are in one pack and not in the table yet; and what a killed process leaves of them.
class LostPack : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.commit_every = std::chrono::hours(1);
    TAKE(auto replica, volume_.open(dir_.path() + "/live", options_));
    ASSERT_OK(replica->make_root());
    for (const char* name : {"a", "b"}) {
      Ino ino = make_file(*replica, kRootIno, name);
      ASSERT_OK(replica->write(ino, 0, Bytes(1000, 7), false));
      ASSERT_OK(replica->sync_file(ino));
    }
    TAKE(auto packs, replica->packs().local_packs());
    ASSERT_EQ(packs.size(), 1u);
    pack_ = packs[0];
    if (in_store_) {
      RowPut place{place_key(pack_), encode(PackPlace{"obj/x", 0, 100'000})};
      ASSERT_OK(replica->put_rows(std::span(&place, 1), true));
    }
    std::filesystem::copy(dir_.path() + "/live", killed_, std::filesystem::copy_options::recursive);
    for (const auto& file : std::filesystem::recursive_directory_iterator(killed_ + "/packs"))
      if (file.path().filename() == pack_.str()) std::filesystem::remove(file.path());
  }
  std::map<std::string, Bytes> journal() const {
    std::map<std::string, Bytes> files;
    for (const auto& file : std::filesystem::directory_iterator(killed_ + "/journal"))
      files[file.path().filename()] = test::slurp(file.path());
    return files;
  }

  TempDir dir_;
  const std::string killed_ = dir_.path() + "/killed";
  TestVolume volume_;
  Replica::Options options_;
  ObjectId pack_;
  bool in_store_ = false;
};

TEST_F(LostPack, OfDurableEntriesIsReportedAndNothingIsCut) {
  const auto before = journal();
  auto opened = volume_.open(killed_, options_);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), Code::kCorrupt);
  EXPECT_NE(opened.error().what().find(pack_.str()), std::string::npos) << opened.error().what();
  EXPECT_NE(opened.error().what().find(killed_), std::string::npos) << opened.error().what();
  EXPECT_EQ(journal(), before);
}

class LostPackInStore : public LostPack {
 protected:
  LostPackInStore() { in_store_ = true; }
};

// Where the store has it stands in the journal only, behind the entries that name its frames.
TEST_F(LostPackInStore, LosesNothing) {
  TAKE(auto replica, volume_.open(killed_, options_));
  for (const char* name : {"a", "b"}) {
    TAKE(auto node, replica->lookup(kRootIno, name));
    Bytes out(1000);
    TAKE(auto outcome, replica->read(node.ino, 0, out));
    EXPECT_EQ(outcome.missing.size(), 1u);
  }
}

TEST(Replica, ReadsAndWritesAgreeWithAFlatFile) {
  TempDir dir;
  TestVolume volume;
  std::mt19937_64 rng(7);
  std::unique_ptr<Replica> replica;
  auto reopen = [&] {
    if (replica) {
      EXPECT_TRUE(replica->close().has_value());
    }
    replica.reset();
    auto opened = volume.open(dir.path());
    ASSERT_OK(opened);
    replica = std::move(*opened);
  };
  reopen();
  ASSERT_OK(replica->make_root());
  Ino ino = make_file(*replica, kRootIno, "f");
  Bytes reference;
  for (int step = 0; step < 600; ++step) {
    size_t offset = rng() % 2'500'000, length = 1 + rng() % (rng() % 3 == 0 ? 300'000 : 5000);
    switch (rng() % 10) {
      case 0:
        ASSERT_OK(replica->truncate(ino, offset));
        reference.resize(offset);
        break;
      case 1:
        ASSERT_OK(replica->punch_hole(ino, offset, length));
        for (size_t i = offset; i < std::min(reference.size(), offset + length); ++i) reference[i] = 0;
        break;
      case 2:
        ASSERT_OK(replica->sync_file(ino));
        break;
      case 3: {
        size_t from = rng() % 2'500'000;
        if (from < offset + length && offset < from + length) break;
        auto copied = replica->copy_range(ino, from, ino, offset, length, false);
        ASSERT_OK(copied);
        size_t expected = from >= reference.size() ? 0 : std::min(length, reference.size() - from);
        ASSERT_EQ(*copied, expected);
        if (reference.size() < offset + expected && expected > 0) reference.resize(offset + expected);
        std::copy_n(reference.begin() + static_cast<ptrdiff_t>(from), expected,
                    reference.begin() + static_cast<ptrdiff_t>(offset));
        break;
      }
      default: {
        Bytes data = random_content(rng, length);
        ASSERT_OK(replica->write(ino, offset, data, false));
        if (reference.size() < offset + length) reference.resize(offset + length);
        std::copy(data.begin(), data.end(), reference.begin() + static_cast<ptrdiff_t>(offset));
      }
    }
    if (step % 40 == 0) reopen();
    if (step % 10 == 0) {
      auto content = read_all(*replica, ino);
      ASSERT_OK(content);
      ASSERT_EQ(content->size(), reference.size());
      ASSERT_TRUE(*content == reference) << "step " << step;
    }
  }
  expect_sound(*replica);
}

TEST(Replica, ACopySharesWhatIsStored) {
  TempDir dir, other_dir;
  TestVolume volume;
  auto replica = volume.open(dir.path()), other = volume.open(other_dir.path(), "other");
  ASSERT_OK(replica);
  ASSERT_OK(other);
  ASSERT_OK((*replica)->make_root());
  Exchange exchange;
  auto publish = [&] {
    Packs packs;
    auto record = exchange.publish(**replica, packs);
    EXPECT_TRUE(record.has_value());
    Exchange::receive(**other, *record, packs);
    return packs.size();
  };
  std::mt19937_64 rng(11);
  Bytes content = random_content(rng, 3'000'000);
  Ino source = make_file(**replica, kRootIno, "source");
  ASSERT_OK((*replica)->write(source, 1'000'000, content, false));  // behind a hole
  ASSERT_OK((*replica)->sync_file(source));
  publish();

  Ino copy = make_file(**replica, kRootIno, "copy");
  ASSERT_OK((*replica)->write(copy, 0, Bytes(2'000'000, 'x'), false));  // overwritten before it is sealed
  auto copied = (*replica)->copy_range(source, 10, copy, 0, UINT64_MAX, false);
  ASSERT_OK(copied);
  EXPECT_EQ(*copied, 3'999'990u);
  Bytes expected(999'990, 0);
  expected.insert(expected.end(), content.begin(), content.end());
  EXPECT_TRUE(*read_all(**replica, copy) == expected);
  EXPECT_EQ(publish(), 0u) << "nothing is stored twice";
  EXPECT_TRUE(*read_all(**other, copy) == expected);

  // The source goes, and the copy keeps what it shows of it: published long ago, or not yet.
  Ino fresh = make_file(**replica, kRootIno, "fresh"), copy2 = make_file(**replica, kRootIno, "copy2");
  Bytes more = random_content(rng, 500'000);
  ASSERT_OK((*replica)->write(fresh, 0, more, false));
  ASSERT_OK((*replica)->copy_range(fresh, 100'000, copy2, 0, 300'000, false));
  for (auto [name, ino] : {std::pair("source", source), std::pair("fresh", fresh)}) {
    ASSERT_OK((*replica)->unlink(kRootIno, name));
    (*replica)->forget(ino);
  }
  publish();
  Bytes part(more.begin() + 100'000, more.begin() + 400'000);
  for (Replica* r : {replica->get(), other->get()}) {
    EXPECT_TRUE(*read_all(*r, copy) == expected);
    EXPECT_TRUE(*read_all(*r, copy2) == part);
    expect_sound(*r);
  }
  EXPECT_EQ((*replica)->copy_range(copy2, 0, copy2, 100, 200, false).error().code(), Code::kInvalid);
  EXPECT_EQ(*(*replica)->copy_range(copy2, 300'000, copy, 0, 10, false), 0u);
}

TEST(Replica, WhatIsMadeAndRemovedBeforeItIsPublishedLeavesNothing) {
  TempDir dir;
  TestVolume volume;
  auto replica = volume.open(dir.path());
  ASSERT_OK(replica);
  ASSERT_OK((*replica)->make_root());
  Exchange exchange;
  Packs packs;
  exchange.publish(**replica, packs);  // the root
  Ino ino = make_file(**replica, kRootIno, "short-lived");
  ASSERT_OK((*replica)->write(ino, 0, Bytes(100'000, 1), false));
  ASSERT_OK((*replica)->sync_file(ino));
  ASSERT_OK((*replica)->unlink(kRootIno, "short-lived"));
  (*replica)->forget(ino);
  auto frozen = (*replica)->freeze();
  ASSERT_OK(frozen);
  if (*frozen) {  // the root's times changed, nothing else
    EXPECT_TRUE((*frozen)->packs.empty());
    ASSERT_EQ((*frozen)->changes.inodes.size(), 1u);
    EXPECT_EQ((*frozen)->changes.inodes[0].ino, kRootIno);
    EXPECT_TRUE((*frozen)->changes.entries.empty());
  }
}

// Of what was overwritten before it was published, little is uploaded: at most a quarter of a pack is dead.
TEST(Replica, PacksThatAreMostlyDeadAreRewritten) {
  TempDir dir, other_dir;
  TestVolume volume;
  auto replica = volume.open(dir.path()), other = volume.open(other_dir.path());
  ASSERT_OK(replica);
  ASSERT_OK(other);
  ASSERT_OK((*replica)->make_root());
  Exchange exchange;
  Packs packs;
  Exchange::receive(**other, *exchange.publish(**replica, packs), packs);

  std::mt19937_64 rng(7);
  Ino often = make_file(**replica, kRootIno, "often"), cut = make_file(**replica, kRootIno, "cut");
  Bytes content;
  for (int round = 0; round < 5; ++round) {
    content = random_content(rng, 300'000);
    ASSERT_OK((*replica)->write(often, 0, content, false));
    ASSERT_OK((*replica)->sync_file(often));
  }
  Bytes other_content = random_content(rng, 200'000);
  ASSERT_OK((*replica)->write(cut, 0, other_content, false));
  ASSERT_OK((*replica)->sync_file(cut));
  // Leaves parts of frames, in the middle and at the end.
  ASSERT_OK((*replica)->punch_hole(cut, 10'000, 100'000));
  std::fill(other_content.begin() + 10'000, other_content.begin() + 110'000, 0);
  ASSERT_OK((*replica)->truncate(cut, 150'000));
  other_content.resize(150'000);

  auto before = (*replica)->attributes(cut);
  auto frozen = (*replica)->freeze();
  ASSERT_OK(frozen);
  ASSERT_TRUE(frozen->has_value());
  uint64_t size = 0;
  for (const Frozen::Pack& pack : (*frozen)->packs) {
    auto bytes = (*replica)->packs().size(pack.id);
    ASSERT_OK(bytes);
    size += *bytes;
  }
  EXPECT_LT(size, 360'000u);
  auto after = (*replica)->attributes(cut);
  ASSERT_OK(before);
  ASSERT_OK(after);
  EXPECT_EQ(after->version, before->version);
  EXPECT_EQ(after->mtime, before->mtime);
  EXPECT_EQ(after->ctime, before->ctime);

  packs.clear();
  Exchange::receive(**other, *exchange.publish(**replica, packs), packs);
  for (Replica* r : {replica->get(), other->get()}) {
    auto read = read_all(*r, often);
    ASSERT_OK(read);
    EXPECT_TRUE(*read == content);
    read = read_all(*r, cut);
    ASSERT_OK(read);
    EXPECT_TRUE(*read == other_content);
    expect_sound(*r);
  }
  // What was dead is gone after the next commit, and a reopened replica has all.
  replica->reset();
  replica = volume.open(dir.path());
  ASSERT_OK(replica);
  auto read = read_all(**replica, often);
  ASSERT_OK(read);
  EXPECT_TRUE(*read == content);
}

TEST(Replica, AnUnlinkedOpenFileLivesUntilForgotten) {
  TempDir dir;
  TestVolume volume;
  Ino ino;
  {
    auto replica = volume.open(dir.path());
    ASSERT_OK(replica);
    ASSERT_OK((*replica)->make_root());
    ino = make_file(**replica, kRootIno, "f");
    ASSERT_OK((*replica)->write(ino, 0, Bytes(1000, 5), false));
    ASSERT_OK((*replica)->unlink(kRootIno, "f"));
    ASSERT_OK((*replica)->write(ino, 1000, Bytes(1000, 6), false));
    auto content = read_all(**replica, ino);
    ASSERT_OK(content);
    EXPECT_EQ(content->size(), 2000u);
    ASSERT_OK((*replica)->close());
  }
  auto replica = volume.open(dir.path());
  ASSERT_OK(replica);
  EXPECT_FALSE((*replica)->attributes(ino).has_value());
  expect_sound(**replica);
}

TEST(Replica, ASecondReplicaFollows) {
  TempDir dir_a, dir_b;
  TestVolume volume;
  auto a = volume.open(dir_a.path(), "a"), b = volume.open(dir_b.path(), "b");
  ASSERT_OK(a);
  ASSERT_OK(b);
  ASSERT_OK((*a)->make_root());
  Exchange exchange;
  std::mt19937_64 rng(3);
  Bytes content = random_content(rng, 200'000);
  Ino ino = make_file(**a, kRootIno, "f");
  ASSERT_OK((*a)->write(ino, 0, content, false));
  ASSERT_OK((*a)->make(kRootIno, "d", {FileType::kDirectory, 0755, 0, 0, 0, ""}));
  for (int round = 0; round < 3; ++round) {
    Packs packs;
    auto record = exchange.publish(**a, packs);
    ASSERT_TRUE(record.has_value());
    Exchange::receive(**b, *record, packs);
    auto seen = read_all(**b, ino);
    ASSERT_OK(seen);
    EXPECT_TRUE(*seen == content);
    expect_sound(**b);
    content[100'000 + round] ^= 1;
    ASSERT_OK((*a)->write(ino, 100'000 + static_cast<uint64_t>(round), BytesView(content).subspan(100'000 + round, 1),
                          false));
  }
}

TEST(Replica, ChangesOnBothSidesLoseNeither) {
  TempDir dir_a, dir_b;
  TestVolume volume;
  auto a = volume.open(dir_a.path(), "a"), b = volume.open(dir_b.path(), "b");
  ASSERT_OK(a);
  ASSERT_OK(b);
  ASSERT_OK((*a)->make_root());
  Ino ino = make_file(**a, kRootIno, "f.txt");
  ASSERT_OK((*a)->write(ino, 0, Bytes(100, 'o'), false));
  Exchange exchange;
  Packs packs;
  auto first = exchange.publish(**a, packs);
  ASSERT_TRUE(first.has_value());
  Exchange::receive(**b, *first, packs);

  ASSERT_OK((*a)->write(ino, 0, Bytes(100, 'a'), false));
  ASSERT_OK((*b)->write(ino, 0, Bytes(100, 'b'), false));
  make_file(**b, kRootIno, "only-b");
  packs.clear();
  auto second = exchange.publish(**a, packs);
  ASSERT_TRUE(second.has_value());
  Exchange::receive(**b, *second, packs);
  EXPECT_EQ(*read_all(**b, ino), Bytes(100, 'a'));  // the earlier in order keeps the name
  auto entries = (*b)->list(kRootIno, 0, 100);
  ASSERT_OK(entries);
  ASSERT_EQ(entries->size(), 3u);
  bool found = false;
  for (const auto& e : *entries) {
    if (e.entry.name.find("conflict") == std::string::npos) continue;
    EXPECT_EQ(*read_all(**b, e.entry.ino), Bytes(100, 'b'));
    EXPECT_TRUE(e.entry.name.ends_with(".txt"));
    found = true;
  }
  EXPECT_TRUE(found);
  expect_sound(**b);

  // And back: a sees the copy and the new file.
  packs.clear();
  auto third = exchange.publish(**b, packs);
  ASSERT_TRUE(third.has_value());
  Exchange::receive(**a, *third, packs);
  EXPECT_EQ((*a)->list(kRootIno, 0, 100)->size(), 3u);
  expect_sound(**a);
}

// A file "f" that a made and published, and that b has, too.
class SharedFile : public ::testing::Test {
 protected:
  void share(const Bytes& content) {
    TAKE(a_, volume_.open(dir_a_.path(), "a"));
    TAKE(b_, volume_.open(dir_b_.path(), "b"));
    ASSERT_OK(a_->make_root());
    ino_ = make_file(*a_, kRootIno, "f");
    ASSERT_OK(a_->write(ino_, 0, content, false));
    made_ = publish(*a_, packs_);
    Exchange::receive(*b_, made_, packs_);
  }
  OrderedRecord publish(Replica& from, Packs& packs) {
    auto record = exchange_.publish(from, packs);
    EXPECT_TRUE(record.has_value());
    return record.value_or(OrderedRecord{});
  }
  // What b changes, in a record of its own.
  OrderedRecord change(Bytes content, Packs& packs) {
    EXPECT_TRUE(b_->write(ino_, 0, content, false).has_value());
    return publish(*b_, packs);
  }

  TempDir dir_a_, dir_b_;
  TestVolume volume_;
  std::unique_ptr<Replica> a_, b_;
  Exchange exchange_;
  Ino ino_ = 0;
  OrderedRecord made_;
  Packs packs_, none_;
};

// What is written to a file that is removed and open is in no record, and yet the record that removed it can be undone.
TEST_F(SharedFile, WhatCameToNothingIsUndoneWithTheRecordBelow) {
  share(Bytes(3'000'000, 'o'));
  Packs changed_packs;
  const OrderedRecord changed = change(Bytes(10, 'b'), changed_packs);

  ASSERT_OK(a_->unlink(kRootIno, "f"));
  publish(*a_, none_);
  ASSERT_OK(a_->truncate(ino_, 100'000));
  ASSERT_OK(a_->write(ino_, 1'000'000, Bytes(2'500'000, 'h'), false));
  EXPECT_FALSE(exchange_.publish(*a_, none_).has_value());
  a_->forget(ino_);
  EXPECT_FALSE(exchange_.publish(*a_, none_).has_value());
  a_.reset();
  TAKE(a_, volume_.open(dir_a_.path(), "a"));
  Exchange::receive(*a_, changed, changed_packs);
  expect_sound(*a_);
  auto read = read_all(*a_, ino_);  // removed here, changed there: it stays
  ASSERT_OK(read);
  Bytes expected(3'000'000, 'o');
  std::fill_n(expected.begin(), 10, uint8_t{'b'});
  EXPECT_TRUE(*read == expected);
}

// News changes the log of a database while both are open here: whoever has the database open goes on with the copy that lies
// beside the copy of the log, not with the one that the other's log belongs to.
TEST_F(SharedFile, ADatabaseGoesAsideWithItsLogForWhoHasItOpen) {
  share(Bytes(8192, 'd'));
  const Ino log = make_file(*a_, kRootIno, "f-wal");
  ASSERT_OK(a_->write(log, 0, Bytes(100, '0'), false));
  Packs log_packs, changed_packs;
  Exchange::receive(*b_, publish(*a_, log_packs), log_packs);
  ASSERT_OK(b_->write(log, 0, Bytes(100, 'b'), false));
  const OrderedRecord changed = publish(*b_, changed_packs);

  std::map<Ino, Ino> superseded;
  a_->on_supersede([&superseded](Ino ino, Ino keeper) { return superseded.emplace(ino, keeper).second; });
  ASSERT_OK(a_->write(log, 0, Bytes(100, 'a'), false));
  Exchange::receive(*a_, changed, changed_packs);
  expect_sound(*a_);
  ASSERT_TRUE(superseded.contains(log));
  ASSERT_TRUE(superseded.contains(ino_));
  TAKE(Ino database, a_->writable(superseded[ino_]));
  TAKE(Ino its_log, a_->writable(superseded[log]));
  ASSERT_OK(a_->write(database, 0, Bytes(4096, 'A'), false));
  const std::string copy = model::conflict_name("f", "a", a_->attributes(database)->mtime, 1);
  TAKE(model::Node by_name, a_->lookup(kRootIno, copy));
  EXPECT_EQ(by_name.ino, database);
  TAKE(model::Node log_by_name, a_->lookup(kRootIno, copy + "-wal"));
  EXPECT_EQ(log_by_name.ino, its_log);
  TAKE(Bytes original, read_all(*a_, ino_));
  EXPECT_TRUE(original == Bytes(8192, 'd'));
  TAKE(Bytes others, read_all(*a_, log));
  EXPECT_TRUE(others == Bytes(100, 'b'));
}

// What the last close takes away is not what the tombstone needs, which the removal left for others.
TEST_F(SharedFile, ClosingItAfterItsRemovalWasAppliedAgainLeavesItsTombstone) {
  const Bytes content(3'000'000, 'o');
  share(content);
  Packs first, second;
  make_file(*b_, kRootIno, "of b");
  const OrderedRecord earlier = publish(*b_, first);
  const OrderedRecord changed = change(Bytes(10, 'b'), second);

  ASSERT_OK(a_->unlink(kRootIno, "f"));
  publish(*a_, none_);
  Exchange::receive(*a_, earlier, first);  // the removal is undone, and applied again
  a_->forget(ino_);
  expect_sound(*a_);
  Exchange::receive(*a_, changed, second);  // and here it comes back
  expect_sound(*a_);
  Bytes expected = content;
  std::fill_n(expected.begin(), 10, uint8_t{'b'});
  auto read = read_all(*a_, ino_);
  ASSERT_OK(read);
  EXPECT_TRUE(*read == expected);
}

// Attributes that meet a removal come to nothing, and nothing is left of them: a change that brings the file back brings it back
// alike everywhere.
TEST_F(SharedFile, AttributesThatMeetItsRemovalLeaveNothing) {
  share(Bytes(10, 'o'));
  TempDir dir_c;
  TAKE(auto c, volume_.open(dir_c.path(), "c"));
  Exchange::receive(*c, made_, packs_);
  ASSERT_OK(a_->unlink(kRootIno, "f"));
  a_->forget(ino_);
  const OrderedRecord removal = publish(*a_, none_);
  ASSERT_OK(b_->set_xattr(ino_, "user.x", Bytes{1, 2, 3}, model::XattrMode::kAny));
  Exchange::receive(*b_, removal, none_);
  EXPECT_FALSE(b_->lookup(kRootIno, "f").has_value());
  EXPECT_FALSE(exchange_.publish(*b_, none_).has_value());
  Packs content;
  ASSERT_OK(c->write(ino_, 0, Bytes(10, 'c'), false));
  const OrderedRecord changed = publish(*c, content);

  for (Replica* r : {a_.get(), b_.get()}) {
    Exchange::receive(*r, changed, content);
    SCOPED_TRACE(r == a_.get() ? "a" : "b");
    EXPECT_EQ(*read_all(*r, ino_), Bytes(10, 'c'));
    EXPECT_CODE(Code::kNoData, r->get_xattr(ino_, "user.x"));
    expect_sound(*r);
  }
}

// Who removed a file and has it open goes on with what he has, also when somebody's change brings the file back.
TEST_F(SharedFile, WhoRemovedItAndHoldsItKeepsItWhenNewsBringsItBack) {
  share(Bytes(100, 'o'));
  Packs packs;
  const OrderedRecord changed = change(Bytes(100, 'b'), packs);

  std::map<Ino, Ino> keepers;
  a_->on_supersede([&](Ino held, Ino keeper) {
    keepers[held] = keeper;
    return true;
  });
  ASSERT_OK(a_->unlink(kRootIno, "f"));
  ASSERT_OK(a_->write(ino_, 0, Bytes(200, 'h'), false));
  Exchange::receive(*a_, changed, packs);
  EXPECT_EQ(*read_all(*a_, ino_), Bytes(100, 'b'));
  ASSERT_TRUE(keepers.contains(ino_));
  const Ino keeper = keepers[ino_];
  auto held = read_all(*a_, keeper);
  ASSERT_OK(held);
  EXPECT_EQ(*held, Bytes(200, 'h'));
  TAKE(const Ino target, a_->writable(keeper));
  EXPECT_EQ(target, keeper);
  ASSERT_OK(a_->write(target, 0, Bytes(300, 'i'), false));
  EXPECT_EQ(*read_all(*a_, keeper), Bytes(300, 'i'));
  EXPECT_EQ(a_->list(kRootIno, 0, 100)->size(), 1u);
  a_->forget(keeper);
  EXPECT_FALSE(a_->attributes(keeper).has_value());
  EXPECT_EQ(*read_all(*a_, ino_), Bytes(100, 'b'));
  expect_sound(*a_);
}

TEST(Replica, AFewBytesAreDurableByOneFdatasync) {
  TempDir dir;
  TestVolume volume;
  Replica::Options options;
  options.commit_every = std::chrono::hours(1);
  TAKE(auto replica, volume.open(dir.path(), options));
  ASSERT_OK(replica->make_root());
  const Ino ino = make_file(*replica, kRootIno, "f");
  std::mt19937_64 rng(1);
  auto sync_written = [&](uint64_t at, size_t size) {
    ReplicaCounters before = replica->counters();
    EXPECT_TRUE(replica->write(ino, at, random_content(rng, size), false).has_value());
    EXPECT_TRUE(replica->sync_file(ino).has_value());
    ReplicaCounters after = replica->counters();
    return std::pair(after.journal_syncs - before.journal_syncs, after.pack_syncs - before.pack_syncs);
  };
  sync_written(0, 4096);  // makes the pack
  for (uint64_t i = 1; i < 30; ++i) EXPECT_EQ(sync_written(i * 4096, 4096), (std::pair<uint64_t, uint64_t>(1, 0)));
  EXPECT_EQ(sync_written(1 << 20, 1 << 20), (std::pair<uint64_t, uint64_t>(1, 1)));
  EXPECT_EQ(sync_written(1 << 20, 4096), (std::pair<uint64_t, uint64_t>(1, 0)));
}

// The last run ended between keeping frames of news and applying it.
TEST(Replica, WhatWasKeptOfAPackBeforeItsRecordIsNotUnsent) {
  TempDir dir_a, dir_b;
  TestVolume volume;
  TAKE(auto a, volume.open(dir_a.path(), "a"));
  TAKE(auto b, volume.open(dir_b.path(), "b"));
  ASSERT_OK(a->make_root());
  Exchange exchange;
  Packs none, packs;
  auto root = exchange.publish(*a, none);
  ASSERT_TRUE(root.has_value());
  Exchange::receive(*b, *root, none);
  std::mt19937_64 rng(3);
  const Ino ino = make_file(*a, kRootIno, "f");
  const Bytes content = random_content(rng, 200'000);
  ASSERT_OK(a->write(ino, 0, content, false));
  auto record = exchange.publish(*a, packs);
  ASSERT_TRUE(record.has_value());
  ASSERT_EQ(packs.size(), 1u);
  ASSERT_OK(b->packs().store_range(packs[0].first, 0, BytesView(packs[0].second).first(kFetchGrid * 2)));
  ASSERT_OK(b->close());
  b.reset();
  TAKE(b, volume.open(dir_b.path(), "b"));
  Exchange::receive(*b, *record, packs, false);
  EXPECT_EQ(b->counters().pending_bytes, 0u);
  // What is sealed anew, or copied, names its frames; the pack is the other's, and in the store.
  const Ino copy = make_file(*b, kRootIno, "copy");
  ASSERT_OK(b->copy_range(ino, 0, copy, 0, 50'000, false));
  auto frozen = b->freeze();
  ASSERT_OK(frozen);
  ASSERT_TRUE(frozen->has_value());
  EXPECT_TRUE((*frozen)->packs.empty());
}

// Its contents are in a pack still when it is closed, and no record will ever need them.
TEST_F(SharedFile, WhatWasWrittenToItAfterItsRemovalDoesNotWaitForTheStore) {
  share(Bytes(10, 'o'));
  ASSERT_OK(a_->unlink(kRootIno, "f"));
  publish(*a_, none_);
  ASSERT_OK(a_->write(ino_, 0, Bytes(300'000, 'h'), false));
  ASSERT_OK(a_->sync_file(ino_));
  EXPECT_GT(a_->counters().pending_bytes, 0u);
  EXPECT_FALSE(exchange_.publish(*a_, none_).has_value());
  EXPECT_EQ(a_->counters().pending_files, 0u);
  EXPECT_EQ(a_->counters().pending_bytes, 0u);
  a_->forget(ino_);
  EXPECT_FALSE(exchange_.publish(*a_, none_).has_value());
  EXPECT_EQ(a_->counters().pending_bytes, 0u);
}

TEST(Replica, CountsTheFilesThatNoRecordHas) {
  TempDir dir;
  TestVolume volume;
  TAKE(auto replica, volume.open(dir.path()));
  ASSERT_OK(replica->make_root());
  std::vector<Ino> files;
  for (int i = 0; i < 5; ++i) files.push_back(make_file(*replica, kRootIno, std::to_string(i)));
  Exchange exchange;
  Packs packs;
  EXPECT_EQ(replica->counters().pending_files, 6u);  // the root, too
  ASSERT_TRUE(exchange.publish(*replica, packs).has_value());
  EXPECT_EQ(replica->counters().pending_files, 0u);
  std::mt19937_64 rng(1);
  auto change = [&](size_t from, size_t to) {
    for (size_t i = from; i < to; ++i) {
      ASSERT_OK(replica->write(files[i], 0, random_content(rng, 100), false));
      ASSERT_OK(replica->sync_file(files[i]));
    }
  };
  change(0, 3);
  EXPECT_EQ(replica->counters().pending_files, 3u);
  ASSERT_OK(replica->freeze());
  EXPECT_EQ(replica->counters().pending_files, 3u);
  change(2, 5);
  ASSERT_OK(replica->freeze());
  EXPECT_EQ(replica->counters().pending_files, 5u);
  ASSERT_OK(replica->close());
  replica.reset();
  TAKE(replica, volume.open(dir.path()));
  EXPECT_GE(replica->counters().pending_files, 5u);
  ASSERT_TRUE(exchange.publish(*replica, packs).has_value());
  EXPECT_EQ(replica->counters().pending_files, 0u);
}

TEST(Replica, AFullDiskRefusesAndLosesNothing) {
  TempDir dir;
  TestVolume volume;
  auto replica = volume.open(dir.path());
  ASSERT_OK(replica);
  ASSERT_OK((*replica)->make_root());
  Ino ino = make_file(**replica, kRootIno, "f");
  ASSERT_OK((*replica)->write(ino, 0, Bytes(1000, 1), false));
  arm_failpoints("pack.append=enospc");
  auto synced = (*replica)->sync_file(ino);
  ASSERT_FALSE(synced.has_value());
  EXPECT_EQ(synced.error().code(), Code::kNoSpace);
  arm_failpoints("");
  ASSERT_OK((*replica)->sync_file(ino));
  EXPECT_EQ(read_all(**replica, ino)->size(), 1000u);
}

TEST(Replica, ManyThreadsAtOnce) {
  TempDir dir;
  TestVolume volume;
  auto opened = volume.open(dir.path());
  ASSERT_OK(opened);
  Replica& replica = **opened;
  ASSERT_OK(replica.make_root());
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 rng(static_cast<uint64_t>(t));
      for (int i = 0; i < 150; ++i) {
        std::string name = std::to_string(t) + "-" + std::to_string(i);
        Ino ino = make_file(replica, kRootIno, name);
        Bytes data = random_content(rng, 1 + rng() % 200'000);
        EXPECT_TRUE(replica.write(ino, 0, data, false).has_value());
        if (i % 7 == 0) {
          EXPECT_TRUE(replica.sync_file(ino).has_value());
        }
        EXPECT_TRUE(*read_all(replica, ino) == data);
        if (i % 3 == 0) {
          EXPECT_TRUE(replica.unlink(kRootIno, name).has_value());
          replica.forget(ino);
        }
      }
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i < 5; ++i) {
      auto frozen = replica.freeze();
      EXPECT_TRUE(frozen.has_value());
      std::this_thread::yield();
    }
  });
  threads.clear();
  expect_sound(replica);
  ASSERT_OK(replica.close());
}

}  // namespace
}  // namespace coffer
