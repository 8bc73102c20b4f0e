// Replicas that change the same tree at once, and whether they end with the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "tests/model/machine.h"
#include "tests/model/random_ops.h"

namespace coffer::model {
namespace {

// COFFER_SEEDS=first:count replays or lengthens.
struct Seeds {
  uint64_t first, count;
};
Seeds seeds(uint64_t count) {
  Seeds s{1, count};
  if (const char* text = std::getenv("COFFER_SEEDS")) {
    char* end;
    s.first = std::strtoull(text, &end, 10);
    s.count = *end == ':' ? std::strtoull(end + 1, nullptr, 10) : 1;
  }
  return s;
}

void expect_equal(const Machine& a, const Machine& b) {
  if (a.hash() == b.hash()) return;
  std::istringstream of_a(a.describe()), of_b(b.describe());
  std::string line, out;
  std::set<std::string> lines_a, lines_b;
  while (std::getline(of_a, line)) lines_a.insert(line);
  while (std::getline(of_b, line)) lines_b.insert(line);
  for (const std::string& l : lines_a)
    if (!lines_b.contains(l)) out += "- " + l + "\n";
  for (const std::string& l : lines_b)
    if (!lines_a.contains(l)) out += "+ " + l + "\n";
  ADD_FAILURE() << "machine " << a.id() << " (-) is not machine " << b.id() << " (+):\n" << out;
}

// One after the other, always on the newest: what one did is what the other sees.
TEST(Convergence, Follower) {
  for (auto [seed, n] = seeds(400); n > 0; ++seed, --n) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomOps ops(seed);
    Machine a(1), b(2);
    must(a.run([&](Rows& rows) -> Result<void> {
      make_root(rows, 0755, 0, 0, a.now());
      return {};
    }));
    for (int round = 0; round < 5; ++round) {
      for (uint64_t k = ops.below(20); k > 0; --k) {
        ops.step(a);
        if (ops.chance(10)) a.freeze();
      }
      const bool busy = ops.chance(50);  // work goes on meanwhile
      std::optional<Record> r = a.publish([&] {
        for (uint64_t k = busy ? ops.below(15) : 0; k > 0; --k) ops.step(a);
      });
      if (!r) continue;
      b.receive({*r});
      EXPECT_TRUE(b.conflicts().empty());
      a.check();
      b.check();
      if (busy) continue;  // what it did since is in the next
      expect_equal(a, b);
    }
    if (::testing::Test::HasFailure()) return;
  }
}

// What records do to one inode, for messages.
std::string changes_of(std::vector<Record> all, Ino ino) {
  std::sort(all.begin(), all.end(), [](const Record& a, const Record& b) { return a.before(b); });
  std::ostringstream out;
  out << std::hex;
  for (const Record& r : all) {
    std::ostringstream what;
    what << std::hex;
    for (const InodeChange& c : r.changes.inodes) {
      if (c.ino != ino) continue;
      what << "  kind " << static_cast<int>(c.kind);
      if (c.content) what << " content " << c.content->base << " -> " << c.content->version;
      if (c.kind == InodeChange::Kind::kRemoved) what << " seen " << c.removed_version;
      what << "\n";
    }
    for (const EntryChange& e : r.changes.entries)
      if (e.before == ino || e.after == ino)
        what << "  " << e.dir << "/" << e.name << ": " << e.before << " -> " << e.after << "\n";
    if (what.str().empty()) continue;
    out << "record " << r.stamp << " of " << r.log << ", which had seen";
    for (auto& [log, n] : r.seen) out << " " << log << ":" << n;
    out << ", its number " << r.number << "\n" << what.str();
  }
  return out.str();
}

// Every version that its author published is the contents of some file, unless somebody who saw it replaced or removed it.
void expect_nothing_lost(const Machine& m, const std::vector<Record>& all) {
  std::map<Version, Ino> published;
  std::set<Version> superseded;
  for (const Record& r : all)
    for (const InodeChange& c : r.changes.inodes) {
      if (c.content) {
        superseded.insert(c.content->base);
        // Without new data it may be equal to another, and become one with it. So may a copy of what its author only saw.
        for (const ContentPiece& p : c.content->pieces)
          if (p.extent && c.content->version != c.ino) published[c.content->version] = c.ino;
      }
      if (c.kind == InodeChange::Kind::kRemoved) superseded.insert(c.removed_version);
    }
  // Those that are equal to one another: copies of a machine can come to the same by two ways.
  std::map<Version, std::set<Version>> equal;
  must(walk_rows(m.rows(), RowKind::kDisplaced, [&](const Row& row) -> Result<void> {
    TRY(FileVersion v, parse_displaced_key(row.key));
    TRY(Displaced d, decode_displaced(row.value));
    if (d.moved_to != 0 || !d.here.empty() || !d.elsewhere.empty()) return {};
    equal[v.version].insert(d.newer);
    equal[d.newer].insert(v.version);
    return {};
  }));
  std::set<Version> there;
  const std::string prefix = kind_prefix(RowKind::kInode);
  for (auto it = m.rows().rows.lower_bound(prefix); it != m.rows().rows.end() && it->first.starts_with(prefix); ++it) {
    Inode i = must(decode_inode(it->second));
    if (i.nlink == 0) continue;
    there.insert(i.version);
    // Versions that were equal to it.
    Ino ino = must(parse_first(RowKind::kInode, it->first));
    const std::string displaced = displaced_prefix(ino);
    for (auto d = m.rows().rows.lower_bound(displaced); d != m.rows().rows.end() && d->first.starts_with(displaced);
         ++d) {
      Version v = must(parse_displaced_key(d->first)).version;
      auto extents = must(open_version(m.rows(), ino, i, i.version, v));
      if (extents && extents->is_present()) there.insert(v);
    }
  }
  auto is_lost = [&](Version version) {
    std::set<Version> same{version};
    for (std::vector<Version> todo{version}; !todo.empty();) {
      const Version at = todo.back();
      todo.pop_back();
      if (superseded.contains(at) || there.contains(at)) return false;
      for (Version other : equal[at])
        if (same.insert(other).second) todo.push_back(other);
    }
    return true;
  };
  for (auto [version, ino] : published)
    if (is_lost(version))
      ADD_FAILURE() << "version " << std::hex << version << " of " << ino << " is lost\n"
                    << changes_of(all, ino) << m.describe();
}

// Several at once, with records that arrive late and in any order.
void work_at_once(RandomOps& ops, bool copies) {
  const unsigned count = 2 + static_cast<unsigned>(ops.below(3));
  std::vector<std::unique_ptr<Machine>> machines;
  std::vector<Machine*> pointers;
  unsigned logs = 0;
  auto add = [&](std::unique_ptr<Machine> machine) {
    machines.push_back(std::move(machine));
    pointers.push_back(machines.back().get());
  };
  while (logs < count) add(std::make_unique<Machine>(++logs));
  std::unique_ptr<Machine> backup;
  size_t backup_of = 0;
  must(machines[0]->run([&](Rows& rows) -> Result<void> {
    make_root(rows, 0755, 0, 0, machines[0]->now());
    return {};
  }));
  for (uint64_t k = ops.below(12); k > 0; --k) ops.step(*machines[0]);
  std::vector<Record> all{*machines[0]->publish()};
  for (Machine* m : pointers) m->receive(all);
  for (uint64_t k = 10 + ops.below(60); k > 0; --k) {
    Machine& m = *machines[ops.below(machines.size())];
    for (uint64_t j = 1 + ops.below(4); j > 0; --j) ops.step(m);
    if (ops.chance(10)) m.freeze();
    if (ops.chance(30)) {
      std::optional<Record> r = m.publish([&] {
        for (uint64_t j = ops.chance(50) ? ops.below(6) : 0; j > 0; --j) ops.step(m);
      });
      if (r) all.push_back(*r);
    }
    if (ops.chance(25)) {
      std::vector<Record> some;
      for (const Record& r : all)
        if (ops.chance(60)) some.push_back(r);
      m.receive(some);
      m.check();
    }
    if (copies && machines.size() < 6 && ops.chance(10)) add(std::make_unique<Machine>(m, ++logs));
    if (copies && ops.chance(10)) {
      backup_of = ops.below(machines.size());
      backup = std::make_unique<Machine>(*machines[backup_of], ++logs);
    }
    if (backup && ops.chance(10)) {
      machines[backup_of] = std::move(backup);
      pointers[backup_of] = machines[backup_of].get();
    }
    if (ops.chance(4)) {
      // A quiet moment, after which each may forget, or not: nobody must see the difference.
      exchange(pointers, all);
      for (Machine* each : pointers)
        if (ops.chance(60)) each->forget_applied();
      for (Machine* each : pointers) each->check();
      backup.reset();  // it knows less than what may be forgotten
    }
    if (::testing::Test::HasFailure()) return;
  }
  exchange(pointers, all);
  for (Machine* m : pointers) {
    m->check();
    expect_equal(*pointers[0], *m);
    EXPECT_EQ(m->waiting(), 0u);
  }
  // The fold of all records in order, by one who never did anything himself.
  Machine fresh(99);
  fresh.receive(all);
  fresh.check();
  expect_equal(*pointers[0], fresh);
  expect_nothing_lost(fresh, all);
  if (::testing::Test::HasFailure())
    if (const char* ino = std::getenv("COFFER_INO")) std::cerr << changes_of(all, std::strtoull(ino, nullptr, 16));
}

TEST(Convergence, Concurrent) {
  for (auto [seed, n] = seeds(800); n > 0; ++seed, --n) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomOps ops(seed);
    work_at_once(ops, false);
    if (::testing::Test::HasFailure()) return;
  }
}

// Machines are copied with what they have not published, and backups take the place of the original.
TEST(Convergence, Copies) {
  for (auto [seed, n] = seeds(400); n > 0; ++seed, --n) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomOps ops(seed);
    work_at_once(ops, true);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace coffer::model
