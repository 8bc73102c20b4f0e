// Transactions, before-images and undoing.
#include <gtest/gtest.h>

#include "tests/model/machine.h"
#include "tests/model/random_ops.h"

namespace coffer::model {
namespace {

Bytes bytes(const char* s) { return to_bytes(std::string_view(s)); }

TEST(Transaction, ReadsItsOwnPuts) {
  MapRows base;
  base.put(inode_key(1), bytes("a"));
  base.put(inode_key(3), bytes("c"));
  Touched touched(1);
  Transaction tx(base, touched);
  tx.put(inode_key(2), bytes("b"));
  tx.erase(inode_key(3));
  tx.put(inode_key(4), bytes("d"));
  EXPECT_EQ(*must(tx.get(inode_key(2))), bytes("b"));
  EXPECT_FALSE(must(tx.get(inode_key(3))));
  std::string at = "I";
  std::string seen;
  while (auto row = must(tx.next("I", at))) {
    seen += as_string(row->value);
    at = row->key;
  }
  EXPECT_EQ(seen, "abd");
  EXPECT_FALSE(must(base.get(inode_key(2))));
}

TEST(Transaction, WalksOverErasedRowsOfBoth) {
  MapRows base;
  for (uint64_t i = 1; i <= 20; ++i) base.put(inode_key(i), bytes("x"));
  Touched touched(1);
  Transaction tx(base, touched);
  for (uint64_t i = 1; i <= 20; ++i)
    if (i != 7 && i != 20) tx.erase(inode_key(i));
  tx.put(inode_key(30), bytes("y"));
  tx.erase(inode_key(30));
  EXPECT_EQ(must(tx.next("I", "I"))->key, inode_key(7).bytes);
  EXPECT_EQ(must(tx.next("I", inode_key(7).bytes))->key, inode_key(20).bytes);
  EXPECT_FALSE(must(tx.next("I", inode_key(20).bytes)));
  EXPECT_FALSE(must(tx.next("Z", "Z")));
}

TEST(Transaction, DroppedChangesNothing) {
  MapRows base;
  Touched touched(1);
  {
    Transaction tx(base, touched);
    tx.put(inode_key(2), bytes("b"));
  }
  EXPECT_TRUE(base.rows.empty());
  EXPECT_EQ(touched.size(), 0u);
}

TEST(Transaction, KeepsTheFirstBeforeImageOfAGeneration) {
  MapRows base;
  base.put(inode_key(1), bytes("old"));
  Touched touched(7);
  Transaction tx(base, touched);
  tx.put(inode_key(1), bytes("new"));
  tx.put(name_key(1, "x"), bytes("not tracked"));
  base.apply(must(tx.take()));
  EXPECT_TRUE(tx.empty());
  tx.put(inode_key(1), bytes("newer"));
  tx.put(xattr_key(2), bytes("more"));
  base.apply(must(tx.take()));
  auto history = must(history_of(base, 7));
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[0].key, inode_key(1));
  EXPECT_EQ(*history[0].before, bytes("old"));
  EXPECT_FALSE(history[1].before);
  EXPECT_EQ(*touched.index_of(xattr_key(2)), 1u);
  EXPECT_EQ(must(before_image(base, 7, 0)).key, inode_key(1));
  Touched loaded = must(Touched::load(base, 7));
  EXPECT_EQ(loaded.size(), 2u);
  EXPECT_EQ(*loaded.index_of(xattr_key(2)), 1u);
}

TEST(Transaction, ForgetsWhatCameAndWent) {
  MapRows base;
  Touched touched(1);
  Transaction tx(base, touched);
  tx.put(inode_key(5), bytes("x"));
  tx.erase(inode_key(5));
  base.apply(must(tx.take()));
  EXPECT_EQ(touched.size(), 0u);
  EXPECT_TRUE(base.rows.empty());
}

TEST(History, AMissingRowIsCorrupt) {
  MapRows base;
  base.put(history_key(1, 1), encode(HistoryEntry{inode_key(1), std::nullopt}));
  EXPECT_EQ(history_of(base, 1).error().code(), Code::kCorrupt);
}

TEST(History, DropForgets) {
  MapRows base;
  Touched touched(1);
  Transaction tx(base, touched);
  for (uint64_t i = 1; i <= 5; ++i) tx.put(inode_key(i), bytes("x"));
  base.apply(must(tx.take()));
  PlainTransaction plain(base);
  must(drop_history(plain, 1));
  base.apply(plain.take());
  EXPECT_TRUE(must(history_of(base, 1)).empty());
  EXPECT_EQ(base.rows.size(), 5u);
}

// The rows without history, and with next_cookie, which never goes back, left out.
std::map<std::string, Bytes> comparable(const MapRows& rows) {
  std::map<std::string, Bytes> out;
  for (auto& [key, value] : rows.rows) {
    if (kind_of(key) == RowKind::kHistory) continue;
    Bytes v = value;
    if (kind_of(key) == RowKind::kInode) {
      Inode i = must(decode_inode(value));
      if (i.is_directory()) i.next_cookie = kFirstCookie;
      v = encode(i);
    }
    out.emplace(key, std::move(v));
  }
  return out;
}

// Random operations in a generation, undone: the state is exactly what it was.
TEST(Undo, RestoresEveryRow) {
  for (uint64_t seed = 1; seed <= 600; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomOps ops(seed);
    Machine m(1);
    must(m.run([&](Rows& rows) -> Result<void> {
      make_root(rows, 0755, 0, 0, m.now());
      return {};
    }));
    MapRows& rows = m.rows();
    std::vector<std::map<std::string, Bytes>> states;
    const int generations = 1 + static_cast<int>(ops.below(4));
    for (int g = 0; g < generations; ++g) {
      m.freeze();
      states.push_back(comparable(rows));
      for (uint64_t k = 1 + ops.below(25); k > 0; --k) ops.step(m);
    }
    Generation last = 0;
    for (auto& [key, value] : rows.rows)
      if (kind_of(key) == RowKind::kHistory) last = std::max(last, must(parse_first(RowKind::kHistory, key)));
    // Generations without any change have no number of their own.
    for (; last > 1; --last) {
      PlainTransaction plain(rows);
      must(undo(plain, last));
      rows.apply(plain.take());
      std::map<std::string, Bytes> now = comparable(rows);
      bool met = false;
      for (auto& s : states) met |= s == now;
      EXPECT_TRUE(met) << "generation " << last;
      m.check();
      if (::testing::Test::HasFailure()) return;
    }
    EXPECT_EQ(comparable(rows), states[0]);
  }
}

TEST(Undo, KeepsTheGreaterCookie) {
  Machine m(1);
  must(m.run([&](Rows& rows) -> Result<void> {
    make_root(rows, 0755, 0, 0, m.now());
    return {};
  }));
  m.freeze();
  m.make("a");
  m.make("b");
  const uint64_t next = m.inode("").next_cookie;
  must(undo(m.rows(), 2));
  EXPECT_EQ(m.inode("").next_cookie, next);
  EXPECT_TRUE(m.names().empty());
}

TEST(Undo, PutsTheLinkOfAnOtherNameBack) {
  Machine m(1);
  must(m.run([&](Rows& rows) -> Result<void> {
    make_root(rows, 0755, 0, 0, m.now());
    return {};
  }));
  m.make("home");
  m.link("home", "other");
  m.freeze();
  m.remove("home");  // the other becomes its home
  must(undo(m.rows(), 2));
  m.check();
  EXPECT_EQ(must(names_of(m.rows(), m.at("home"))).size(), 2u);
}

}  // namespace
}  // namespace coffer::model
