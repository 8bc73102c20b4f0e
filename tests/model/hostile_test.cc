// Change sets that decode, and say anything: contradictory, referring to what is not there, moving directories into each
// other. Whatever a member with a valid key sends, the tree stays sound, and everybody gets the same one.
#include <gtest/gtest.h>

#include <algorithm>

#include "crypto/hash.h"
#include "tests/model/machine.h"
#include "tests/model/random_ops.h"
#include "tests/model/tracked.h"

namespace coffer::model {
namespace {

class Hostile {
 public:
  Hostile(uint64_t seed, RandomOps& ops) : ops_(ops), seed_(seed) {}

  ChangeSet changes(Machine& m) {
    collect(m);
    ChangeSet set;
    std::set<Ino> used;
    for (uint64_t n = ops_.below(8); n > 0; --n) {
      InodeChange c = inode_change(m);
      if (c.ino == 0 || !used.insert(c.ino).second) continue;
      set.inodes.push_back(std::move(c));
    }
    std::sort(set.inodes.begin(), set.inodes.end(),
              [](const InodeChange& x, const InodeChange& y) { return x.ino < y.ino; });
    for (uint64_t n = ops_.below(14); n > 0; --n) {
      EntryChange e;
      e.dir = ops_.chance(80) ? dir() : ino();
      e.name = name();
      if (ops_.chance(60)) e.before = ino();
      if (ops_.chance(70)) e.after = ino();
      if (ops_.chance(40)) {  // what is really there
        if (auto node = lookup(m.rows(), e.dir, e.name)) e.before = node->ino;
      }
      e.type = static_cast<FileType>(1 + ops_.below(7));
      ChangeSet one;
      one.entries = {e};
      if (is_well_formed(one)) set.entries.push_back(std::move(e));
    }
    EXPECT_TRUE(is_well_formed(set));
    return set;
  }

 private:
  // Numbers and versions that mean something in this state.
  void collect(Machine& m) {
    inos_ = {kRootIno, 0xdead};
    dirs_ = {kRootIno};
    versions_ = {0, 1};
    for (auto& [key, value] : m.rows().rows) {
      const RowKind kind = *kind_of(key);
      if (kind == RowKind::kHistory || kind == RowKind::kName) continue;
      if (kind == RowKind::kInode || kind == RowKind::kTombstone || kind == RowKind::kAlias) {
        Ino n = must(parse_first(kind, key));
        inos_.push_back(n);
        if (kind == RowKind::kInode) {
          Inode i = must(decode_inode(value));
          if (i.is_directory()) dirs_.push_back(n);
          versions_.push_back(i.version);
        } else if (kind == RowKind::kTombstone) {
          Inode i = must(decode_tombstone(value)).inode;
          if (i.is_directory()) dirs_.push_back(n);
          versions_.push_back(i.version);
        }
      }
      if (kind == RowKind::kDisplaced) versions_.push_back(must(parse_displaced_key(key)).version);
    }
    for (int i = 0; i < 3; ++i) {
      inos_.push_back(m.fresh_ino());
      dirs_.push_back(inos_.back());
      versions_.push_back(m.fresh_version());
    }
  }

  Ino ino() { return inos_[ops_.below(inos_.size())]; }
  Ino dir() { return dirs_[ops_.below(dirs_.size())]; }
  Version version() { return versions_[ops_.below(versions_.size())]; }
  std::string name() {
    static const char* const kNames[] = {"a", "b", "c.txt", "d", "e (conflict, host9, 2023-11-14)", "lost file"};
    return kNames[ops_.below(std::size(kNames))];
  }
  std::optional<WallTime> time() { return WallTime{static_cast<int64_t>(ops_.below(UINT64_MAX))}; }

  InodeChange inode_change(Machine& m) {
    InodeChange c;
    c.ino = ino();
    c.kind = static_cast<InodeChange::Kind>(1 + ops_.below(3));
    c.type = static_cast<FileType>(ops_.chance(60) ? 1 : 1 + ops_.below(7));
    if (c.ino == kRootIno) c.type = FileType::kDirectory;
    if (c.kind == InodeChange::Kind::kRemoved) {
      if (c.ino == kRootIno) c.ino = 0;
      c.removed_version = version();
      return c;
    }
    const bool made = c.kind == InodeChange::Kind::kMade;
    if (made || ops_.chance(30)) c.mode = static_cast<uint32_t>(ops_.below(010000));
    if (made || ops_.chance(30)) c.uid = static_cast<uint32_t>(ops_.below(10));
    if (made || ops_.chance(30)) c.gid = static_cast<uint32_t>(ops_.below(10));
    if (made || ops_.chance(30)) c.mtime = time();
    if (made || ops_.chance(30)) c.ctime = time();
    if (made || ops_.chance(30)) c.atime = time();
    if (made) c.btime = time();
    if (made && c.type == FileType::kSymlink) c.target = "t";
    if (made && (c.type == FileType::kCharDevice || c.type == FileType::kBlockDevice)) c.rdev = ops_.below(3);
    if (c.type == FileType::kRegular && (made || ops_.chance(70))) {
      ContentChange& content = c.content.emplace();
      if (!made) content.base = version();
      content.version = version();
      uint64_t at = 0;
      for (uint64_t n = ops_.below(4); n > 0; --n) {
        at += ops_.chance(50) ? ops_.below(100) : ops_.chance(90) ? ops_.below(3 * kChunk) : ops_.below(1ull << 61);
        ContentPiece p{at, 1 + ops_.below(500), std::nullopt};
        if (ops_.chance(70)) {
          p.extent = m.extent(std::string(p.length, 'h'), at);
        } else if (ops_.chance(20)) {
          p.length += ops_.below(1ull << 60);
        }
        at += p.length;
        content.pieces.push_back(std::move(p));
      }
      content.size = ops_.chance(80) ? at : at + ops_.below(kSizeMax - at);
      if (ops_.chance(20) && c.ino != kRootIno) c.origin = ino();
      if (c.origin == c.ino) c.origin = 0;
    }
    for (const char* x : {"user.a", "user.b"})
      if (ops_.chance(20)) c.xattrs.push_back({x, Bytes(ops_.below(10), 'v')});
    if (!made && !c.mode && !c.uid && !c.gid && !c.mtime && !c.ctime && !c.atime && !c.content && c.xattrs.empty())
      c.mode = 0;
    return c;
  }

  RandomOps& ops_;
  const uint64_t seed_;
  std::vector<Ino> inos_, dirs_;
  std::vector<Version> versions_;
};

TEST(Hostile, AnyChangesLeaveASoundTree) {
  uint64_t first = 1, count = 800;
  if (const char* text = std::getenv("COFFER_SEEDS")) {
    char* end;
    first = std::strtoull(text, &end, 10);
    count = *end == ':' ? std::strtoull(end + 1, nullptr, 10) : 1;
  }
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomOps ops(seed);
    Machine m(1);
    if (ops.chance(95))
      must(m.run([&](Rows& rows) -> Result<void> {
        make_root(rows, 0755, 0, 0, m.now());
        return {};
      }));
    if (ops.chance(95) && m.rows().rows.size() > 0)
      for (uint64_t k = ops.below(20); k > 0; --k) ops.step(m);
    Hostile hostile(seed, ops);
    Generation generation = 1;
    for (int round = 0; round < 6; ++round) {
      // Local inodes that are unlinked and open have no tombstone until they are settled.
      if (round == 0 && m.rows().rows.size() > 0) (void)m.publish();
      ChangeSet set = hostile.changes(m);
      Author author;
      author.record = blake2b(as_bytes(std::to_string(seed) + "/" + std::to_string(round)));
      author.device = "evil/host";
      author.when = {static_cast<int64_t>(ops.below(UINT64_MAX))};
      std::map<std::string, Bytes> before = tracked(m.rows());

      // Another replica, whose cookies are others.
      MapRows other = m.rows();
      for (auto& [key, value] : other.rows)
        if (kind_of(key) == RowKind::kInode) {
          Inode i = must(decode_inode(value));
          if (i.is_directory()) i.next_cookie += 1000;
          value = encode(i);
        }
      must(apply(other, set, author));

      m.freeze();
      Applied applied = must(m.run([&](Rows& rows) { return apply(rows, set, author); }));
      m.check();
      EXPECT_EQ(must(tree_hash(other)), m.hash());
      for (const Name& n : applied.touch.names) EXPECT_TRUE(valid_name(n.name));

      // Applied again, nothing becomes unsound.
      MapRows again = m.rows();
      must(apply(again, set, author));
      for (const std::string& f : must(find_faults(again))) ADD_FAILURE() << "again: " << f;

      generation = 0;
      for (auto& [key, value] : m.rows().rows)
        if (kind_of(key) == RowKind::kHistory)
          generation = std::max(generation, must(parse_first(RowKind::kHistory, key)));
      if (!before.empty()) {
        MapRows undone = m.rows();
        must(undo(undone, generation));
        EXPECT_TRUE(tracked(undone) == before || tracked(m.rows()) == before);
      }
      if (::testing::Test::HasFailure()) return;
    }
  }
}

// What apply() touched tells the kernel everything that it must look at again.
TEST(Hostile, TouchNamesEveryEntryThatLeadsElsewhere) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomOps ops(seed);
    Machine m(1);
    must(m.run([&](Rows& rows) -> Result<void> {
      make_root(rows, 0755, 0, 0, m.now());
      return {};
    }));
    for (uint64_t k = ops.below(20); k > 0; --k) ops.step(m);
    (void)m.publish();
    Hostile hostile(seed, ops);
    for (int round = 0; round < 3; ++round) {
      auto look = [&] {
        std::map<std::pair<Ino, std::string>, Ino> names;
        std::map<Ino, Inode> inodes;
        for (auto& [key, value] : m.rows().rows) {
          if (kind_of(key) == RowKind::kEntry) {
            Entry e = must(decode_entry(value));
            names[{must(parse_entry_key(key)).dir, e.name}] = e.ino;
          } else if (kind_of(key) == RowKind::kInode) {
            Inode i = must(decode_inode(value));
            i.parent = i.cookie = i.next_cookie = 0;
            inodes[must(parse_first(RowKind::kInode, key))] = i;
          }
        }
        return std::pair(names, inodes);
      };
      auto [names, inodes] = look();
      ChangeSet set = hostile.changes(m);
      Author author;
      author.record = blake2b(as_bytes(std::to_string(seed) + "/" + std::to_string(round)));
      Applied applied = must(m.run([&](Rows& rows) { return apply(rows, set, author); }));
      auto [names_now, inodes_now] = look();
      std::set<std::pair<Ino, std::string>> told;
      for (const Name& n : applied.touch.names) told.insert({n.dir, n.name});
      std::set<Ino> told_inodes(applied.touch.attributes.begin(), applied.touch.attributes.end());
      told_inodes.insert(applied.touch.contents.begin(), applied.touch.contents.end());
      std::set<Ino> told_contents(applied.touch.contents.begin(), applied.touch.contents.end());
      for (auto& [name, ino] : names)
        if (!names_now.contains(name) || names_now[name] != ino) {
          EXPECT_TRUE(told.contains(name)) << name.second;
        }
      for (auto& [name, ino] : names_now)
        if (!names.contains(name)) {
          EXPECT_TRUE(told.contains(name)) << name.second;
        }
      for (auto& [ino, i] : inodes_now) {
        if (!inodes.contains(ino) || inodes[ino] == i) continue;
        EXPECT_TRUE(told_inodes.contains(ino)) << ino;
        if (i.is_regular() && (i.version != inodes[ino].version || i.size != inodes[ino].size)) {
          EXPECT_TRUE(told_contents.contains(ino)) << ino;
        }
      }
      if (::testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace coffer::model
