// Random operations on rows and on a plain in-memory file system side by side: the same results, errors and trees.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "fs/model/invariants.h"
#include "fs/model/tree.h"
#include "tests/model/machine.h"

namespace coffer::model {
namespace {

constexpr uint64_t kUnit = 512;  // contents are compared in units: what frame each shows, and where in it

// The simplest thing that behaves like a file system.
class Reference {
 public:
  struct Node {
    FileType type = FileType::kRegular;
    uint32_t mode = 0, nlink = 0;
    uint64_t size = 0;
    WallTime mtime, ctime;
    std::string target;
    std::map<std::string, Ino> children;
    std::map<std::string, Bytes> xattrs;
    std::map<uint64_t, std::pair<Hash, uint64_t>> units;
    bool dir() const { return type == FileType::kDirectory; }
  };
  std::map<Ino, Node> nodes;

  Reference() {
    Node& root = nodes[kRootIno];
    root.type = FileType::kDirectory;
    root.mode = 0755;
    root.nlink = 2;
    root.mtime = root.ctime = {1};
  }

  std::optional<Code> check_dir(Ino d) const {
    auto it = nodes.find(d);
    if (it == nodes.end()) return Code::kStale;
    if (!it->second.dir()) return Code::kNotDirectory;
    if (it->second.nlink == 0) return Code::kStale;
    return std::nullopt;
  }
  void touch(Ino d, WallTime now) { nodes[d].mtime = nodes[d].ctime = now; }

  std::optional<Code> make(Ino d, const std::string& name, const NewInode& what, Ino ino, WallTime now) {
    if (auto e = check_dir(d)) return e;
    if (nodes[d].children.contains(name)) return Code::kExists;
    Node n;
    n.type = what.type;
    n.mode = what.mode;
    if (n.dir() && (nodes[d].mode & 02000)) n.mode |= 02000;
    n.nlink = n.dir() ? 2 : 1;
    n.mtime = n.ctime = now;
    if (what.type == FileType::kSymlink) {
      n.target = what.target;
      n.size = n.target.size();
    }
    if (n.dir()) ++nodes[d].nlink;
    nodes[d].children[name] = ino;
    nodes[ino] = n;
    touch(d, now);
    return std::nullopt;
  }

  std::optional<Code> link(Ino ino, Ino d, const std::string& name, WallTime now) {
    if (auto e = check_dir(d)) return e;
    if (!nodes.contains(ino)) return Code::kStale;
    if (nodes[ino].dir()) return Code::kNotPermitted;
    if (nodes[ino].nlink == 0) return Code::kStale;
    if (nodes[d].children.contains(name)) return Code::kExists;
    nodes[d].children[name] = ino;
    ++nodes[ino].nlink;
    nodes[ino].ctime = now;
    touch(d, now);
    return std::nullopt;
  }

  // Takes a name away, whatever it leads to.
  void drop(Ino d, const std::string& name, WallTime now) {
    Ino ino = nodes[d].children[name];
    nodes[d].children.erase(name);
    Node& n = nodes[ino];
    n.ctime = now;
    if (n.dir()) {
      --nodes[d].nlink;
      n.nlink = 0;
    } else {
      --n.nlink;
    }
  }

  std::optional<Code> remove(Ino d, const std::string& name, bool directory, WallTime now) {
    if (auto e = check_dir(d)) return e;
    auto it = nodes[d].children.find(name);
    if (it == nodes[d].children.end()) return Code::kNotFound;
    const Node& n = nodes[it->second];
    if (directory && !n.dir()) return Code::kNotDirectory;
    if (!directory && n.dir()) return Code::kIsDirectory;
    if (directory && !n.children.empty()) return Code::kNotEmpty;
    drop(d, name, now);
    touch(d, now);
    return std::nullopt;
  }

  bool within(Ino d, Ino above) const {
    if (d == above) return true;
    for (const auto& [name, child] : nodes.at(above).children)
      if (nodes.at(child).dir() && within(d, child)) return true;
    return false;
  }

  std::optional<Code> rename(Ino d, const std::string& name, Ino d2, const std::string& name2, RenameMode mode,
                             WallTime now) {
    if (auto e = check_dir(d)) return e;
    if (auto e = check_dir(d2)) return e;
    auto from = nodes[d].children.find(name);
    if (from == nodes[d].children.end()) return Code::kNotFound;
    const Ino what = from->second;
    auto to = nodes[d2].children.find(name2);
    const bool there = to != nodes[d2].children.end();
    if (there && mode == RenameMode::kNoReplace) return Code::kExists;
    if (!there && mode == RenameMode::kExchange) return Code::kNotFound;
    const Ino other = there ? to->second : 0;
    if (there && other == what) return std::nullopt;
    if (nodes[what].dir() && within(d2, what)) return Code::kInvalid;
    auto count = [&](Ino dir, Ino child, int by) {
      if (nodes[child].dir()) nodes[dir].nlink += static_cast<uint32_t>(by);
    };
    if (mode == RenameMode::kExchange) {
      if (nodes[other].dir() && within(d, other)) return Code::kInvalid;
      from->second = other;
      to->second = what;
      count(d, what, -1), count(d, other, 1), count(d2, other, -1), count(d2, what, 1);
      nodes[other].ctime = now;
    } else {
      if (there) {
        if (nodes[what].dir() && !nodes[other].dir()) return Code::kNotDirectory;
        if (!nodes[what].dir() && nodes[other].dir()) return Code::kIsDirectory;
        if (nodes[other].dir() && !nodes[other].children.empty()) return Code::kNotEmpty;
        drop(d2, name2, now);
      }
      nodes[d].children.erase(name);
      nodes[d2].children[name2] = what;
      count(d, what, -1), count(d2, what, 1);
    }
    nodes[what].ctime = now;
    touch(d, now);
    touch(d2, now);
    return std::nullopt;
  }

  void put(Ino ino, const std::vector<Extent>& pieces, uint64_t at_least, WallTime now, bool keep_times) {
    Node& n = nodes[ino];
    for (const Extent& e : pieces) {
      for (uint64_t u = 0; u < e.length / kUnit; ++u)
        n.units[e.offset / kUnit + u] = {e.frame.hash, e.skip / kUnit + u};
      n.size = std::max(n.size, e.end());
    }
    n.size = std::max(n.size, at_least);
    if (!keep_times) n.mtime = n.ctime = now;
  }
  void cut(Ino ino, uint64_t begin, uint64_t end) {
    auto& units = nodes[ino].units;
    units.erase(units.lower_bound(begin / kUnit), units.lower_bound(end / kUnit));
  }
};

class Pair {
 public:
  explicit Pair(uint64_t seed) : random_(seed) { make_root(rows_, 0755, 0, 0, {1}); }

  void step() {
    ++now_.ns;
    switch (below(15)) {
      case 0:
      case 1:
      case 2: {
        NewInode what;
        what.type = static_cast<FileType>(1 + below(7));
        if (what.type == FileType::kFifo && below(2)) what.type = FileType::kDirectory;
        what.mode = static_cast<uint32_t>(below(01000));
        what.target = "target";
        const Ino parent = any(), ino = ++ino_;
        const std::string n = name();
        auto r = make(rows_, parent, n, what, ino, ++version_, now_);
        if (same(r, reference_.make(parent, n, what, ino, now_))) inos_.push_back(ino);
        break;
      }
      case 3: {
        const Ino ino = any(), parent = any();
        const std::string n = name();
        same(link(rows_, ino, parent, n, now_), reference_.link(ino, parent, n, now_));
        break;
      }
      case 4: {
        const Ino parent = any_dir();
        const std::string n = name();
        same(unlink(rows_, parent, n, now_), reference_.remove(parent, n, false, now_));
        break;
      }
      case 5: {
        const Ino parent = any_dir();
        const std::string n = name();
        same(rmdir(rows_, parent, n, now_), reference_.remove(parent, n, true, now_));
        break;
      }
      case 6:
      case 7:
      case 8: {
        const Ino d = any_dir(), d2 = any_dir();
        const std::string n = name(), n2 = name();
        const RenameMode mode = static_cast<RenameMode>(below(3));
        same(rename(rows_, d, n, d2, n2, mode, now_), reference_.rename(d, n, d2, n2, mode, now_));
        break;
      }
      case 9:
      case 10: {
        const Ino ino = any_file();
        if (ino == 0) break;
        std::vector<Extent> pieces;
        uint64_t at = below(3) ? below(8) * kUnit : below(5) * kChunk / 2 + (below(4) ? 0 : below(3) << 40);
        for (uint64_t k = 1 + below(3); k > 0; --k) {
          Extent e;
          e.offset = at;
          e.frame_length = static_cast<uint32_t>((1 + below(128)) * kUnit);
          e.skip = static_cast<uint32_t>(below(e.frame_length / kUnit) * kUnit);
          e.length = static_cast<uint32_t>((1 + below((e.frame_length - e.skip) / kUnit)) * kUnit);
          e.frame.length = e.frame_length + 40;
          for (int i = 0; i < 8; ++i)
            e.frame.hash.bytes[static_cast<size_t>(i)] = static_cast<uint8_t>(frame_ >> 8 * i);
          if (below(4) != 0) ++frame_;  // now and then the same frame again
          pieces.push_back(e);
          at = e.end() + below(3) * kUnit;
        }
        const uint64_t at_least = below(4) ? 0 : below(100) * kUnit;
        const bool keep_times = below(4) == 0;
        auto r = put_extents(rows_, ino, pieces, at_least, ++version_, now_, keep_times);
        reference_.put(ino, pieces, at_least, now_, keep_times);
        same(r, std::nullopt);
        break;
      }
      case 11: {
        const Ino ino = any_file();
        if (ino == 0) break;
        const uint64_t size = below(4) ? below(64) * kUnit : below(8) * kChunk / 4;
        same(truncate(rows_, ino, size, ++version_, now_), std::nullopt);
        reference_.cut(ino, size, kSizeMax);
        reference_.nodes[ino].size = size;
        reference_.touch(ino, now_);
        break;
      }
      case 12: {
        const Ino ino = any_file();
        if (ino == 0) break;
        const uint64_t begin = below(64) * kUnit,
                       length = below(2) ? below(64) * kUnit : below(3 * kChunk / kUnit) * kUnit;
        same(punch_hole(rows_, ino, begin, length, ++version_, now_), std::nullopt);
        reference_.cut(ino, begin, begin + length);
        reference_.touch(ino, now_);
        break;
      }
      case 13: {
        const Ino ino = any();
        if (!reference_.nodes.contains(ino)) break;
        auto& x = reference_.nodes[ino].xattrs;
        const std::string key = "user." + name();
        if (below(3)) {
          Bytes value(below(5), static_cast<uint8_t>(below(256)));
          same(set_xattr(rows_, ino, key, value, XattrMode::kAny, now_), std::nullopt);
          x[key] = value;
        } else {
          auto r = remove_xattr(rows_, ino, key, now_);
          if (!same(r, x.erase(key) ? std::nullopt : std::optional(Code::kNoData))) break;
        }
        reference_.nodes[ino].ctime = now_;
        break;
      }
      default: {
        const Ino ino = any();
        SetAttributes what;
        what.mode = static_cast<uint32_t>(below(010000));
        if (!same(set_attributes(rows_, ino, what, now_),
                  reference_.nodes.contains(ino) ? std::nullopt : std::optional(Code::kStale)))
          break;
        reference_.nodes[ino].mode = *what.mode;
        reference_.nodes[ino].ctime = now_;
      }
    }
    // What has no name any more goes, now or later.
    if (below(3) == 0)
      for (auto it = inos_.begin(); it != inos_.end();) {
        auto n = reference_.nodes.find(*it);
        if (n == reference_.nodes.end() || n->second.nlink > 0) {
          ++it;
          continue;
        }
        must(erase_inode(rows_, *it, below(2) == 0));
        reference_.nodes.erase(n);
        it = inos_.erase(it);
      }
  }

  void compare() {
    for (const std::string& f : must(find_faults(rows_))) ADD_FAILURE() << f;
    for (const auto& [ino, n] : reference_.nodes) {
      Inode i = must(get_inode(rows_, ino));
      EXPECT_EQ(i.type, n.type) << ino;
      EXPECT_EQ(i.mode, n.mode) << ino;
      EXPECT_EQ(i.nlink, n.nlink) << ino;
      EXPECT_EQ(i.size, n.size) << ino;
      EXPECT_EQ(i.mtime, n.mtime) << ino;
      EXPECT_EQ(i.ctime, n.ctime) << ino;
      EXPECT_EQ(i.target, n.target) << ino;
      std::map<std::string, Bytes> xattrs;
      for (Xattr& x : must(list_xattrs(rows_, ino))) xattrs[x.name] = x.value;
      EXPECT_EQ(xattrs, n.xattrs) << ino;
      if (n.dir()) {
        std::map<std::string, Ino> children;
        for (uint64_t at = 0;;) {
          auto part = must(list(rows_, ino, at, 1 + below(5)));
          if (part.empty()) break;
          for (ListedEntry& e : part) children[e.entry.name] = e.entry.ino;
          at = part.back().cookie;
        }
        EXPECT_EQ(children, n.children) << ino;
        for (const auto& [name, child] : children) EXPECT_EQ(must(lookup(rows_, ino, name)).ino, child);
      } else {
        EXPECT_EQ(must(names_of(rows_, ino)).size(), n.nlink) << ino;
      }
      if (i.is_regular()) compare_contents(ino, n);
    }
  }

 private:
  void compare_contents(Ino ino, const Reference::Node& n) {
    std::map<uint64_t, std::pair<Hash, uint64_t>> units;
    uint64_t end = 0;
    for (const Extent& e : must(extents(rows_, ino, 0, kSizeMax))) {
      EXPECT_GE(e.offset, end);
      end = e.end();
      for (uint64_t u = 0; u < e.length / kUnit; ++u) units[e.offset / kUnit + u] = {e.frame.hash, e.skip / kUnit + u};
    }
    EXPECT_EQ(units, n.units) << ino;
    for (int k = 0; k < 5; ++k) {
      const uint64_t at = below(n.size / kUnit + 2) * kUnit;
      auto data = seek_data(rows_, ino, at);
      auto next = n.units.lower_bound(at / kUnit);
      if (at >= n.size || next == n.units.end()) {
        EXPECT_FALSE(data);
      } else {
        ASSERT_TRUE(data);
        EXPECT_EQ(*data, next->first * kUnit);
      }
      auto hole = seek_hole(rows_, ino, at);
      if (at >= n.size) {
        EXPECT_FALSE(hole);
        continue;
      }
      uint64_t u = at / kUnit;
      while (n.units.contains(u)) ++u;
      ASSERT_TRUE(hole);
      EXPECT_EQ(*hole, u * kUnit);
    }
  }

  uint64_t below(uint64_t n) { return random_() % n; }
  std::string name() { return std::string(1, static_cast<char>('a' + below(6))); }
  Ino any() { return below(40) == 0 ? 7777 : inos_[below(inos_.size())]; }
  Ino any_dir() {
    for (int i = 0; i < 20; ++i) {
      const Ino ino = any();
      auto n = reference_.nodes.find(ino);
      if (below(10) == 0 || (n != reference_.nodes.end() && n->second.dir())) return ino;
    }
    return kRootIno;
  }
  Ino any_file() {
    for (int i = 0; i < 20; ++i) {
      const Ino ino = any();
      auto n = reference_.nodes.find(ino);
      if (n != reference_.nodes.end() && n->second.type == FileType::kRegular) return ino;
    }
    return 0;
  }
  // Whether both succeeded; they must agree.
  template <typename T>
  bool same(const Result<T>& r, std::optional<Code> expected) {
    EXPECT_EQ(r.has_value(), !expected.has_value()) << (r ? "succeeded" : r.error().what());
    if (!r && expected) {
      EXPECT_EQ(to_string(r.error().code()), to_string(*expected));
    }
    return r.has_value();
  }

  std::mt19937_64 random_;
  MapRows rows_;
  Reference reference_;
  std::vector<Ino> inos_{kRootIno};
  Ino ino_ = 100;
  Version version_ = 1;
  uint64_t frame_ = 1;
  WallTime now_{1000};
};

TEST(Reference, RandomOperations) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Pair pair(seed);
    for (int i = 0; i < 200; ++i) {
      SCOPED_TRACE("operation " + std::to_string(i));
      pair.step();
      if (i % 50 == 49) pair.compare();
      if (::testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace coffer::model
