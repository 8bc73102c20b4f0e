#include "fs/model/remains.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "fs/model/history.h"
#include "fs/model/tree.h"

namespace coffer::model {
namespace {

// Extents of a displaced version that its own row holds; with more, each chunk has a row.
constexpr size_t kHereMax = 32;

const Displaced::Chunk* find_here(const Displaced& d, uint64_t chunk) {
  auto it = std::lower_bound(d.here.begin(), d.here.end(), chunk,
                             [](const Displaced::Chunk& c, uint64_t n) { return c.chunk < n; });
  return it != d.here.end() && it->chunk == chunk ? &*it : nullptr;
}

std::optional<uint64_t> next_elsewhere(const Displaced& d, uint64_t from) {
  auto it = std::partition_point(d.elsewhere.begin(), d.elsewhere.end(), [&](const Run& r) { return r.end() <= from; });
  if (it == d.elsewhere.end()) return std::nullopt;
  return std::max(it->first, from);
}

void add_run(std::vector<Run>& runs, uint64_t n) {
  auto it = std::partition_point(runs.begin(), runs.end(), [&](const Run& r) { return r.end() < n; });
  if (it == runs.end() || it->first > n + 1) {
    runs.insert(it, Run{n, 1});
  } else if (it->end() == n) {
    ++it->count;
    if (auto right = it + 1; right != runs.end() && right->first == n + 1) {
      it->count += right->count;
      runs.erase(right);
    }
  } else if (it->first == n + 1) {
    --it->first;
    ++it->count;
  }
}

}  // namespace

Result<std::optional<Tombstone>> get_tombstone(const ReadRows& rows, Ino ino) {
  TRY(std::optional<Bytes> row, rows.get(tombstone_key(ino)));
  if (!row) return std::nullopt;
  return decode_tombstone(*row);
}

Result<void> bury(Rows& rows, Ino ino, const Inode& inode, Ino dir, std::string_view name) {
  TRY(std::optional<Tombstone> there, get_tombstone(rows, ino));
  Tombstone t;
  if (there) {
    t = std::move(*there);
    t.inode.only = inode.only;
    t.inode.chunks = inode.chunks;
    t.inode.blocks = inode.blocks;
  } else {
    t.inode = inode;
    t.inode.nlink = 0;
    t.inode.parent = dir;
    t.inode.cookie = 0;
    t.inode.has_xattrs = false;
    t.name = name.empty() ? "removed" : name;  // settle() and apply() know better
    if (inode.has_xattrs) {
      TRY(std::optional<Bytes> row, rows.get(xattr_key(ino)));
      if (!row) return fail(Code::kCorrupt, "extended attributes are missing");
      TRY(t.xattrs, decode_xattrs(*row));
    }
  }
  t.map_version = inode.version;
  if (inode.has_xattrs) rows.erase(xattr_key(ino));
  rows.put(tombstone_key(ino), encode(t));
  rows.erase(inode_key(ino));
  return {};
}

Result<void> drop_tombstone(Rows& rows, Ino ino) {
  TRY(std::optional<Tombstone> t, get_tombstone(rows, ino));
  if (!t) return {};
  rows.erase(tombstone_key(ino));
  const std::string prefix = displaced_prefix(ino);
  for (std::string at = prefix;;) {
    TRY(std::optional<Row> row, rows.next(prefix, at));
    if (!row) break;
    TRY(FileVersion v, parse_displaced_key(row->key));
    TRYV(drop_displaced(rows, v.ino, v.version));
    at = std::move(row->key);
  }
  TRY(std::optional<Bytes> still_open, rows.get(inode_key(ino)));
  if (still_open) return {};  // the extents are that one's; it goes without a tombstone
  return erase_extents(rows, ino, t->inode);
}

Result<std::optional<Orphan>> lift_orphan(const ReadRows& rows, Ino ino) {
  TRY(std::optional<Bytes> row, rows.get(inode_key(ino)));
  if (!row) return std::nullopt;
  Orphan orphan;
  orphan.ino = ino;
  TRY(orphan.inode, decode_inode(*row));
  if (orphan.inode.nlink > 0) return std::nullopt;
  TRY(orphan.extents, FileExtents(rows, ino, orphan.inode).read(0, kSizeMax));
  TRY(orphan.xattrs, list_xattrs(rows, ino));
  return orphan;
}

Result<bool> put_orphan(Rows& rows, const Orphan& orphan) {
  const Ino ino = orphan.ino;
  TRY(std::optional<Tombstone> t, get_tombstone(rows, ino));
  TRY(std::optional<Bytes> row, rows.get(inode_key(ino)));
  Inode present;
  Version present_version = 0;
  if (row) {
    TRY(present, decode_inode(*row));
    if (present.nlink > 0) return false;
    present_version = present.version;
  } else if (t) {
    present = t->inode;
    present_version = t->map_version;
  }
  Inode inode = orphan.inode;
  inode.only = present.only;
  inode.chunks = present.chunks;
  inode.blocks = present.blocks;
  inode.has_xattrs = present.has_xattrs;
  // What a tombstone has of the very version stays, since it is everybody's: the same bytes, maybe in other frames (Move).
  if (!t || !inode.is_regular() || present_version != inode.version) {
    // The tombstone still needs what the extents were.
    const bool keep = t && inode.is_regular();
    VersionKeeper keeper(rows, ino, present_version, present.size);
    ExtentEdit edit(rows, ino, inode, keep ? &keeper : nullptr);
    std::vector<Patch> all{{0, kSizeMax, nullptr}};
    TRYV(edit.assign(all));
    TRYV(edit.assign(patches(orphan.extents)));
    TRYV(edit.finish());
    if (keep) TRYV(keeper.finish(inode.version));
  }
  put_xattrs(rows, ino, inode, orphan.xattrs);
  put_inode(rows, ino, inode);
  return true;
}

bool VersionKeeper::kept(uint64_t chunk) const {
  auto run = next_elsewhere(displaced_, chunk);
  return (run && *run == chunk) || find_here(displaced_, chunk) != nullptr;
}

Result<void> VersionKeeper::before_change(uint64_t chunk, const Extents& extents) {
  if (kept(chunk)) return {};
  auto at = std::partition_point(displaced_.here.begin(), displaced_.here.end(),
                                 [&](const Displaced::Chunk& c) { return c.chunk < chunk; });
  displaced_.here.insert(at, {chunk, extents});
  extents_ += 1 + extents.size();
  if (extents_ > kHereMax) spill();
  return {};
}

void VersionKeeper::spill() {
  for (Displaced::Chunk& c : displaced_.here) {
    rows_.put(displaced_chunk_key(ino_, old_, c.chunk), encode(c.extents));
    add_run(displaced_.elsewhere, c.chunk);
  }
  displaced_.here.clear();
  extents_ = kHereMax;  // once there are rows, all go there
}

Result<void> VersionKeeper::finish(Version newer) {
  if (!displaced_.elsewhere.empty()) spill();
  displaced_.newer = newer;
  TRY(std::optional<Displaced> known, get_displaced(rows_, ino_, old_));
  if (known)
    for (const Run& r : known->elsewhere)
      for (uint64_t c = r.first; c < r.end(); ++c)
        if (next_elsewhere(displaced_, c) != c) rows_.erase(displaced_chunk_key(ino_, old_, c));
  rows_.put(displaced_key(ino_, old_), encode(displaced_));
  return {};
}

Result<std::optional<Displaced>> get_displaced(const ReadRows& rows, Ino ino, Version version) {
  TRY(std::optional<Bytes> row, rows.get(displaced_key(ino, version)));
  if (!row) return std::nullopt;
  return decode_displaced(*row);
}

Result<void> put_moved_if_new(Rows& rows, Ino ino, Version version, Ino moved_to) {
  if (ino == moved_to) return {};
  TRY(std::optional<Bytes> known, rows.get(displaced_key(ino, version)));
  if (known) return {};
  Displaced d;
  d.moved_to = moved_to;
  rows.put(displaced_key(ino, version), encode(d));
  return {};
}

Result<void> drop_displaced(Rows& rows, Ino ino, Version version) {
  TRY(std::optional<Displaced> d, get_displaced(rows, ino, version));
  if (!d) return {};
  for (const Run& r : d->elsewhere)
    for (uint64_t c = r.first; c < r.end(); ++c) rows.erase(displaced_chunk_key(ino, version, c));
  rows.erase(displaced_key(ino, version));
  return {};
}

Result<std::optional<VersionExtents>> open_version(const ReadRows& rows, Ino ino, const Inode& present,
                                                   Version present_version, Version version) {
  VersionExtents v(rows, ino, std::make_unique<Inode>(present));
  v.size_ = present.size;
  std::unordered_set<Version> met;
  for (Version at = version; at != present_version;) {
    if (!met.insert(at).second) return fail(Code::kCorrupt, "displaced versions go in a circle");
    TRY(std::optional<Displaced> d, get_displaced(rows, ino, at));
    if (!d || d->moved_to != 0) return std::nullopt;
    if (at == version) v.size_ = d->size;
    Version newer = d->newer;
    v.steps_.push_back({at, std::move(*d)});
    at = newer;
  }
  return v;
}

Result<bool> is_present(const ReadRows& rows, Ino ino, const Inode& inode, Version version) {
  if (inode.version == version) return true;
  TRY(std::optional<VersionExtents> extents, open_version(rows, ino, inode, inode.version, version));
  return extents && extents->is_present();
}

Result<std::optional<VersionExtents>> open_removed(const ReadRows& rows, Ino ino) {
  TRY(std::optional<Tombstone> t, get_tombstone(rows, ino));
  if (!t) return std::nullopt;
  TRY(std::optional<Bytes> row, rows.get(inode_key(ino)));
  if (!row) return open_version(rows, ino, t->inode, t->map_version, t->inode.version);
  TRY(Inode still_open, decode_inode(*row));
  return open_version(rows, ino, still_open, still_open.version, t->inode.version);
}

Result<Extents> VersionExtents::chunk(uint64_t chunk) const {
  for (const Step& s : steps_) {
    if (const Displaced::Chunk* c = find_here(s.displaced, chunk)) return c->extents;
    if (next_elsewhere(s.displaced, chunk) == chunk) {
      TRY(std::optional<Bytes> row, rows_->get(displaced_chunk_key(ino_, s.version, chunk)));
      if (!row) return fail(Code::kCorrupt, "a chunk of a displaced version is missing");
      return decode_extents(*row);
    }
  }
  return file_->chunk(chunk);
}

Result<std::optional<uint64_t>> VersionExtents::next_chunk(uint64_t from) const {
  TRY(std::optional<uint64_t> first, file_->next_chunk(from));
  auto consider = [&](uint64_t c) {
    if (!first || c < *first) first = c;
  };
  for (const Step& s : steps_) {
    auto it = std::lower_bound(s.displaced.here.begin(), s.displaced.here.end(), from,
                               [](const Displaced::Chunk& c, uint64_t n) { return c.chunk < n; });
    if (it != s.displaced.here.end()) consider(it->chunk);
    if (auto c = next_elsewhere(s.displaced, from)) consider(*c);
  }
  return first;
}

bool VersionExtents::is_present() const {
  for (const Step& s : steps_)
    if (!s.displaced.here.empty() || !s.displaced.elsewhere.empty() || s.displaced.size != present_->size) return false;
  return true;
}

Result<Ino> resolve_alias(const ReadRows& rows, Ino ino) {
  for (;;) {
    TRY(std::optional<Bytes> row, rows.get(alias_key(ino)));
    if (!row) return ino;
    TRY(ino, decode_number(*row));
  }
}

void put_alias(Rows& rows, Ino ino, Ino survivor) { rows.put(alias_key(ino), encode_number(survivor)); }

Result<std::optional<std::string>> get_diverted(const ReadRows& rows, Ino dir, Ino ino, std::string_view name) {
  TRY(std::optional<Bytes> row, rows.get(diverted_key(dir, ino, name)));
  if (!row) return std::nullopt;
  // An entry's encoding, for its checks.
  TRY(Entry entry, decode_entry(*row));
  return std::move(entry.name);
}

void put_diverted(Rows& rows, Ino dir, Ino ino, std::string_view name, std::string_view really) {
  rows.put(diverted_key(dir, ino, name), encode(Entry{std::string(really), ino, FileType::kRegular}));
}

Result<void> end_diversion(Rows& rows, Ino dir, Ino ino, std::string_view name) {
  RowKey key = diverted_key(dir, ino, name);
  TRY(std::optional<Bytes> row, rows.get(key));
  if (row) rows.erase(std::move(key));
  return {};
}

Result<void> forget(Rows& rows, Generation upto) {
  auto is_remains = [](const RowKey& key) {
    std::optional<RowKind> kind = kind_of(key.bytes);
    return kind == RowKind::kTombstone || kind == RowKind::kDisplaced || kind == RowKind::kAlias ||
           kind == RowKind::kDiverted;
  };
  std::vector<RowKey> old;
  std::unordered_set<std::string> kept;
  const std::string prefix = kind_prefix(RowKind::kHistory);
  for (std::string at = prefix;;) {
    TRY(std::optional<Row> row, rows.next(prefix, at));
    if (!row) break;
    TRY(Generation generation, parse_first(RowKind::kHistory, row->key));
    TRY(HistoryEntry h, decode_history(row->value));
    if (is_remains(h.key)) {
      if (generation <= upto)
        old.push_back(std::move(h.key));
      else
        kept.insert(std::move(h.key.bytes));
    }
    at = std::move(row->key);
  }
  std::erase_if(old, [&](const RowKey& key) { return kept.contains(key.bytes); });
  // Tombstones first: one that stays needs its versions.
  std::stable_partition(old.begin(), old.end(),
                        [](const RowKey& key) { return kind_of(key.bytes) == RowKind::kTombstone; });
  for (RowKey& key : old) {
    switch (*kind_of(key.bytes)) {
      case RowKind::kTombstone: {
        TRY(Ino ino, parse_first(RowKind::kTombstone, key.bytes));
        // What is open here goes back to its tombstone when news arrives; closing it will touch the tombstone again.
        TRY(std::optional<Bytes> still_open, rows.get(inode_key(ino)));
        if (!still_open) TRYV(drop_tombstone(rows, ino));
        break;
      }
      case RowKind::kDisplaced: {
        TRY(FileVersion v, parse_displaced_key(key.bytes));
        TRY(std::optional<Bytes> tombstone, rows.get(tombstone_key(v.ino)));
        if (!tombstone) TRYV(drop_displaced(rows, v.ino, v.version));
        break;
      }
      default:
        rows.erase(std::move(key));
    }
  }
  return {};
}

}  // namespace coffer::model
