#include "fs/model/invariants.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "crypto/hash.h"
#include "fs/model/entries.h"
#include "fs/model/extent_map.h"
#include "fs/model/remains.h"

namespace coffer::model {
namespace {

class FaultFinder {
 public:
  explicit FaultFinder(const ReadRows& rows) : rows_(rows) {}

  Result<std::vector<std::string>> run() {
    TRYV(walk_rows(rows_, RowKind::kInode, [this](const Row& row) { return see_inode(row); }));
    TRYV(walk_rows(rows_, RowKind::kEntry, [this](const Row& row) { return see_entry(row); }));
    TRYV(walk_rows(rows_, RowKind::kLink, [this](const Row& row) { return see_link(row); }));
    for (auto& [ino, i] : inodes_) TRYV(check_inode(ino, i));
    check_reach();
    TRYV(walk_rows(rows_, RowKind::kTombstone, [this](const Row& row) { return see_tombstone(row); }));
    TRYV(walk_rows(rows_, RowKind::kDisplaced, [this](const Row& row) { return see_displaced(row); }));
    TRYV(walk_rows(rows_, RowKind::kAlias, [this](const Row& row) { return see_alias(row); }));
    return std::move(faults_);
  }

 private:
  struct Seen {
    Inode inode;
    uint64_t entries = 0;         // that lead to it
    uint64_t links = 0;           // L rows
    uint64_t subdirectories = 0;  // of a directory
    uint64_t children = 0;
    bool home = false;  // an entry is where the inode says
  };

  void fault(std::string what) { faults_.push_back(std::move(what)); }
  void fault(Ino ino, std::string what) { fault("inode " + std::to_string(ino) + ": " + what); }
  // False, and noted, when a row cannot be read for what it holds; the value otherwise.
  template <typename T>
  bool good(const Result<T>& r, const std::string& what) {
    if (r) return true;
    fault(what + ": " + r.error().what());
    return false;
  }

  Result<void> see_inode(const Row& row) {
    Result<uint64_t> ino = parse_first(RowKind::kInode, row.key);
    if (!good(ino, "key of an inode")) return {};
    Result<Inode> inode = decode_inode(row.value);
    if (!good(inode, "inode " + std::to_string(*ino))) return {};
    inodes_[*ino].inode = std::move(*inode);
    return {};
  }

  Result<void> see_entry(const Row& row) {
    Result<EntryPlace> place = parse_entry_key(row.key);
    if (!good(place, "key of an entry")) return {};
    const std::string where = "entry " + std::to_string(place->cookie) + " of " + std::to_string(place->dir);
    Result<Entry> entry = decode_entry(row.value);
    if (!good(entry, where)) return {};
    auto dir = inodes_.find(place->dir);
    if (dir == inodes_.end()) {
      fault(where + ": there is no such directory");
    } else if (!dir->second.inode.is_directory()) {
      fault(where + ": it is in something that is no directory");
    } else {
      if (place->cookie >= dir->second.inode.next_cookie) fault(where + ": its cookie would be given out again");
      if (place->cookie < kFirstCookie) fault(where + ": its cookie is reserved");
      ++dir->second.children;
      if (entry->type == FileType::kDirectory) ++dir->second.subdirectories;
    }
    auto to = inodes_.find(entry->ino);
    if (to == inodes_.end()) {
      fault(where + ": it leads to nothing");
    } else {
      ++to->second.entries;
      if (to->second.inode.type != entry->type) fault(where + ": it has another type than its inode");
      if (to->second.inode.parent == place->dir && to->second.inode.cookie == place->cookie) to->second.home = true;
    }
    TRY(std::optional<Bytes> number, rows_.get(name_key(place->dir, entry->name)));
    if (!number) {
      fault(where + ": it is not found by its name");
    } else {
      Result<uint64_t> cookie = decode_number(*number);
      if (good(cookie, where) && *cookie != place->cookie) fault(where + ": its name leads elsewhere");
    }
    return {};
  }

  Result<void> see_link(const Row& row) {
    Result<uint64_t> ino = parse_first(RowKind::kLink, row.key);
    Result<EntryPlace> place = parse_link_key(row.key);
    if (!good(place, "key of a link") || !good(ino, "key of a link")) return {};
    auto it = inodes_.find(*ino);
    if (it == inodes_.end()) {
      fault(*ino, "a link of an inode that is not there");
      return {};
    }
    ++it->second.links;
    if (it->second.inode.parent == place->dir && it->second.inode.cookie == place->cookie)
      fault(*ino, "its home is among its links");
    TRY(std::optional<Bytes> entry_row, rows_.get(entry_key(place->dir, place->cookie)));
    Result<Entry> entry = entry_row ? decode_entry(*entry_row) : Result<Entry>(fail_entry());
    if (!entry || entry->ino != *ino) fault(*ino, "a link of it is no entry that leads to it");
    return {};
  }
  static std::unexpected<Error> fail_entry() { return coffer::fail(Code::kCorrupt, "missing"); }

  Result<void> check_inode(Ino ino, const Seen& s) {
    const Inode& i = s.inode;
    if (ino == 0) fault(ino, "it has the number of nothing");
    TRY(std::optional<Bytes> alias, rows_.get(alias_key(ino)));
    if (alias && i.nlink > 0) fault(ino, "another is said to have taken its place");
    TRY(std::optional<Bytes> tombstone, rows_.get(tombstone_key(ino)));
    if (tombstone && i.nlink > 0) fault(ino, "it has a tombstone, and lives");
    if (ino == kRootIno) {
      if (!i.is_directory()) fault(ino, "the root is no directory");
      if (s.entries != 0 || i.parent != 0) fault(ino, "the root is in a directory");
    } else if (i.is_directory()) {
      if (s.entries != (i.nlink > 0 ? 1 : 0)) fault(ino, "a directory with " + std::to_string(s.entries) + " entries");
    } else if (s.entries != i.nlink) {
      fault(ino, std::to_string(s.entries) + " entries, and nlink is " + std::to_string(i.nlink));
    }
    if (i.is_directory()) {
      if (i.nlink == 0 && s.children > 0) fault(ino, "a removed directory with entries");
      if (i.nlink > 0 && i.nlink != 2 + s.subdirectories)
        fault(ino, std::to_string(s.subdirectories) + " subdirectories, and nlink is " + std::to_string(i.nlink));
      if (s.links != 0) fault(ino, "a directory with several links");
    } else if (s.links != (s.entries > 0 ? s.entries - 1 : 0)) {
      fault(ino, std::to_string(s.links) + " links beside its home of " + std::to_string(s.entries));
    }
    if (s.entries > 0 && !s.home) fault(ino, "its home does not lead to it");
    TRY(std::optional<Bytes> xattrs, rows_.get(xattr_key(ino)));
    if (xattrs.has_value() != i.has_xattrs)
      fault(ino, "it has extended attributes where it says that it has none, or none");
    if (xattrs) {
      Result<std::vector<Xattr>> list = decode_xattrs(*xattrs);
      if (good(list, "extended attributes of " + std::to_string(ino)) && list->empty())
        fault(ino, "a row of no extended attributes");
    }
    if (i.is_regular()) TRYV(check_extents(ino, i, i.size));
    return {};
  }

  // Every chunk that the inode names is there and holds extents of its own range, below `size`.
  Result<void> check_extents(Ino ino, const Inode& i, uint64_t size) {
    if (i.only && !i.chunks.empty()) fault(ino, "extents in the inode and in chunks");
    FileExtents map(rows_, ino, i);
    uint64_t chunks = 0;
    for (uint64_t from = 0;;) {
      Result<std::optional<uint64_t>> c = map.next_chunk(from);
      if (!good(c, "chunks of " + std::to_string(ino)) || !*c) break;
      Result<Extents> list = map.chunk(**c);
      if (good(list, "extents of " + std::to_string(ino)) && list->back().end() > size)
        fault(ino, "extents beyond its end");
      if (list)
        for (size_t k = 1; k < list->size(); ++k)
          if (continues((*list)[k - 1], (*list)[k])) fault(ino, "extents that should be one");
      from = **c + 1;
      ++chunks;
    }
    for (size_t k = 1; k < i.chunks.size(); ++k)
      if (i.chunks[k - 1].end() >= i.chunks[k].first) fault(ino, "runs of chunks that should be one");
    if (i.blocks && chunks == 0) fault(ino, "blocks without chunks");
    if (chunks == 1 && !i.only && !i.blocks) {
      Result<Extents> list = map.chunk(0);
      if (list && list->size() == 1 && list->front().offset == 0) fault(ino, "a chunk that should be in the inode");
    }
    return {};
  }

  void check_reach() {
    if (!inodes_.contains(kRootIno)) {
      fault(kRootIno, "there is no root");
      return;
    }
    std::unordered_set<Ino> reached{kRootIno};
    for (const auto& [ino, s] : inodes_) {
      if (s.entries == 0) continue;
      std::vector<Ino> way;
      Ino at = ino;
      std::unordered_set<Ino> met;
      while (!reached.contains(at) && inodes_.contains(at) && met.insert(at).second) {
        way.push_back(at);
        at = inodes_.at(at).inode.parent;
      }
      if (!reached.contains(at)) {
        fault(ino, "it does not hang on the root");
        continue;
      }
      reached.insert(way.begin(), way.end());
    }
  }

  Result<void> see_tombstone(const Row& row) {
    Result<uint64_t> ino = parse_first(RowKind::kTombstone, row.key);
    if (!good(ino, "key of a tombstone")) return {};
    Result<Tombstone> t = decode_tombstone(row.value);
    if (!good(t, "tombstone " + std::to_string(*ino))) return {};
    if (t->inode.is_regular() && !inodes_.contains(*ino)) TRYV(check_extents(*ino, t->inode, kSizeMax));
    return {};
  }

  Result<void> see_displaced(const Row& row) {
    Result<FileVersion> v = parse_displaced_key(row.key);
    if (!good(v, "key of a displaced version")) return {};
    Result<Displaced> d = decode_displaced(row.value);
    if (!good(d, "a displaced version of " + std::to_string(v->ino))) return {};
    for (const Run& r : d->elsewhere)
      for (uint64_t c = r.first; c < r.end(); ++c) {
        TRY(std::optional<Bytes> chunk, rows_.get(displaced_chunk_key(v->ino, v->version, c)));
        if (!chunk) fault(v->ino, "a chunk of a displaced version is missing");
        if (chunk) good(decode_extents(*chunk), "a displaced version of " + std::to_string(v->ino));
      }
    return {};
  }

  Result<void> see_alias(const Row& row) {
    Result<uint64_t> ino = parse_first(RowKind::kAlias, row.key);
    if (!good(ino, "key of an alias")) return {};
    std::unordered_set<Ino> met;
    for (Ino at = *ino;;) {
      if (!met.insert(at).second) {
        fault(*ino, "aliases that go in a circle");
        return {};
      }
      TRY(std::optional<Bytes> next, rows_.get(alias_key(at)));
      if (!next) return {};
      Result<uint64_t> to = decode_number(*next);
      if (!good(to, "alias " + std::to_string(at))) return {};
      at = *to;
    }
  }

  const ReadRows& rows_;
  std::map<Ino, Seen> inodes_;
  std::vector<std::string> faults_;
};

}  // namespace

Result<std::vector<std::string>> find_faults(const ReadRows& rows) { return FaultFinder(rows).run(); }

Result<Hash> tree_hash(const ReadRows& rows) {
  Hasher hasher;
  // Each directory's entries by name, then the inodes that they lead to, each inode once, from the root on.
  std::vector<Ino> way{kRootIno};
  std::unordered_set<Ino> met{kRootIno};
  while (!way.empty()) {
    const Ino ino = way.back();
    way.pop_back();
    TRY(Inode i, get_inode(rows, ino));
    Bytes b;
    Writer w(b);
    w.u64(ino);
    w.u8(static_cast<uint8_t>(i.type));
    w.u32(i.mode);
    w.u32(i.uid);
    w.u32(i.gid);
    w.u64(i.rdev);
    w.u32(i.nlink);
    for (WallTime t : {i.atime, i.mtime, i.ctime, i.btime}) w.u64(static_cast<uint64_t>(t.ns));
    w.u64(i.size);
    w.u64(i.version);
    w.u64(i.origin);
    w.string(i.target);
    TRY(std::vector<Xattr> xattrs, list_xattrs(rows, ino));
    w.varint(xattrs.size());
    for (const Xattr& x : xattrs) {
      w.string(x.name);
      w.bytes(x.value);
    }
    hasher.update(b);
    if (i.is_regular()) {
      FileExtents map(rows, ino, i);
      // Chunk by chunk, in the form that they have whatever their history.
      for (uint64_t from = 0;;) {
        TRY(std::optional<uint64_t> c, map.next_chunk(from));
        if (!c) break;
        TRY(Extents list, map.chunk(*c));
        hasher.update(encode(list));
        from = *c + 1;
      }
    } else if (i.is_directory()) {
      TRY(std::vector<ListedEntry> entries, list(rows, ino, 0, SIZE_MAX));
      std::sort(entries.begin(), entries.end(),
                [](const ListedEntry& x, const ListedEntry& y) { return x.entry.name < y.entry.name; });
      Bytes names;
      Writer n(names);
      n.varint(entries.size());
      for (const ListedEntry& e : entries) {
        n.string(e.entry.name);
        n.u64(e.entry.ino);
      }
      hasher.update(names);
      for (auto e = entries.rbegin(); e != entries.rend(); ++e)
        if (met.insert(e->entry.ino).second) way.push_back(e->entry.ino);
    }
  }
  return hasher.finish();
}

}  // namespace coffer::model
