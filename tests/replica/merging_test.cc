// Merges ahead of the lock (fs/replica/merging.cc), with work between their rounds: a failpoint that each round passes plays
// it, and looks at what is there. What comes out is what comes out of a merge under the lock.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <string>

#include "base/clock.h"
#include "base/failpoint.h"
#include "fs/replica/replica.h"
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

constexpr size_t kUnderTheLock = std::numeric_limits<size_t>::max(), kAhead = 0;

// Two machines that share a tree; then both change it, and `a` gets what `b` did.
class Pair {
 public:
  explicit Pair(size_t merge_at_once) : ahead_(merge_at_once == kAhead) {
    clock_.set_wall({1'700'000'000'000'000'000});
    a_ = open(dir_a_, "a", merge_at_once);
    b_ = open(dir_b_, "b", kUnderTheLock);
    must(a_->make_root());
    docs_ = make(*a_, kRootIno, "docs", FileType::kDirectory);
    for (int i = 0; i < 20; ++i) write(make(*a_, docs_, "f" + std::to_string(i)), "old");
    auto record = publish(*a_);
    EXPECT_TRUE(record.has_value());
    first_ = record.value_or(OrderedRecord{});
    Exchange::receive(*b_, first_, packs_);
  }
  ~Pair() { arm_failpoints(""); }
  Replica& a() { return *a_; }
  Replica& b() { return *b_; }
  Ino docs() const { return docs_; }
  const OrderedRecord& first() const { return first_; }  // by which both have the same

  static void must(const auto& result) { ASSERT_TRUE(result.has_value()) << result.error().what(); }
  static Ino make(Replica& r, Ino dir, const std::string& name, FileType type = FileType::kRegular) {
    auto node = r.make(dir, name, {type, type == FileType::kDirectory ? 0755u : 0644u, 0, 0, 0, ""});
    EXPECT_TRUE(node.has_value()) << name << ": " << node.error().what();
    return node ? node->ino : 0;
  }
  static Ino find(Replica& r, Ino dir, const std::string& name) {
    auto node = r.lookup(dir, name);
    return node ? node->ino : 0;
  }
  void write(Ino ino, const std::string& text) { write(*a_, ino, text); }
  static void write(Replica& r, Ino ino, const std::string& text) { must(r.write(ino, 0, to_bytes(text), false)); }
  static std::string read(Replica& r, Ino ino) {
    Bytes out(100);
    auto outcome = r.read(ino, 0, out);
    EXPECT_TRUE(outcome.has_value()) << outcome.error().what();
    if (!outcome) return "";
    EXPECT_TRUE(outcome->missing.empty());
    out.resize(outcome->bytes);
    return std::string(as_string(out));
  }

  void pass_on(Replica& from, Replica& to) {
    if (auto record = publish(from)) Exchange::receive(to, *record, packs_);
  }
  std::optional<OrderedRecord> publish(Replica& from) { return exchange_.publish(from, packs_); }
  // `meanwhile` happens between the rounds, with the round's number; or before, when all is done under the lock.
  Result<model::Applied> receive(const OrderedRecord& record, const std::function<void(int)>& meanwhile) {
    const auto places = take_packs();
    play(meanwhile);
    return a_->apply(std::span(&record, 1), places, {});
  }
  std::vector<std::pair<ObjectId, PackPlace>> take_packs() {
    std::vector<std::pair<ObjectId, PackPlace>> places;
    for (const auto& [id, bytes] : packs_) {
      places.emplace_back(id, PackPlace{"obj/" + id.str(), 0, bytes.size()});
      must(a_->packs().store_range(id, 0, bytes));
    }
    return places;
  }
  void play(const std::function<void(int)>& meanwhile) {
    rounds_ = 0;
    if (!ahead_) {
      for (; rounds_ < 2; ++rounds_) meanwhile(rounds_);
      return;
    }
    arm_failpoint("replica.merged_ahead", [this, meanwhile]() -> Result<void> {
      meanwhile(rounds_++);
      return {};
    });
  }
  int rounds() const { return rounds_; }

  // Every name, with what it leads to; the versions of a hard link by their contents.
  static std::string tree(Replica& r, Ino dir = kRootIno, const std::string& at = "") {
    std::map<std::string, std::string> lines;
    auto nodes = r.list_nodes(dir, 0, 10'000);
    EXPECT_TRUE(nodes.has_value());
    for (const auto& n : *nodes) {
      const model::Inode& inode = n.node.inode;
      std::string& line = lines[n.name];
      line = at + n.name + " mode " + std::to_string(inode.mode) + " links " + std::to_string(inode.nlink);
      auto xattrs = r.list_xattrs(n.node.ino);
      EXPECT_TRUE(xattrs.has_value());
      for (const model::Xattr& x : *xattrs) line += " " + x.name + "=" + std::string(as_string(x.value));
      line += inode.is_directory() ? "\n" + tree(r, n.node.ino, at + n.name + "/") : ": " + read(r, n.node.ino) + "\n";
    }
    std::string out;
    for (const auto& [name, line] : lines) out += line;
    return out;
  }
  static void expect_sound(Replica& r) {
    auto faults = r.find_faults();
    must(faults);
    for (const std::string& f : *faults) ADD_FAILURE() << f;
  }
  void reopen() {
    a_.reset();
    a_ = open(dir_a_, "a", ahead_ ? kAhead : kUnderTheLock);
  }

 private:
  std::unique_ptr<Replica> open(const TempDir& dir, const std::string& name, size_t merge_at_once) {
    Replica::Options options;
    options.clock = &clock_;
    options.device_name = name;
    options.merge_at_once = merge_at_once;
    auto opened = volume_.open(dir.path(), options);
    EXPECT_TRUE(opened.has_value()) << opened.error().what();
    return opened ? std::move(*opened) : nullptr;
  }

  const bool ahead_;
  FakeClock clock_;
  TempDir dir_a_, dir_b_;
  TestVolume volume_;
  Exchange exchange_;
  Packs packs_;
  std::unique_ptr<Replica> a_, b_;
  OrderedRecord first_;
  Ino docs_ = 0;
  int rounds_ = 0;
};

// A bit of everything that can meet.
void work_elsewhere(Pair& p) {
  Replica& b = p.b();
  for (int i : {0, 1, 2, 3, 14, 15}) Pair::write(b, Pair::find(b, p.docs(), "f" + std::to_string(i)), "news");
  for (int i : {4, 5, 16}) Pair::must(b.unlink(p.docs(), "f" + std::to_string(i)));
  for (int i : {6, 7, 17})
    Pair::must(b.rename(p.docs(), "f" + std::to_string(i), kRootIno, "moved by b" + std::to_string(i),
                        model::RenameMode::kReplace));
  Pair::write(b, Pair::make(b, p.docs(), "same"), "b's");
  Pair::write(b, Pair::make(b, Pair::make(b, p.docs(), "both made", FileType::kDirectory), "b's"), "inner");
  Pair::must(b.set_xattr(Pair::find(b, p.docs(), "f8"), "user.b", to_bytes(std::string("1")), model::XattrMode::kAny));
}

void work_before(Pair& p) {
  Replica& a = p.a();
  p.write(Pair::find(a, p.docs(), "f0"), "mine");
  p.write(Pair::find(a, p.docs(), "f4"), "mine");
  Pair::must(a.unlink(p.docs(), "f1"));
  Pair::must(a.rename(p.docs(), "f6", p.docs(), "moved by a", model::RenameMode::kReplace));
  p.write(Pair::make(a, p.docs(), "same"), "a's");
  p.write(Pair::make(a, p.docs(), "before"), "1");
  Pair::must(a.link(Pair::find(a, p.docs(), "f9"), kRootIno, "link"));
}

void work_meanwhile(Pair& p, int round) {
  Replica& a = p.a();
  if (round == 0) {
    p.write(Pair::find(a, p.docs(), "f0"), "mine, again");
    p.write(Pair::find(a, p.docs(), "f2"), "mine, meanwhile");
    Pair::must(a.unlink(p.docs(), "f3"));
    p.write(Pair::find(a, p.docs(), "f5"), "mine, meanwhile");
    Pair::must(a.rename(p.docs(), "f7", p.docs(), "moved meanwhile", model::RenameMode::kReplace));
    Pair::must(a.rename(p.docs(), "before", p.docs(), "f10", model::RenameMode::kReplace));
    p.write(Pair::make(a, Pair::make(a, p.docs(), "both made", FileType::kDirectory), "a's"), "inner");
    Pair::must(
        a.set_xattr(Pair::find(a, p.docs(), "f8"), "user.a", to_bytes(std::string("2")), model::XattrMode::kAny));
    Pair::must(a.link(Pair::find(a, p.docs(), "f15"), kRootIno, "link to what news changes"));
    const Ino many = Pair::make(a, kRootIno, "many", FileType::kDirectory);  // so that there is another round
    for (int i = 0; i < 100; ++i) p.write(Pair::make(a, many, std::to_string(i)), "m");
  } else if (round == 1) {
    p.write(Pair::find(a, p.docs(), "f2"), "mine, the third time");
    Pair::must(a.unlink(p.docs(), "f14"));
    Pair::must(a.rename(p.docs(), "f16", kRootIno, "many", model::RenameMode::kNoReplace).has_value()
                   ? Result<void>(fail(Code::kInternal, "a name was given twice"))
                   : Result<void>());
    Pair::must(a.rename(p.docs(), "f17", p.docs(), "f18", model::RenameMode::kExchange));
    Pair::must(a.unlink(kRootIno, "link"));
  }
}

TEST(Merging, ComesToTheSameAsUnderTheLock) {
  std::string trees[2], others[2];
  for (size_t how : {kUnderTheLock, kAhead}) {
    SCOPED_TRACE(how == kAhead ? "ahead" : "under the lock");
    Pair p(how);
    work_elsewhere(p);
    auto news = p.publish(p.b());
    ASSERT_TRUE(news.has_value());
    work_before(p);
    Pair::must(p.receive(*news, [&p, how](int round) {
      // Whoever looks sees what there was, whole.
      EXPECT_EQ(Pair::read(p.a(), Pair::find(p.a(), p.docs(), "f15")), "old");
      EXPECT_EQ(Pair::find(p.a(), kRootIno, "moved by b17"), 0u);
      work_meanwhile(p, round);
    }));
    EXPECT_GE(p.rounds(), 2);
    Pair::expect_sound(p.a());
    EXPECT_EQ(Pair::read(p.a(), Pair::find(p.a(), p.docs(), "f15")), "news");
    trees[how == kAhead] = Pair::tree(p.a());
    arm_failpoints("");
    p.pass_on(p.a(), p.b());
    others[how == kAhead] = Pair::tree(p.b());
    EXPECT_EQ(Pair::tree(p.a()), Pair::tree(p.b()));
    Pair::expect_sound(p.b());
    p.reopen();
    EXPECT_EQ(Pair::tree(p.a()), trees[how == kAhead]);
    Pair::expect_sound(p.a());
  }
  EXPECT_EQ(trees[0], trees[1]);
  EXPECT_EQ(others[0], others[1]);
}

TEST(Merging, AReplayComesToTheSameAsUnderTheLock) {
  std::string trees[2];
  for (size_t how : {kUnderTheLock, kAhead}) {
    Pair p(how);
    work_elsewhere(p);
    auto news = p.publish(p.b());
    ASSERT_TRUE(news.has_value());
    const auto places = p.take_packs();
    work_before(p);
    p.play([&p](int round) { work_meanwhile(p, round); });
    std::vector<OrderedRecord> all{p.first(), *news};
    size_t given = 0;
    auto next = [&]() -> Result<std::optional<OrderedRecord>> {
      return given == all.size() ? std::optional<OrderedRecord>() : all[given++];
    };
    Pair::must(p.a().replay(next, p.first().stamp, places, {}));
    EXPECT_GE(p.rounds(), 2);
    Pair::expect_sound(p.a());
    trees[how == kAhead] = Pair::tree(p.a());
    p.reopen();
    EXPECT_EQ(Pair::tree(p.a()), trees[how == kAhead]);
  }
  EXPECT_EQ(trees[0], trees[1]);
}

// What somebody has open when the news comes is what it has become until then.
TEST(Merging, WhoeverHasItOpenGoesOnWithWhatHeWroteMeanwhile) {
  Pair p(kAhead);
  const Ino changed = Pair::find(p.a(), p.docs(), "f0"), removed = Pair::find(p.a(), p.docs(), "f1"),
            untouched = Pair::find(p.a(), p.docs(), "f2"), held = Pair::find(p.a(), p.docs(), "f3");
  for (Ino ino : {changed, untouched, held}) Pair::write(p.b(), ino, "news");
  Pair::must(p.b().unlink(p.docs(), "f1"));
  p.b().forget(removed);
  auto news = p.publish(p.b());
  ASSERT_TRUE(news.has_value());
  std::map<Ino, Ino> keepers;
  p.a().on_supersede([&](Ino ino, Ino keeper) {
    EXPECT_TRUE(keepers.emplace(ino, keeper).second) << ino;
    return true;
  });
  p.write(Pair::make(p.a(), p.docs(), "pending"), "x");
  Pair::must(p.receive(*news, [&](int round) {
    EXPECT_TRUE(keepers.empty());
    if (round > 0) return;
    p.write(changed, "mine");
    p.write(removed, "mine, too");
    Pair::must(p.a().unlink(p.docs(), "f3"));  // and has it open
    p.write(held, "held");
  }));
  ASSERT_TRUE(keepers.contains(changed));
  EXPECT_EQ(Pair::read(p.a(), keepers[changed]), "mine");
  EXPECT_EQ(Pair::read(p.a(), changed), "news");
  ASSERT_TRUE(keepers.contains(untouched));
  EXPECT_EQ(Pair::read(p.a(), keepers[untouched]), "old");
  EXPECT_EQ(Pair::read(p.a(), removed), "mine, too");  // removed there, changed here: it stays
  ASSERT_TRUE(keepers.contains(held));                 // changed there, removed here: it stays, and its holder has his
  EXPECT_EQ(Pair::read(p.a(), keepers[held]), "held");
  EXPECT_EQ(Pair::read(p.a(), held), "news");
  Pair::expect_sound(p.a());
}

// The kernel is told of a name that was taken away here while news did something else with what it led to.
TEST(Merging, TellsOfNamesThatWereOthersMeanwhile) {
  Pair p(kAhead);
  Pair::write(p.b(), Pair::find(p.b(), p.docs(), "f0"), "news");
  auto news = p.publish(p.b());
  ASSERT_TRUE(news.has_value());
  p.write(Pair::make(p.a(), p.docs(), "pending"), "x");
  auto applied = p.receive(*news, [&](int round) {
    if (round == 0) Pair::must(p.a().unlink(p.docs(), "f0"));
  });
  ASSERT_TRUE(applied.has_value());
  EXPECT_EQ(Pair::read(p.a(), Pair::find(p.a(), p.docs(), "f0")), "news");
  bool told = false;
  for (const model::Name& name : applied->touch.names) told |= name.dir == p.docs() && name.name == "f0";
  EXPECT_TRUE(told);
}

// A position in a directory that somebody has reached is of one entry only.
TEST(Merging, NoCookieIsGivenOutTwice) {
  Pair p(kAhead);
  Pair::make(p.b(), p.docs(), "theirs");
  auto news = p.publish(p.b());
  ASSERT_TRUE(news.has_value());
  Pair::make(p.a(), p.docs(), "pending");
  std::map<uint64_t, std::string> seen;
  auto look = [&] {
    auto listed = p.a().list(p.docs(), 0, 1000);
    ASSERT_TRUE(listed.has_value());
    for (const auto& e : *listed) {
      auto [it, fresh] = seen.emplace(e.cookie, e.entry.name);
      EXPECT_EQ(it->second, e.entry.name) << e.cookie;
    }
  };
  Pair::must(p.receive(*news, [&](int round) {
    if (round > 0) return;
    for (const char* name : {"x", "y", "z"}) Pair::make(p.a(), p.docs(), name);
    look();
  }));
  look();
  EXPECT_NE(Pair::find(p.a(), p.docs(), "theirs"), 0u);
}

// What was cut off by a merge that failed is pending still, and what was described before is described anew.
TEST(Merging, OneThatFailsLeavesWhatIsPending) {
  Pair p(kAhead);
  work_elsewhere(p);
  auto news = p.publish(p.b());
  ASSERT_TRUE(news.has_value());
  work_before(p);
  auto frozen = p.a().freeze();
  ASSERT_TRUE(frozen.has_value() && frozen->has_value());
  p.write(Pair::find(p.a(), p.docs(), "f0"), "since then");
  const std::string before = Pair::tree(p.a());
  arm_failpoints("replica.merged_ahead=error");
  std::vector<std::pair<ObjectId, PackPlace>> none;
  EXPECT_CODE(Code::kIo, p.a().apply(std::span(&*news, 1), none, {}));
  arm_failpoints("");
  EXPECT_EQ(Pair::tree(p.a()), before);
  p.write(Pair::find(p.a(), p.docs(), "f12"), "and later");
  OrderedRecord record;
  record.stamp = 100;
  EXPECT_CODE(Code::kStale, p.a().publish(**frozen, record, "log/x", Bytes{1}));
  p.reopen();
  EXPECT_EQ(Pair::read(p.a(), Pair::find(p.a(), p.docs(), "f12")), "and later");
  Pair::must(p.receive(*news, [](int) {}));
  Pair::expect_sound(p.a());
  p.pass_on(p.a(), p.b());
  EXPECT_EQ(Pair::tree(p.a()), Pair::tree(p.b()));
  EXPECT_EQ(Pair::read(p.b(), Pair::find(p.b(), p.docs(), "f12")), "and later");
}

// What publishing leaves for others was found when the changes were described; what was done here since goes on from there,
// also when it is undone, alone or with what was published.
TEST(Publishing, GoesOnFromWhatWasDoneSinceItWasDescribed) {
  for (int files : {3, -3, 700, -700}) {  // a few rows, and many; negative: news sorts before what is published
    SCOPED_TRACE(files);
    const bool comes_before = files < 0;
    files = std::abs(files);
    Pair p(kUnderTheLock);
    const Ino many = Pair::make(p.a(), kRootIno, "many", FileType::kDirectory);
    std::vector<Ino> inos;
    for (int i = 0; i < files; ++i) inos.push_back(Pair::make(p.a(), many, std::to_string(i)));
    p.pass_on(p.a(), p.b());
    for (int i : {0, 1, 2}) Pair::write(p.b(), inos[static_cast<size_t>(i)], "news");
    auto news = p.publish(p.b());
    ASSERT_TRUE(news.has_value());
    const auto places = p.take_packs();

    p.write(inos[2], "mine");
    for (int i = 0; i < files; ++i)
      if (i != 2) Pair::must(p.a().unlink(many, std::to_string(i)));
    auto frozen = p.a().freeze();
    ASSERT_TRUE(frozen.has_value() && frozen->has_value());
    for (Ino ino : inos)
      if (ino != inos[2]) p.a().forget(ino);
    p.write(inos[2], "mine, again");
    Pair::must(p.a().sync_all(true));
    OrderedRecord record;
    record.stamp = news->stamp;
    (comes_before ? record : *news).stamp += 1;
    record.log.bytes[0] = 1;
    record.number = 1;
    record.author.record.bytes[0] = 2;
    record.author.device = "a";
    record.changes = (*frozen)->changes;
    Pair::must(p.a().publish(**frozen, record, "log/x", Bytes{1}));
    Pair::must(p.a().uploaded("log/x"));
    Pair::expect_sound(p.a());
    EXPECT_EQ(Pair::read(p.a(), inos[2]), "mine, again");

    Pair::must(p.a().apply(std::span(&*news, 1), places, {}));
    Pair::expect_sound(p.a());
    EXPECT_EQ(Pair::read(p.a(), inos[0]), "news");  // changed there, removed here
    EXPECT_EQ(Pair::read(p.a(), inos[1]), "news");
    EXPECT_EQ(Pair::read(p.a(), inos[2]), comes_before ? "news" : "mine, again");
    EXPECT_EQ(p.a().list(many, 0, 10)->size(), 4u);  // and the copy
    p.reopen();
    Pair::expect_sound(p.a());
    EXPECT_EQ(p.a().list(many, 0, 10)->size(), 4u);
  }
}

// When the state as it was is lost to those who read it, since too much has changed, the merge is made under the lock.
TEST(Merging, TooMuchWorkMeanwhileLeavesItToTheLock) {
  Pair p(kAhead);
  work_elsewhere(p);
  auto news = p.publish(p.b());
  ASSERT_TRUE(news.has_value());
  work_before(p);
  std::vector<std::pair<ObjectId, PackPlace>> none;
  bool came = false;
  arm_failpoint("replica.merged_ahead", [&came] {
    came = true;
    return Result<void>(fail(Code::kUnavailable, "too much"));
  });
  Pair::must(p.a().apply(std::span(&*news, 1), none, {}));
  EXPECT_TRUE(came);
  EXPECT_NE(Pair::find(p.a(), kRootIno, "moved by b17"), 0u);
  Pair::expect_sound(p.a());
}

}  // namespace
}  // namespace coffer
