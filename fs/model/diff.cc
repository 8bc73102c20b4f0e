#include "fs/model/diff.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_set>
#include <utility>

#include "fs/model/apply_moves.h"
#include "fs/model/extent_map.h"
#include "fs/model/family.h"
#include "fs/model/remains.h"
#include "fs/model/tree.h"

namespace coffer::model {
namespace {

// What generations did, as the rows that they touched: how each was before the first.
class Span {
 public:
  static Result<Span> load(const ReadRows& rows, Generation first, Generation last) {
    Span span;
    for (Generation g = first; g <= last; ++g) {
      TRY(std::vector<HistoryEntry> history, history_of(rows, g));
      if (g == last) span.last_size_ = history.size();
      for (HistoryEntry& h : history) {
        if (g == last) span.in_last_.insert(h.key.bytes);
        if (!span.before_.try_emplace(h.key.bytes, std::move(h.before)).second) continue;
        TRYV(span.sort_in(h));
      }
    }
    return span;
  }

  // nullptr: not touched.
  const std::optional<Bytes>* before(const RowKey& key) const {
    auto it = before_.find(key.bytes);
    return it == before_.end() ? nullptr : &it->second;
  }
  bool in_last(const RowKey& key) const { return in_last_.contains(key.bytes); }
  uint64_t last_size() const { return last_size_; }

  const std::set<Ino>& inodes() const { return inodes_; }
  const std::vector<EntryPlace>& entries() const { return entries_; }  // in the order in which they were touched
  // What changes leave behind, tombstones apart.
  const std::vector<RowKey>& remains() const { return remains_; }
  // Chunks of a file whose extents may have changed; the first may always, since inodes hold it in part.
  bool has_chunks(Ino ino) const { return chunks_.contains(ino); }
  std::set<uint64_t> chunks(Ino ino) const {
    std::set<uint64_t> out{0};
    if (auto it = chunks_.find(ino); it != chunks_.end()) out.insert(it->second.begin(), it->second.end());
    return out;
  }

 private:
  Result<void> sort_in(const HistoryEntry& h) {
    const std::string& key = h.key.bytes;
    switch (*kind_of(key)) {  // history holds only known kinds
      case RowKind::kInode:
      case RowKind::kTombstone: {
        TRY(Ino ino, parse_first(*kind_of(key), key));
        inodes_.insert(ino);
        break;
      }
      case RowKind::kEntry: {
        TRY(EntryPlace place, parse_entry_key(key));
        entries_.push_back(place);
        break;
      }
      case RowKind::kExtents: {
        TRY(FileChunk c, parse_chunk_key(key));
        chunks_[c.ino].push_back(c.chunk);
        break;
      }
      case RowKind::kDiverted:
      case RowKind::kAlias:
      case RowKind::kDisplaced:
      case RowKind::kDisplacedExtents:
        remains_.push_back(h.key);
        break;
      default:
        break;
    }
    return {};
  }

  std::unordered_map<std::string, std::optional<Bytes>> before_;
  std::unordered_set<std::string> in_last_;
  uint64_t last_size_ = 0;
  std::set<Ino> inodes_;
  std::vector<EntryPlace> entries_;
  std::vector<RowKey> remains_;
  std::unordered_map<Ino, std::vector<uint64_t>> chunks_;
};

// The rows at the end of a span. Of these, displaced versions can be walked.
class AtEnd : public ReadRows {
 public:
  AtEnd(const ReadRows& rows, const Touched* newer) : rows_(rows), newer_(newer) {}
  Result<std::optional<Bytes>> get(const RowKey& key) const override {
    std::optional<uint64_t> index = newer_ && is_tracked(key) ? newer_->index_of(key) : std::nullopt;
    if (!index) return rows_.get(key);
    TRY(HistoryEntry h, before_image(rows_, newer_->generation(), *index));
    return std::move(h.before);
  }
  Result<std::optional<Row>> next(std::string_view prefix, std::string_view after) const override {
    if (kind_of(prefix) != RowKind::kDisplaced) return fail(Code::kInternal, "earlier rows cannot be walked");
    if (newer_ && !touched_) touched_ = newer_->keys_of(RowKind::kDisplaced);
    for (std::string at(after);;) {
      TRY(std::optional<Row> row, rows_.next(prefix, at));
      std::optional<std::string> key = row ? std::optional(std::move(row->key)) : std::nullopt;
      // One that the newer generation erased is not among the rows.
      if (touched_)
        if (auto t = touched_->upper_bound(at); t != touched_->end() && t->starts_with(prefix) && (!key || *t < *key))
          key = *t;
      if (!key) return std::nullopt;
      TRY(std::optional<Bytes> value, get(RowKey{*key, key->size()}));
      if (value) return Row{std::move(*key), std::move(*value)};
      at = std::move(*key);
    }
  }

 private:
  const ReadRows& rows_;
  const Touched* const newer_;
  mutable std::optional<std::set<std::string>> touched_;  // displaced versions, by the newer generation
};

// The rows before a span.
class AtStart : public ReadRows {
 public:
  AtStart(const Span& span, const ReadRows& at_end) : span_(span), at_end_(at_end) {}
  Result<std::optional<Bytes>> get(const RowKey& key) const override {
    if (const std::optional<Bytes>* before = span_.before(key)) return *before;
    return at_end_.get(key);
  }
  Result<std::optional<Row>> next(std::string_view, std::string_view) const override {
    return fail(Code::kInternal, "earlier rows cannot be walked");
  }

 private:
  const Span& span_;
  const ReadRows& at_end_;
};

// An inode that has links at one end of a span.
struct Sight {
  Inode inode;
  std::vector<Xattr> xattrs;
};

Result<std::optional<Inode>> find_inode(const ReadRows& rows, Ino ino) {
  TRY(std::optional<Bytes> row, rows.get(inode_key(ino)));
  if (!row) return std::nullopt;
  return decode_inode(*row);
}

// nullopt: never there, removed, or open here only.
Result<std::optional<Sight>> see(const ReadRows& rows, Ino ino) {
  TRY(std::optional<Inode> inode, find_inode(rows, ino));
  if (!inode || inode->nlink == 0) return std::nullopt;
  Sight sight;
  if (inode->has_xattrs) {
    TRY(std::optional<Bytes> row, rows.get(xattr_key(ino)));
    if (!row) return fail(Code::kCorrupt, "extended attributes are missing");
    TRY(sight.xattrs, decode_xattrs(*row));
  }
  sight.inode = std::move(*inode);
  return sight;
}

void append_piece(std::vector<ContentPiece>& pieces, uint64_t begin, uint64_t end, const Extent* from) {
  if (!pieces.empty()) {
    ContentPiece& last = pieces.back();
    const bool touches = last.offset + last.length == begin;
    if (touches && !from && !last.extent) {
      last.length = end - last.offset;
      return;
    }
    if (touches && from && last.extent && continues(*last.extent, part_of(*from, begin, end))) {
      last.length = end - last.offset;
      last.extent->length = static_cast<uint32_t>(last.length);
      return;
    }
  }
  ContentPiece& piece = pieces.emplace_back(ContentPiece{begin, end - begin, std::nullopt});
  if (from) piece.extent = part_of(*from, begin, end);
}

// Calls `differs(from, to, old, now)` with the ranges of [begin, end) that `before` and `after` map to different frames.
template <typename Differs>
void compare(const Extents& before, const Extents& after, uint64_t begin, uint64_t end, Differs&& differs) {
  auto b = before.begin(), a = after.begin();
  for (uint64_t at = begin; at < end;) {
    while (b != before.end() && b->end() <= at) ++b;
    while (a != after.end() && a->end() <= at) ++a;
    const Extent* old = b != before.end() && b->offset <= at ? &*b : nullptr;
    const Extent* now = a != after.end() && a->offset <= at ? &*a : nullptr;
    uint64_t until = end;
    if (b != before.end()) until = std::min(until, old ? b->end() : b->offset);
    if (a != after.end()) until = std::min(until, now ? a->end() : a->offset);
    const bool same = old && now ? old->frame == now->frame && old->frame_length == now->frame_length &&
                                       old->skip + (at - old->offset) == now->skip + (at - now->offset)
                                 : old == now;
    if (!same) differs(at, until, old, now);
    at = until;
  }
}

// The same part of another frame: of contents that did not change, it was sealed anew.
std::optional<Move> moved(Ino ino, uint64_t from, uint64_t to, const Extent* old, const Extent* now) {
  if (!old || !now || old->frame_length != now->frame_length) return std::nullopt;
  const Extent was = part_of(*old, from, to), is = part_of(*now, from, to);
  if (was.skip != is.skip) return std::nullopt;
  return Move{ino, was.frame.pack, was.frame.offset, is};
}

template <typename T>
std::optional<T> if_changed(const T& before, const T& after) {
  return before == after ? std::nullopt : std::optional<T>(after);
}

std::vector<XattrChange> compare(const std::vector<Xattr>& before, const std::vector<Xattr>& after) {
  std::vector<XattrChange> out;
  auto b = before.begin();
  for (const Xattr& x : after) {
    for (; b != before.end() && b->name < x.name; ++b) out.push_back({b->name, std::nullopt});
    if (b != before.end() && b->name == x.name) {
      if (b->value != x.value) out.push_back({x.name, x.value});
      ++b;
    } else {
      out.push_back({x.name, x.value});
    }
  }
  for (; b != before.end(); ++b) out.push_back({b->name, std::nullopt});
  return out;
}

class Differ {
 public:
  Differ(const ReadRows& rows, const Span& span, Generation last, const ReadRows& at_start, const ReadRows& at_end)
      : rows_(rows), span_(span), last_(last), start_(at_start), end_(at_end) {}

  Result<ChangeSet> run() {
    for (Ino ino : span_.inodes()) TRYV(add_inode(ino));
    TRYV(add_entries());
    TRYV(add_families());
    return std::move(out_);
  }

 private:
  Result<void> add_inode(Ino ino) {
    TRY(std::optional<Sight> before, see(start_, ino));
    TRY(std::optional<Sight> after, see(end_, ino));
    InodeChange c;
    c.ino = ino;
    if (!after) {
      if (!before) return {};  // what others never saw, or know as removed, is nobody else's business
      c.kind = InodeChange::Kind::kRemoved;
      c.type = before->inode.type;
      c.removed_version = before->inode.version;
      out_.inodes.push_back(std::move(c));
      return add_moves_of_removed(ino, before->inode);
    }
    // What came back is described as a whole, too: who has forgotten that it was removed has nothing to build on. (Forgetting
    // waits for all open logs only; a device whose log was ended comes back, learns of the removal, and brings back what it
    // had changed.)
    const bool made = !before;
    const Inode& a = after->inode;
    c.kind = made ? InodeChange::Kind::kMade : InodeChange::Kind::kChanged;
    c.type = a.type;
    if (made) {
      c.mode = a.mode, c.uid = a.uid, c.gid = a.gid;
      c.atime = a.atime, c.mtime = a.mtime, c.ctime = a.ctime, c.btime = a.btime;
      if (a.type == FileType::kCharDevice || a.type == FileType::kBlockDevice) c.rdev = a.rdev;
      if (a.type == FileType::kSymlink) c.target = a.target;
    } else {
      const Inode& b = before->inode;
      c.mode = if_changed(b.mode, a.mode), c.uid = if_changed(b.uid, a.uid), c.gid = if_changed(b.gid, a.gid);
      c.atime = if_changed(b.atime, a.atime), c.mtime = if_changed(b.mtime, a.mtime);
      c.ctime = if_changed(b.ctime, a.ctime);
    }
    c.xattrs = compare(made ? std::vector<Xattr>() : before->xattrs, after->xattrs);
    if (a.is_regular() && (made || a.version != before->inode.version)) {
      c.origin = a.origin;
      TRYV(add_content(ino, made ? nullptr : &before->inode, a, c.content.emplace()));
    } else if (a.is_regular() && (a.only != before->inode.only || span_.has_chunks(ino))) {
      TRYV(add_moves(ino, before->inode, a));
    }
    if (made || c.mode || c.uid || c.gid || c.atime || c.mtime || c.ctime || c.content || !c.xattrs.empty())
      out_.inodes.push_back(std::move(c));
    return {};
  }

  // `before`: null for a file that is made, of which every chunk counts.
  Result<void> add_content(Ino ino, const Inode* before, const Inode& after, ContentChange& c) {
    c.version = after.version;
    c.size = after.size;
    FileExtents now(end_, ino, after);
    if (!before) {
      for (uint64_t from = 0;;) {
        TRY(std::optional<uint64_t> chunk, now.next_chunk(from));
        if (!chunk) return {};
        TRYV(add_chunk(nullptr, now, *chunk, c));
        from = *chunk + 1;
      }
    }
    c.base = before->version;
    FileExtents old(start_, ino, *before);
    for (uint64_t chunk : span_.chunks(ino)) TRYV(add_chunk(&old, now, chunk, c));
    return {};
  }

  // What it held when it was removed is what a change made elsewhere brings back.
  Result<void> add_moves_of_removed(Ino ino, const Inode& before) {
    if (!before.is_regular()) return {};
    TRY(std::optional<Inode> open, find_inode(end_, ino));
    Inode root;
    if (open) {
      root = std::move(*open);
    } else {
      TRY(std::optional<Tombstone> t, get_tombstone(end_, ino));
      if (!t) return {};
      root = std::move(t->inode);
      root.version = t->map_version;
    }
    if (root.version != before.version) return {};
    root.size = before.size;
    return add_moves(ino, before, root);
  }

  Result<void> add_moves(Ino ino, const Inode& before, const Inode& after) {
    FileExtents old(start_, ino, before), now(end_, ino, after);
    for (uint64_t chunk : span_.chunks(ino)) {
      const uint64_t begin = chunk * kChunk;
      if (begin >= after.size) continue;
      TRY(Extents was, old.chunk(chunk));
      TRY(Extents is, now.chunk(chunk));
      compare(was, is, begin, begin + std::min(kChunk, after.size - begin),
              [&](uint64_t from, uint64_t to, const Extent* b, const Extent* a) {
                if (auto move = moved(ino, from, to, b, a)) out_.moves.push_back(std::move(*move));
              });
    }
    return {};
  }

  static Result<void> add_chunk(const ExtentSource* before, const ExtentSource& after, uint64_t chunk,
                                ContentChange& c) {
    const uint64_t begin = chunk * kChunk;
    if (begin >= c.size) return {};
    Extents old;
    if (before) {
      TRY(old, before->chunk(chunk));
    }
    TRY(Extents now, after.chunk(chunk));
    compare(old, now, begin, begin + std::min(kChunk, c.size - begin),
            [&c](uint64_t from, uint64_t to, const Extent*, const Extent* a) { append_piece(c.pieces, from, to, a); });
    return {};
  }

  Result<void> add_entries() {
    struct Leads {
      Ino before = 0, after = 0;
      FileType type = FileType::kRegular;
      size_t order = 0;
    };
    std::map<std::pair<Ino, std::string>, Leads> names;
    size_t order = 0;
    for (const EntryPlace& place : span_.entries()) {
      RowKey key = entry_key(place.dir, place.cookie);
      ++order;
      TRY(std::optional<Bytes> old, start_.get(key));
      TRY(std::optional<Bytes> now, end_.get(key));
      if (old) {
        TRY(Entry e, decode_entry(*old));
        Leads& l = names[{place.dir, std::move(e.name)}];
        l.before = e.ino;
        if (l.after == 0) l.type = e.type;
      }
      if (now) {
        TRY(Entry e, decode_entry(*now));
        Leads& l = names[{place.dir, std::move(e.name)}];
        l.after = e.ino;
        l.type = e.type;
        l.order = order;
      }
    }
    for (auto& [name, l] : names)
      if (l.before != l.after) out_.entries.push_back({name.first, name.second, l.before, l.after, l.type});
    std::stable_sort(out_.entries.begin(), out_.entries.end(), [&](const EntryChange& x, const EntryChange& y) {
      auto rank = [&](const EntryChange& e) { return e.after ? names.find({e.dir, e.name})->second.order : SIZE_MAX; };
      return rank(x) < rank(y);
    });
    return {};
  }

  // Of the families of which something changed, what did not change itself: exactly what apply() finds beside it when
  // nothing happened elsewhere. So both look at the names of the start.
  Result<void> add_families() {
    std::set<Family> families;
    std::unordered_set<Ino> told;
    for (const InodeChange& c : out_.inodes) {
      told.insert(c.ino);
      if (c.type != FileType::kRegular || c.kind == InodeChange::Kind::kMade) continue;
      if (c.kind == InodeChange::Kind::kChanged && !c.content) continue;
      TRY(std::optional<Inode> inode, find_inode(start_, c.ino));
      if (!inode) continue;
      TRY(std::optional<Family> family, family_of(start_, *inode));
      if (family) families.insert(std::move(*family));
    }
    for (const EntryChange& e : out_.entries)
      if (e.after != 0 && e.type == FileType::kRegular && !companion_suffix(e.name).empty())
        families.insert(family_of(e.dir, e.name));
    TRY(std::vector<Ino> all, members_at_start(families));
    for (Ino ino : all) {
      if (!told.insert(ino).second) continue;
      TRY(std::optional<Inode> inode, find_inode(start_, ino));
      if (!inode) return fail(Code::kCorrupt, "a name leads to an inode that is missing");
      InodeChange& c = out_.inodes.emplace_back();
      c.ino = ino;
      c.origin = inode->origin;
      c.content = ContentChange{inode->version, inode->version, inode->size, {}};
    }
    std::sort(out_.inodes.begin(), out_.inodes.end(), [](const auto& x, const auto& y) { return x.ino < y.ino; });
    return {};
  }

  // N rows have no history: of names that have changed since, the entries tell, those too that a newer generation changes
  // meanwhile. So its history is read last.
  Result<std::vector<Ino>> members_at_start(const std::set<Family>& families) const {
    using Place = std::pair<Ino, std::string>;
    std::vector<Ino> out;
    if (families.empty()) return out;
    std::map<Place, Entry> changed;
    auto note = [&changed](const EntryPlace& place, BytesView row) -> Result<void> {
      TRY(Entry e, decode_entry(row));
      changed.emplace(Place{place.dir, e.name}, e);
      return {};
    };
    for (const EntryPlace& place : span_.entries()) {
      TRY(std::optional<Bytes> old, start_.get(entry_key(place.dir, place.cookie)));
      if (old) TRYV(note(place, *old));
    }
    auto take = [&out](const Entry& e) {
      if (e.type == FileType::kRegular) out.push_back(e.ino);
    };
    std::vector<Place> missed;
    for (const Family& family : families) {
      for (std::string_view member : kMembers) {
        Place place{family.dir, family.stem + std::string(member)};
        if (auto it = changed.find(place); it != changed.end()) {
          take(it->second);
          continue;
        }
        TRY(std::optional<Entry> entry, still_there(place.first, place.second));
        if (entry)
          take(*entry);
        else
          missed.push_back(std::move(place));
      }
    }
    TRY(std::vector<HistoryEntry> newer, history_of(rows_, last_ + 1));
    for (const HistoryEntry& h : newer) {
      if (kind_of(h.key.bytes) != RowKind::kEntry || !h.before || span_.before(h.key) != nullptr) continue;
      TRY(EntryPlace place, parse_entry_key(h.key.bytes));
      TRYV(note(place, *h.before));
    }
    for (const Place& place : missed)
      if (auto it = changed.find(place); it != changed.end()) take(it->second);
    return out;
  }

  // Where a name leads that led there at the start as well.
  Result<std::optional<Entry>> still_there(Ino dir, const std::string& name) const {
    TRY(std::optional<Bytes> number, rows_.get(name_key(dir, name)));
    if (!number) return std::nullopt;
    TRY(uint64_t cookie, decode_number(*number));
    TRY(std::optional<Bytes> row, start_.get(entry_key(dir, cookie)));
    if (!row) return std::nullopt;
    TRY(Entry entry, decode_entry(*row));
    return entry.name == name ? std::optional(std::move(entry)) : std::nullopt;
  }

  const ReadRows& rows_;
  const Span& span_;
  const Generation last_;
  const ReadRows& start_;
  const ReadRows& end_;
  ChangeSet out_;
};

// Puts rows as if the last generation of a span had put them, although a newer one may have gone on from there.
class LatePuts : public Rows {
 public:
  LatePuts(Rows& rows, const Span& span, Generation last, const Touched* newer)
      : rows_(rows), end_(rows, newer), span_(span), last_(last), newer_(newer), index_(span.last_size()) {}

  Result<std::optional<Bytes>> get(const RowKey& key) const override { return end_.get(key); }
  Result<std::optional<Row>> next(std::string_view prefix, std::string_view after) const override {
    return end_.next(prefix, after);
  }
  void put(RowKey key, Bytes value) override { set(std::move(key), std::move(value)); }
  void erase(RowKey key) override { set(std::move(key), std::nullopt); }
  Result<void> status() { return std::move(status_); }

 private:
  void set(RowKey key, std::optional<Bytes> value) {
    if (status_) status_ = try_set(std::move(key), std::move(value));
  }
  Result<void> try_set(RowKey key, std::optional<Bytes> value) {
    if (!span_.in_last(key) && added_.insert(key.bytes).second) {
      TRY(std::optional<Bytes> before, end_.get(key));
      rows_.put(history_key(last_, index_++), encode(HistoryEntry{key, std::move(before)}));
    }
    if (std::optional<uint64_t> index = newer_ ? newer_->index_of(key) : std::nullopt) {
      rows_.put(history_key(newer_->generation(), *index), encode(HistoryEntry{std::move(key), std::move(value)}));
    } else if (value) {
      rows_.put(std::move(key), std::move(*value));
    } else {
      rows_.erase(std::move(key));
    }
    return {};
  }

  Rows& rows_;
  const AtEnd end_;
  const Span& span_;
  const Generation last_;
  const Touched* const newer_;
  uint64_t index_;
  std::unordered_set<std::string> added_;
  Result<void> status_;
};

class Settler {
 public:
  Settler(const Span& span, const ReadRows& at_start, const ReadRows& at_end, const std::vector<Move>& moves, Rows& out)
      : span_(span), start_(at_start), end_(at_end), moves_(moves), out_(out) {}

  Result<void> run() {
    TRYV(forget_redoing());
    TRYV(move_displaced(out_, moves_));
    // Where removed inodes were: of several names the least, as in apply().
    for (const EntryPlace& place : span_.entries()) {
      const RowKey key = entry_key(place.dir, place.cookie);
      TRYV(end_diversion(place.dir, key));
      TRY(std::optional<Bytes> old, start_.get(key));
      if (!old) continue;
      TRY(Entry e, decode_entry(*old));
      auto [it, first] = places_.try_emplace(e.ino, place.dir, e.name);
      if (!first) it->second = std::min(it->second, {place.dir, std::move(e.name)});
    }
    for (Ino ino : span_.inodes()) TRYV(settle(ino));
    return {};
  }

 private:
  // Pending changes that were made again on top of news may have met conflicts: here, not in the record, which tells only
  // how they ended. What they left is not what it will leave for others, who may get the changes from a copy of this
  // machine, too.
  Result<void> forget_redoing() {
    for (const RowKey& key : span_.remains()) {
      TRYV(restore(key));
      if (kind_of(key.bytes) != RowKind::kAlias) continue;
      TRY(Ino ino, parse_first(RowKind::kAlias, key.bytes));
      TRY(std::optional<Bytes> tombstone, start_.get(tombstone_key(ino)));
      if (!tombstone) continue;
      TRYV(restore(tombstone_key(ino)));
      for (uint64_t chunk : span_.chunks(ino)) {
        TRYV(restore(chunk_key(ino, chunk)));
        TRYV(restore(block_key(ino, chunk / kBlock)));
      }
    }
    return {};
  }

  Result<void> restore(const RowKey& key) {
    TRY(std::optional<Bytes> before, start_.get(key));
    if (before)
      out_.put(key, std::move(*before));
    else
      out_.erase(key);
    return {};
  }

  Result<void> end_diversion(Ino dir, const RowKey& key) {
    TRY(std::optional<Bytes> now, end_.get(key));
    if (!now) return {};
    TRY(Entry e, decode_entry(*now));
    TRY(std::optional<Bytes> known, start_.get(inode_key(e.ino)));
    if (!known) {
      TRY(known, start_.get(tombstone_key(e.ino)));
    }
    if (known) TRYV(model::end_diversion(out_, dir, e.ino, e.name));  // what is new was diverted nowhere
    return {};
  }

  Result<void> settle(Ino ino) {
    TRY(std::optional<Inode> before, find_inode(start_, ino));
    TRY(std::optional<Inode> after, find_inode(end_, ino));
    const bool was_living = before && before->nlink > 0, is_living = after && after->nlink > 0;
    std::optional<Tombstone> tombstone;  // by which others know it; its extents are those of the end
    if (was_living) {
      if (!is_living) {
        TRY(tombstone, tombstone_of(ino, *before));
      }
    } else {
      TRY(tombstone, get_tombstone(start_, ino));
      before = tombstone ? std::optional(tombstone->inode) : std::nullopt;
    }
    if (is_living && after->origin != 0 && (!before || before->version != after->version)) {
      TRY(Ino origin, resolve_alias(end_, after->origin));
      TRYV(put_moved_if_new(out_, origin, after->version, ino));
    }
    if (!before) return drop_unknown(ino, after.has_value());
    // Where the extents are now.
    Inode root;
    if (after) {
      root = *after;
    } else {
      TRY(std::optional<Tombstone> now, get_tombstone(end_, ino));
      if (!now) return {};  // it went without one: nobody knew it
      root = now->inode;
      root.version = now->map_version;
    }
    if (before->is_regular()) {
      if (before->version != root.version)
        TRYV(keep_version(ino, was_living, *before, root));
      else if (!was_living)
        TRYV(drop_replaced(ino, root.version));
    }
    if (is_living) return {};
    tombstone->inode.only = root.only;
    tombstone->inode.chunks = root.chunks;
    tombstone->inode.blocks = root.blocks;
    tombstone->map_version = root.version;
    out_.put(tombstone_key(ino), encode(*tombstone));
    return {};
  }

  // The version is the present one again.
  Result<void> drop_replaced(Ino ino, Version version) {
    TRY(std::optional<Displaced> d, get_displaced(end_, ino, version));
    if (d && d->moved_to == 0) TRYV(drop_displaced(out_, ino, version));
    return {};
  }

  // What nobody knew, and is removed: nobody asks for a tombstone.
  Result<void> drop_unknown(Ino ino, bool there) {
    TRY(std::optional<Tombstone> tombstone, get_tombstone(end_, ino));
    if (!tombstone) return {};
    if (!there) TRYV(erase_extents(out_, ino, tombstone->inode));
    out_.erase(tombstone_key(ino));
    return {};
  }

  Result<void> keep_version(Ino ino, bool was_living, const Inode& before, const Inode& root) {
    FileExtents now(end_, ino, root);
    VersionKeeper keeper(out_, ino, before.version, before.size);
    if (was_living) {
      FileExtents old(start_, ino, before);
      for (uint64_t chunk : span_.chunks(ino)) TRYV(keep_chunk(keeper, old, now, chunk));
    } else {
      // Its rows may have held another version than the one that others know, so all of both is compared.
      TRY(std::optional<VersionExtents> old, open_removed(start_, ino));
      if (!old) return {};  // forgotten: nobody can name it any more
      for (uint64_t from = 0;;) {
        TRY(std::optional<uint64_t> b, old->next_chunk(from));
        TRY(std::optional<uint64_t> a, now.next_chunk(from));
        if (!a && !b) break;
        uint64_t chunk = std::min(a.value_or(UINT64_MAX), b.value_or(UINT64_MAX));
        TRYV(keep_chunk(keeper, *old, now, chunk));
        from = chunk + 1;
      }
    }
    return keeper.finish(root.version);
  }

  static Result<void> keep_chunk(VersionKeeper& keeper, const ExtentSource& old, const ExtentSource& now,
                                 uint64_t chunk) {
    TRY(Extents was, old.chunk(chunk));
    TRY(Extents is, now.chunk(chunk));
    if (was != is) TRYV(keeper.before_change(chunk, was));
    return {};
  }

  Result<Tombstone> tombstone_of(Ino ino, const Inode& before) {
    Tombstone t;
    t.inode = before;
    t.inode.nlink = 0;
    t.inode.parent = kRootIno;
    t.inode.cookie = 0;
    t.inode.has_xattrs = false;
    t.name = "removed";
    if (auto it = places_.find(ino); it != places_.end()) {
      t.inode.parent = it->second.first;
      t.name = it->second.second;
    }
    if (before.has_xattrs) {
      TRY(std::optional<Bytes> row, start_.get(xattr_key(ino)));
      if (!row) return fail(Code::kCorrupt, "extended attributes are missing");
      TRY(t.xattrs, decode_xattrs(*row));
    }
    return t;
  }

  const Span& span_;
  const ReadRows& start_;
  const ReadRows& end_;
  const std::vector<Move>& moves_;
  Rows& out_;
  std::unordered_map<Ino, std::pair<Ino, std::string>> places_;
};

}  // namespace

Result<ChangeSet> diff(const ReadRows& rows, Generation first, Generation last, const Touched* newer) {
  TRY(Span span, Span::load(rows, first, last));
  AtEnd at_end(rows, newer);
  AtStart at_start(span, at_end);
  return Differ(rows, span, last, at_start, at_end).run();
}

Result<void> settle(Rows& rows, Generation first, Generation last, const Touched* newer, const ChangeSet& changes) {
  TRY(Span span, Span::load(rows, first, last));
  AtEnd at_end(rows, newer);
  AtStart at_start(span, at_end);
  LatePuts late(rows, span, last, newer);
  TRYV(Settler(span, at_start, at_end, changes.moves, late).run());
  return late.status();
}

}  // namespace coffer::model
