#include "fs/model/history.h"

#include <algorithm>
#include <utility>

#include "fs/model/types.h"

namespace coffer::model {
namespace {

constexpr uint8_t kLayout = 1;
constexpr size_t kReadMax = 4096;  // before-images that a transaction keeps at hand

// The next row of `base` overlaid with `puts`.
Result<std::optional<Row>> next_overlaid(const ReadRows& base, const RowChanges& puts, std::string_view prefix,
                                         std::string_view after) {
  auto mine = after < prefix ? puts.lower_bound(prefix) : puts.upper_bound(after);
  auto in_prefix = [&] { return mine != puts.end() && mine->first.starts_with(prefix); };
  std::optional<Row> below;
  std::string from(after);
  for (bool read = true;;) {
    if (read) {
      TRY(below, base.next(prefix, from));
      read = false;
    }
    if (!in_prefix() || (below && below->key < mine->first)) return below;
    bool same = below && below->key == mine->first;
    if (mine->second.value) return Row{mine->first, *mine->second.value};
    ++mine;  // a removal, of the row below or of nothing
    if (same) {
      from = std::move(below->key);
      read = true;
    }
  }
}

void move_to(RowChanges& puts, std::vector<RowPut>& out) {
  while (!puts.empty()) {
    auto node = puts.extract(puts.begin());
    out.push_back({RowKey{std::move(node.key()), node.mapped().clear}, std::move(node.mapped().value)});
  }
}

// What is left of a generation's E and I rows after they went back: N and L rows follow.
class FollowUp {
 public:
  explicit FollowUp(Rows& rows) : rows_(rows) {}

  Result<void> put_back(const HistoryEntry& h) {
    std::optional<RowKind> kind = kind_of(h.key.bytes);
    if (kind != RowKind::kEntry && kind != RowKind::kInode) {
      put(h);
      return {};
    }
    TRY(std::optional<Bytes> now, rows_.get(h.key));
    if (kind == RowKind::kEntry) {
      TRY(EntryPlace place, parse_entry_key(h.key.bytes));
      Place p{place, std::nullopt, std::nullopt};
      if (now) {
        TRY(p.now, decode_entry(*now));
      }
      if (h.before) {
        TRY(p.before, decode_entry(*h.before));
      }
      entries_.push_back(std::move(p));
      put(h);
      return {};
    }
    TRY(Ino ino, parse_first(RowKind::kInode, h.key.bytes));
    Home home{ino, std::nullopt, std::nullopt};
    std::optional<Inode> inode_now;
    if (now) {
      TRY(inode_now, decode_inode(*now));
      home.now = EntryPlace{inode_now->parent, inode_now->cookie};
    }
    if (!h.before) {
      put(h);
    } else {
      TRY(Inode before, decode_inode(*h.before));
      home.before = EntryPlace{before.parent, before.cookie};
      // Cookies are positions in directory streams that programs hold: they are never given out twice.
      if (inode_now && before.is_directory() && inode_now->next_cookie > before.next_cookie) {
        before.next_cookie = inode_now->next_cookie;
        rows_.put(h.key, encode(before));
      } else {
        put(h);
      }
    }
    homes_.push_back(home);
    return {};
  }

  Result<void> finish() {
    for (const Place& p : entries_) {
      if (!p.now) continue;
      rows_.erase(name_key(p.at.dir, p.now->name));
      rows_.erase(link_key(p.now->ino, p.at.dir, p.at.cookie));
    }
    for (const Place& p : entries_) {
      if (!p.before) continue;
      rows_.put(name_key(p.at.dir, p.before->name), encode_number(p.at.cookie));
      TRYV(put_link_right(p.before->ino, p.at));
    }
    for (const Home& h : homes_) {
      if (h.now) TRYV(put_link_right(h.ino, *h.now));
      if (h.before) TRYV(put_link_right(h.ino, *h.before));
    }
    return {};
  }

 private:
  struct Place {
    EntryPlace at;
    std::optional<Entry> now, before;
  };
  struct Home {
    Ino ino;
    std::optional<EntryPlace> now, before;
  };

  void put(const HistoryEntry& h) {
    if (h.before)
      rows_.put(h.key, *h.before);
    else
      rows_.erase(h.key);
  }

  // There is an L row for every entry that leads to `ino` and is not its home.
  Result<void> put_link_right(Ino ino, const EntryPlace& at) {
    bool wanted = false;
    TRY(std::optional<Bytes> entry_row, rows_.get(entry_key(at.dir, at.cookie)));
    if (entry_row) {
      TRY(Entry entry, decode_entry(*entry_row));
      TRY(std::optional<Bytes> inode_row, rows_.get(inode_key(ino)));
      if (entry.ino == ino && inode_row) {
        TRY(Inode inode, decode_inode(*inode_row));
        wanted = inode.parent != at.dir || inode.cookie != at.cookie;
      }
    }
    RowKey key = link_key(ino, at.dir, at.cookie);
    if (wanted)
      rows_.put(std::move(key), {});
    else
      rows_.erase(std::move(key));
    return {};
  }

  Rows& rows_;
  std::vector<Place> entries_;
  std::vector<Home> homes_;
};

}  // namespace

// layout u8 | key | clear bytes of it | u8: had a value | value
Bytes encode(const HistoryEntry& h) {
  Bytes b;
  b.reserve(h.key.bytes.size() + (h.before ? h.before->size() : 0) + 8);
  Writer out(b);
  out.u8(kLayout);
  out.string(h.key.bytes);
  out.varint(h.key.clear);
  out.u8(h.before ? 1 : 0);
  if (h.before) out.raw(*h.before);
  return b;
}

Result<HistoryEntry> decode_history(BytesView bytes) {
  Reader in(bytes);
  uint8_t layout = in.u8();
  if (in.ok() && layout > kLayout) return fail(Code::kTooNew, "history has a layout that this build does not know");
  HistoryEntry h;
  h.key.bytes = in.string();
  uint64_t clear = in.varint();
  uint8_t had = in.u8();
  if (!in.ok() || layout != kLayout || clear > h.key.bytes.size() || had > 1 || !is_tracked(h.key))
    return fail(Code::kCorrupt, "malformed row: history");
  h.key.clear = static_cast<size_t>(clear);
  if (had) h.before = to_bytes(in.raw(in.remaining()));
  if (!in.at_end()) return fail(Code::kCorrupt, "malformed row: history");
  return h;
}

Result<Touched> Touched::load(const ReadRows& rows, Generation generation) {
  Touched touched(generation);
  TRY(std::vector<HistoryEntry> history, history_of(rows, generation));
  touched.index_.reserve(history.size());
  for (HistoryEntry& h : history) touched.add(std::move(h.key.bytes));
  return touched;
}

void Touched::add(std::string key) {
  if (kind_of(key) == RowKind::kInode) ++inodes_;
  index_.emplace(std::move(key), index_.size());
}

std::optional<uint64_t> Touched::index_of(const RowKey& key) const {
  auto it = index_.find(key.bytes);
  if (it == index_.end()) return std::nullopt;
  return it->second;
}

Result<std::optional<Bytes>> Transaction::get(const RowKey& key) const {
  if (auto it = puts_.find(key.bytes); it != puts_.end()) return it->second.value;
  bool tracked = is_tracked(key);
  if (tracked)
    if (auto it = read_.find(key.bytes); it != read_.end()) return it->second;
  TRY(std::optional<Bytes> value, base_.get(key));
  if (tracked && read_.size() < kReadMax && !touched_.contains(key)) read_.emplace(key.bytes, value);
  return value;
}

std::set<std::string> Touched::keys_of(RowKind kind) const {
  std::set<std::string> out;
  for (const auto& [key, index] : index_)
    if (kind_of(key) == kind) out.insert(key);
  return out;
}

Result<std::optional<Row>> Transaction::next(std::string_view prefix, std::string_view after) const {
  return next_overlaid(base_, puts_, prefix, after);
}

void Transaction::put(RowKey key, Bytes value) {
  RowChange& change = puts_.try_emplace(std::move(key.bytes)).first->second;
  change.clear = key.clear;
  change.value = std::move(value);
}

void Transaction::erase(RowKey key) {
  RowChange& change = puts_.try_emplace(std::move(key.bytes)).first->second;
  change.clear = key.clear;
  change.value.reset();
}

Result<std::vector<RowPut>> Transaction::take() {
  std::vector<RowPut> out;
  out.reserve(2 * puts_.size());
  std::vector<const std::string*> marks;
  for (auto& [key, change] : puts_) {
    RowKey row{key, change.clear};
    if (!is_tracked(row) || touched_.contains(key)) continue;
    HistoryEntry h{std::move(row), std::nullopt};
    if (auto it = read_.find(key); it != read_.end()) {
      h.before = it->second;
    } else {
      TRY(h.before, base_.get(h.key));
    }
    if (!h.before && !change.value) continue;  // came and went
    out.push_back({history_key(touched_.generation(), touched_.size() + marks.size()), encode(h)});
    marks.push_back(&key);
  }
  for (const std::string* key : marks) touched_.add(*key);
  move_to(puts_, out);
  read_.clear();
  return out;
}

Result<HistoryEntry> before_image(const ReadRows& rows, Generation generation, uint64_t index) {
  TRY(std::optional<Bytes> row, rows.get(history_key(generation, index)));
  if (!row) return fail(Code::kCorrupt, "a row of history is missing");
  return decode_history(*row);
}

Result<std::vector<HistoryEntry>> history_of(const ReadRows& rows, Generation generation) {
  std::vector<HistoryEntry> history;
  const std::string prefix = history_prefix(generation);
  std::string after = prefix;
  for (;;) {
    TRY(std::optional<Row> row, rows.next(prefix, after));
    if (!row) return history;
    if (row->key != history_key(generation, history.size()).bytes)
      return fail(Code::kCorrupt, "a row of history is missing");
    TRY(HistoryEntry h, decode_history(row->value));
    history.push_back(std::move(h));
    after = std::move(row->key);
  }
}

Result<void> undo(Rows& rows, Generation generation) {
  TRY(std::vector<HistoryEntry> history, history_of(rows, generation));
  FollowUp follow_up(rows);
  for (size_t i = history.size(); i > 0; --i) {
    TRYV(follow_up.put_back(history[i - 1]));
    rows.erase(history_key(generation, i - 1));
  }
  return follow_up.finish();
}

Result<void> drop_history(Rows& rows, Generation generation) {
  const std::string prefix = history_prefix(generation);
  std::string after = prefix;
  for (;;) {
    TRY(std::optional<Row> row, rows.next(prefix, after));
    if (!row) return {};
    rows.erase(RowKey{row->key, row->key.size()});
    after = std::move(row->key);
  }
}

Result<std::optional<Bytes>> PlainTransaction::get(const RowKey& key) const {
  if (auto it = puts_.find(key.bytes); it != puts_.end()) return it->second.value;
  return base_.get(key);
}

Result<std::optional<Row>> PlainTransaction::next(std::string_view prefix, std::string_view after) const {
  return next_overlaid(base_, puts_, prefix, after);
}

void PlainTransaction::put(RowKey key, Bytes value) {
  puts_.insert_or_assign(std::move(key.bytes), RowChange{key.clear, std::move(value)});
}

void PlainTransaction::erase(RowKey key) {
  puts_.insert_or_assign(std::move(key.bytes), RowChange{key.clear, std::nullopt});
}

std::vector<RowPut> PlainTransaction::take() {
  std::vector<RowPut> out;
  out.reserve(puts_.size());
  move_to(puts_, out);
  return out;
}

}  // namespace coffer::model
