#include "cache/table.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "cache/row_codec.h"
#include "tests/cache/fixture.h"

namespace coffer {
namespace {

using namespace test;

RowKey hidden_key(std::string bytes, size_t clear) { return {std::move(bytes), clear}; }

class TableTest : public CacheTest {
 protected:
  TableTest() { reopen(); }

  void reopen() {
    table_.reset();
    auto table = Table::open(dir_.path(), volume_, local_);
    if (!table) {
      ADD_FAILURE() << table.error().what();
      std::abort();
    }
    table_ = std::move(*table);
  }
  void put(RowKey key, std::string_view value) { apply({{std::move(key), to_bytes(value)}}); }
  void erase(RowKey key) { apply({{std::move(key), std::nullopt}}); }
  void apply(std::vector<RowPut> puts) { table_->apply(puts, ++lsn_); }
  void commit() {
    table_->freeze();
    ASSERT_OK(table_->commit_frozen());
  }
  std::optional<std::string> get(const RowKey& key) {
    auto r = table_->get(key);
    EXPECT_TRUE(r.has_value()) << r.error().what();
    if (!r || !*r) return std::nullopt;
    return std::string(as_string(**r));
  }
  // The keys of a scan.
  std::vector<std::string> scan(std::string_view prefix, std::string after = "") {
    std::vector<std::string> keys;
    for (;;) {
      auto r = table_->next(prefix, after);
      EXPECT_TRUE(r.has_value()) << r.error().what();
      if (!r || !*r) return keys;
      keys.push_back(after = (*r)->key);
    }
  }

  std::unique_ptr<Table> table_;
  Lsn lsn_ = 0;
};

using Keys = std::vector<std::string>;

TEST_F(TableTest, PutGetEraseInEveryPlace) {
  const RowKey a = clear_key("a"), b = hidden_key("b/a secret name", 2), c = hidden_key("secret", 0);
  for (const RowKey& key : {a, b, c}) {
    EXPECT_EQ(get(key), std::nullopt);
    put(key, "one");
    EXPECT_EQ(get(key), "one");
    table_->freeze();
    EXPECT_EQ(get(key), "one");
    put(key, "two");
    EXPECT_EQ(get(key), "two");
    ASSERT_OK(table_->commit_frozen());
    EXPECT_EQ(get(key), "two");
    commit();
    EXPECT_EQ(get(key), "two");
    reopen();
    EXPECT_EQ(get(key), "two");
    erase(key);
    EXPECT_EQ(get(key), std::nullopt);
    table_->freeze();
    EXPECT_EQ(get(key), std::nullopt);
    put(key, "three");
    EXPECT_EQ(get(key), "three");
    ASSERT_OK(table_->commit_frozen());
    EXPECT_EQ(get(key), "three");
    erase(key);
    commit();
    EXPECT_EQ(get(key), std::nullopt);
  }
}

TEST_F(TableTest, LaterPutsOfOneBatchWin) {
  apply({{clear_key("k"), to_bytes("1")}, {clear_key("k"), std::nullopt}, {clear_key("k"), to_bytes("2")}});
  EXPECT_EQ(get(clear_key("k")), "2");
  apply({{clear_key("k"), to_bytes("3")}, {clear_key("k"), std::nullopt}});
  EXPECT_EQ(get(clear_key("k")), std::nullopt);
}

TEST_F(TableTest, EmptyAndLargeValues) {
  std::string large(5 << 20, 'v');
  put(clear_key("empty"), "");
  put(clear_key("large"), large);
  put(clear_key("zeros"), std::string(100, '\0'));
  put(clear_key(std::string(kMaxStoredKey, 'k')), "longest key");
  put(hidden_key(std::string(3000, 'h'), kMaxStoredKey - 16), "longest hidden key");
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(get(clear_key("empty")), "");
    EXPECT_EQ(get(clear_key("large")), large);
    EXPECT_EQ(get(clear_key("zeros")), std::string(100, '\0'));
    EXPECT_EQ(get(clear_key(std::string(kMaxStoredKey, 'k'))), "longest key");
    EXPECT_EQ(get(hidden_key(std::string(3000, 'h'), kMaxStoredKey - 16)), "longest hidden key");
    EXPECT_EQ(scan("", std::string(kMaxStoredKey, 'k')), (Keys{"large", "zeros"}));
    EXPECT_EQ(scan(std::string(600, 'k')), Keys{});
    commit();
  }
}

TEST_F(TableTest, LsnAndFreeze) {
  EXPECT_EQ(table_->freeze(), std::nullopt);
  EXPECT_OK(table_->commit_frozen());
  put(clear_key("a"), "1");
  EXPECT_EQ(table_->freeze(), 1u);
  put(clear_key("b"), "1");
  EXPECT_EQ(table_->freeze(), 1u) << "the earlier part is not committed";
  EXPECT_EQ(table_->committed_lsn(), 0u);
  EXPECT_OK(table_->commit_frozen());
  EXPECT_EQ(table_->committed_lsn(), 1u);
  EXPECT_EQ(table_->freeze(), 2u);
  EXPECT_OK(table_->commit_frozen());
  EXPECT_EQ(table_->freeze(), std::nullopt);
  // An entry without rows still moves the line, so that the journal can be released.
  apply({});
  EXPECT_EQ(table_->freeze(), 3u);
  EXPECT_OK(table_->commit_frozen());
  reopen();
  EXPECT_EQ(table_->committed_lsn(), 3u);
  EXPECT_EQ(table_->freeze(), std::nullopt);
}

TEST_F(TableTest, CountsUncommittedBytes) {
  EXPECT_EQ(table_->uncommitted_bytes(), 0u);
  put(clear_key("a"), std::string(1000, 'x'));
  size_t one = table_->uncommitted_bytes();
  EXPECT_GT(one, 1000u);
  put(clear_key("a"), std::string(1000, 'y'));
  EXPECT_EQ(table_->uncommitted_bytes(), one);
  table_->freeze();
  EXPECT_EQ(table_->uncommitted_bytes(), one);
  put(clear_key("a"), std::string(1000, 'z'));
  EXPECT_EQ(table_->uncommitted_bytes(), 2 * one);
  ASSERT_OK(table_->commit_frozen());
  EXPECT_EQ(table_->uncommitted_bytes(), one);
  commit();
  EXPECT_EQ(table_->uncommitted_bytes(), 0u);
}

// Many changes become a part of their own, between what was put before and after them; LMDB gets one part after the other.
TEST_F(TableTest, ManyChangesAtOnceAreAPartOfTheirOwn) {
  for (const char* k : {"a1", "a2", "a3"}) put(clear_key(k), "before");
  RowChanges many;
  for (const char* k : {"a2", "a4", "a5"}) many[k] = {2, to_bytes(std::string_view("many"))};
  many["a3"] = {2, std::nullopt};
  const size_t weight = Table::weigh(many), small = table_->uncommitted_bytes();
  table_->apply(std::move(many), weight, ++lsn_);
  EXPECT_EQ(table_->uncommitted_bytes(), small + weight);
  EXPECT_EQ(table_->uncommitted_small(), small);
  put(clear_key("a5"), "after");
  put(clear_key("a6"), "after");
  auto expect_all = [this] {
    EXPECT_EQ(scan("a"), (Keys{"a1", "a2", "a4", "a5", "a6"}));
    EXPECT_EQ(get(clear_key("a1")), "before");
    EXPECT_EQ(get(clear_key("a2")), "many");
    EXPECT_EQ(get(clear_key("a3")), std::nullopt);
    EXPECT_EQ(get(clear_key("a5")), "after");
  };
  expect_all();
  EXPECT_EQ(table_->freeze(), 3u);
  ASSERT_OK(table_->commit_frozen());
  EXPECT_EQ(table_->committed_lsn(), 3u);
  expect_all();
  EXPECT_EQ(table_->freeze(), 6u);
  ASSERT_OK(table_->commit_frozen());
  expect_all();
  EXPECT_EQ(table_->uncommitted_bytes(), 0u);
  reopen();
  expect_all();
}

TEST_F(TableTest, ManyChangesAreTakenWhileNothingIsCommitted) {
  for (int i = 0; i < 10; ++i) {
    put(clear_key("a" + std::to_string(i)), "single");
    RowChanges many;
    many["a" + std::to_string(i)] = {2, to_bytes(std::string_view("many"))};
    many["b" + std::to_string(i)] = {2, to_bytes(std::string_view("many"))};
    const size_t weight = Table::weigh(many);
    table_->apply(std::move(many), weight, ++lsn_);
  }
  auto expect_all = [this] {
    EXPECT_EQ(scan("a").size(), 10u);
    EXPECT_EQ(scan("b").size(), 10u);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(get(clear_key("a" + std::to_string(i))), "many");
  };
  expect_all();
  while (table_->freeze()) ASSERT_OK(table_->commit_frozen());
  EXPECT_EQ(table_->committed_lsn(), lsn_);
  expect_all();
  reopen();
  expect_all();
}

TEST_F(TableTest, NextMergesAllPlaces) {
  for (const char* k : {"a1", "a3", "a5", "a7", "b1"}) put(clear_key(k), "disk");
  put(hidden_key("a4 hidden", 2), "never walked");
  put(hidden_key("hidden", 0), "never walked");
  commit();
  for (const char* k : {"a2", "a5"}) put(clear_key(k), "frozen");
  put(hidden_key("a6 hidden", 2), "never walked");
  erase(clear_key("a3"));
  table_->freeze();
  put(clear_key("a6"), "active");
  put(clear_key("a3x"), "active");
  erase(clear_key("a2"));
  erase(clear_key("a7"));
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(scan("a"), (Keys{"a1", "a3x", "a5", "a6"}));
    EXPECT_EQ(scan("a", "a3"), (Keys{"a3x", "a5", "a6"}));
    EXPECT_EQ(scan("a", "a6"), Keys{});
    EXPECT_EQ(scan("a", "b"), Keys{});
    EXPECT_EQ(scan("b", "a"), Keys{"b1"});
    EXPECT_EQ(scan("c"), Keys{});
    EXPECT_EQ(scan(""), (Keys{"a1", "a3x", "a5", "a6", "b1"}));
    EXPECT_EQ(get(clear_key("a5")), "frozen");
    TAKE(auto row, table_->next("a", "a4"));
    ASSERT_TRUE(row.has_value());
    EXPECT_EQ(as_string(row->value), "frozen");
    if (round == 0) {
      ASSERT_OK(table_->commit_frozen());
    }
    if (round == 1) {
      commit();
    }
  }
}

// Against a std::map, through random batches, freezes, commits (some of which fail) and reopenings.
TEST_F(TableTest, ModelCheck) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    TempDir dir;
    std::mt19937_64 random(seed);
    struct State {
      std::map<std::string, std::pair<size_t, std::string>> rows;
      Lsn lsn = 0;
    };
    State model;
    std::map<Lsn, State> history;  // what a committed lsn must look like after a crash
    history[0] = model;
    std::unique_ptr<Table> table;
    auto open = [&] {
      table.reset();
      auto opened = Table::open(dir.path(), volume_, local_);
      ASSERT_TRUE(opened.has_value()) << opened.error().what();
      table = std::move(*opened);
    };
    open();
    auto random_key = [&] {
      std::string bytes(1, static_cast<char>('a' + random() % 3));
      bool hidden = random() % 3 == 0;
      bytes += hidden ? "/h" : "/c";
      for (size_t n = random() % 4; n-- > 0;) bytes.push_back(std::string_view("\0\1ab\377", 5)[random() % 5]);
      return hidden ? hidden_key(bytes + "!", 2) : clear_key(bytes);
    };
    auto check = [&] {
      for (int i = 0; i < 20; ++i) {
        RowKey key = random_key();
        auto r = table->get(key);
        ASSERT_TRUE(r.has_value()) << r.error().what();
        auto it = model.rows.find(key.bytes);
        ASSERT_EQ(r->has_value(), it != model.rows.end());
        if (*r) {
          ASSERT_EQ(as_string(**r), it->second.second);
        }
      }
      for (std::string prefix : {"", "a", "b/", "c/c", "a/ca"}) {
        std::string after = random() % 2 != 0 ? "" : random_key().bytes;
        auto it = model.rows.upper_bound(after);
        for (;;) {
          auto r = table->next(prefix, after);
          ASSERT_TRUE(r.has_value()) << r.error().what();
          while (it != model.rows.end() && (it->second.first != it->first.size() || !it->first.starts_with(prefix)))
            ++it;
          ASSERT_EQ(r->has_value(), it != model.rows.end());
          if (!*r) break;
          ASSERT_EQ((*r)->key, it->first);
          ASSERT_EQ(as_string((*r)->value), it->second.second);
          after = (*r)->key;
          ++it;
        }
      }
    };
    for (int step = 0; step < 400; ++step) {
      switch (random() % 10) {
        default: {
          std::vector<RowPut> puts;
          for (size_t n = random() % 12; n-- > 0;) {
            RowPut put{random_key(), std::nullopt};
            if (random() % 3 != 0) put.value = noise(random() % 8 == 0 ? random() % 9000 : random() % 60, random());
            puts.push_back(put);
          }
          table->apply(puts, ++model.lsn);
          for (const RowPut& put : puts) {
            model.rows.erase(put.key.bytes);
            if (put.value) model.rows[put.key.bytes] = {put.key.clear, std::string(as_string(*put.value))};
          }
          history[model.lsn] = model;
          break;
        }
        case 0:
          table->freeze();
          break;
        case 1: {
          if (random() % 4 == 0)
            arm_failpoints(random() % 2 != 0 ? "table.commit=enospc@1" : "table.commit.after=error@1");
          Lsn before = table->committed_lsn();
          if (!table->commit_frozen()) {
            EXPECT_EQ(table->committed_lsn(), before);
          }
          arm_failpoints("");
          break;
        }
        case 2: {
          if (random() % 4 != 0) break;
          open();
          model = history.at(table->committed_lsn());
          history.erase(history.upper_bound(model.lsn), history.end());
          break;
        }
        case 3:
          check();
          break;
      }
      if (HasFatalFailure()) return;
    }
    check();
  }
}

TEST_F(TableTest, FailedCommitStaysVisibleAndIsTriedAgain) {
  put(clear_key("a"), "1");
  table_->freeze();
  arm_failpoints("table.commit=enospc@1,table.commit.after=error@1");
  EXPECT_CODE(Code::kNoSpace, table_->commit_frozen());
  EXPECT_EQ(get(clear_key("a")), "1");
  EXPECT_CODE(Code::kIo, table_->commit_frozen());
  EXPECT_EQ(get(clear_key("a")), "1");
  EXPECT_EQ(table_->committed_lsn(), 0u);
  EXPECT_OK(table_->commit_frozen());
  EXPECT_EQ(table_->committed_lsn(), 1u);
  EXPECT_EQ(get(clear_key("a")), "1");
}

TEST_F(TableTest, OtherVolumeKeysOrFormatIsRefused) {
  put(clear_key("a"), "1");
  commit();
  table_.reset();
  EXPECT_CODE(Code::kCorrupt, Table::open(dir_.path(), fixed_id<VolumeId>(1), local_));
  const LocalKeys other(fixed_secret(0x11), fixed_secret(0x23).view());
  EXPECT_CODE(Code::kCorrupt, Table::open(dir_.path(), volume_, other));
  EXPECT_CODE(Code::kNotFound, Table::open(dir_.path() + "/nowhere", volume_, local_));
  EXPECT_OK(Table::open(dir_.path(), volume_, local_));
}

TEST_F(TableTest, DamagedFileIsCorruptNotACrash) {
  for (int i = 0; i < 200; ++i) put(clear_key("key " + std::to_string(i)), std::string(100, 'v'));
  commit();
  table_.reset();
  const std::string path = dir_.path() + "/data.mdb";
  const Bytes good = slurp(path);
  spill(path, BytesView(good).first(good.size() / 2));
  EXPECT_CODE(Code::kCorrupt, Table::open(dir_.path(), volume_, local_));
  spill(path, noise(good.size(), 1));
  EXPECT_CODE(Code::kCorrupt, Table::open(dir_.path(), volume_, local_));
  // A flipped bit of a sealed value: that row fails, the others are there.
  const std::string known = "key 77";
  Bytes bad = good;
  size_t hits = 0;
  for (auto it = bad.begin(); (it = std::search(it, bad.end(), known.begin(), known.end())) != bad.end(); ++it) {
    it[static_cast<long>(known.size()) + 60] ^= 1;
    ++hits;
  }
  ASSERT_GT(hits, 0u);
  spill(path, bad);
  reopen();
  EXPECT_CODE(Code::kCorrupt, table_->get(clear_key(known)));
  EXPECT_CODE(Code::kCorrupt, table_->next("key 77", "key 76"));
  EXPECT_EQ(get(clear_key("key 78")), std::string(100, 'v'));
}

TEST_F(TableTest, RowsAreBoundToTheirKeyAndVolume) {
  const RowKey key = clear_key("k");
  Bytes sealed(sealed_row_size(1, 5)), plain;
  seal_row(local_, volume_, as_bytes("k"), "k", as_bytes("value"), sealed);
  TAKE(OpenedRow row, open_row(local_, volume_, as_bytes("k"), sealed, plain));
  EXPECT_EQ(as_string(row.value), "value");
  EXPECT_CODE(Code::kCorrupt, open_row(local_, volume_, as_bytes("l"), sealed, plain));
  EXPECT_CODE(Code::kCorrupt, open_row(local_, fixed_id<VolumeId>(1), as_bytes("k"), sealed, plain));
  EXPECT_CODE(Code::kCorrupt, open_row(local_, volume_, as_bytes("k"), BytesView(sealed).first(39), plain));
  for (size_t i = 0; i < sealed.size(); ++i) {
    Bytes bad = sealed;
    bad[i] ^= 4;
    EXPECT_CODE(Code::kCorrupt, open_row(local_, volume_, as_bytes("k"), bad, plain));
  }
  EXPECT_EQ(sealed.size() % 32, kSealOverhead % 32) << "padded";
}

TEST_F(TableTest, NothingPlainOnDisk) {
  const std::string name = "a name that nobody may read", value = "a value that nobody may read";
  for (int i = 0; i < 50; ++i) put(hidden_key("d" + std::to_string(i) + name, 2), value);
  put(clear_key("large"), value + std::string(100000, 'x') + value);
  commit();
  for (int i = 0; i < 50; i += 2) erase(hidden_key("d" + std::to_string(i) + name, 2));
  commit();
  table_.reset();
  EXPECT_FALSE(found_under(dir_.path(), as_bytes("nobody may read")));
}

// Readers during batches, freezes and commits. Each batch moves a counter in two rows of different places to one value, and
// replaces one of the rows of a set whose size stays the same.
TEST_F(TableTest, ReadersSeeEveryAppliedBatch) {
  constexpr uint64_t kBatches = 3000;
  constexpr size_t kSet = 40;
  auto number = [](uint64_t v) {
    Bytes b;
    Writer(b).u64(v);
    return b;
  };
  std::vector<RowPut> first;
  for (size_t i = 0; i < kSet; ++i) {
    std::string key = "s" + std::to_string(100 + i);
    first.push_back({clear_key(key), number(0)});
  }
  first.push_back({clear_key("n"), number(0)});
  first.push_back({hidden_key("n hidden", 1), number(0)});
  apply(first);
  std::atomic<uint64_t> applied{0};
  std::atomic<bool> done{false};
  std::vector<std::jthread> threads;
  threads.emplace_back([&] {
    while (!done) {
      table_->freeze();
      ASSERT_TRUE(table_->commit_frozen().has_value());
    }
  });
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      while (!done) {
        uint64_t least = applied;
        auto row = table_->get(t == 0 ? clear_key("n") : hidden_key("n hidden", 1));
        ASSERT_TRUE(row.has_value() && row->has_value());
        ASSERT_GE(Reader(**row).u64(), least);
        // Rows that never go away are in every scan, in order.
        size_t seen = 0;
        std::string after;
        for (;;) {
          auto next = table_->next("s", after);
          ASSERT_TRUE(next.has_value()) << next.error().what();
          if (!*next) break;
          ASSERT_GT((*next)->key, after);
          after = (*next)->key;
          if (after.size() == 4) ++seen;
        }
        ASSERT_EQ(seen, kSet);
      }
    });
  }
  std::mt19937_64 random(1);
  for (uint64_t i = 1; i <= kBatches; ++i) {
    std::vector<RowPut> puts;
    puts.push_back({clear_key("n"), number(i)});
    puts.push_back({hidden_key("n hidden", 1), number(i)});
    puts.push_back({clear_key("s" + std::to_string(100 + random() % kSet)), number(i)});
    // Others come and go between them.
    std::string passing = "s" + std::to_string(100 + random() % kSet) + "x";
    if (random() % 2 != 0) {
      puts.push_back({clear_key(passing), number(i)});
    } else {
      puts.push_back({clear_key(passing), std::nullopt});
    }
    apply(puts);
    applied = i;
  }
  done = true;
  threads.clear();
  commit();
  reopen();
  EXPECT_EQ(table_->committed_lsn(), kBatches + 1);
}

// Sealed with the fixed keys of the fixture by the first version of this format. It must open for ever.
TEST_F(TableTest, GoldenRowOpens) {
  const RowKey key = hidden_key("d/golden name", 2);
  const StoredKey stored(local_, key);
  EXPECT_EQ(hex(stored.view()), "642fa4e2f5e5bd97a12fb45ecd91a860c417");
  TAKE(Bytes sealed,
       unhex("1864300c76786e589354e5d7bb3304cf365b177948ee9a3f71f21d95a95bad1343a985f0133010a2aa407d2d8a5fae48"
             "4e88be261f9fe70a02f2e72df1b11dba86d4036685abfc6c"));
  Bytes plain;
  TAKE(OpenedRow row, open_row(local_, volume_, stored.view(), sealed, plain));
  EXPECT_EQ(row.key, key.bytes);
  EXPECT_EQ(as_string(row.value), "golden value");
}

}  // namespace
}  // namespace coffer
