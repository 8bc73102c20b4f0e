#include "cache/table.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "cache/row_codec.h"
#include "cache/row_file.h"

namespace coffer {
namespace {

// What a row in memory costs beyond its bytes: the map's node and two allocations, about.
constexpr size_t kRowOverhead = 160;

size_t cost(const std::string& key, const RowChange& row) {
  return kRowOverhead + key.size() + (row.value ? row.value->size() : 0);
}

// Rows that LMDB has not got. Compares as strings, that is bytewise.
struct MemoryRows {
  RowChanges rows;
  Lsn last = 0;  // everything up to here is in these rows or was committed before
  size_t bytes = 0;
  size_t at_once = 0;  // of `bytes`, what came as many changes at once

  const RowChange* find(std::string_view key) const {
    auto it = rows.find(key);
    return it == rows.end() ? nullptr : &it->second;
  }
  size_t small() const { return bytes - std::min(bytes, at_once); }
};

// Frozen parts that a batch adds to; with as many it goes row by row into the active one, for reads look into each.
constexpr size_t kMostFrozen = 4;

}  // namespace

struct Table::Impl {
  using MemoryRowsPtr = std::shared_ptr<const MemoryRows>;

  Impl(std::unique_ptr<RowFile> f, const LocalKeys& k)
      : file(std::move(f)), keys(k), committed(file->first_committed_lsn()) {
    active.last = committed;
  }

  // The newest state of a key that memory knows; null when it knows nothing.
  const RowChange* find(std::string_view key) const REQUIRES_SHARED(mutex);
  // next() over the rows in memory alone.
  std::optional<Row> next_in_memory(std::string_view prefix, std::string_view after) const REQUIRES_SHARED(mutex);
  // next() over what `snapshot` has before `limit`, without what memory has removed. Sets `stale` when a commit has made
  // memory forget what it had removed from that snapshot, which was made after `commits_then` commits.
  Result<std::optional<Row>> next_on_disk(RowFile::Snapshot& snapshot, uint64_t commits_then, std::string_view prefix,
                                          std::string_view after, const std::optional<Row>& limit, bool& stale) const
      EXCLUDES(mutex);

  const std::unique_ptr<RowFile> file;
  const LocalKeys& keys;

  mutable SharedMutex mutex{Rank::kTable};
  MemoryRows active GUARDED_BY(mutex);
  std::deque<MemoryRowsPtr> frozen GUARDED_BY(mutex);  // older than active; the oldest first
  uint64_t commits GUARDED_BY(mutex) = 0;              // how often rows have moved from frozen to LMDB
  std::atomic<Lsn> committed;
};

// --- Reading ---

const RowChange* Table::Impl::find(std::string_view key) const {
  if (const RowChange* row = active.find(key)) return row;
  for (auto it = frozen.rbegin(); it != frozen.rend(); ++it)
    if (const RowChange* row = (*it)->find(key)) return row;
  return nullptr;
}

std::optional<Row> Table::Impl::next_in_memory(std::string_view prefix, std::string_view after) const {
  struct Walk {
    RowChanges::const_iterator at, end;
  };
  std::array<Walk, 1 + kMostFrozen> walks;  // the newest first
  size_t count = 0;
  auto start = [&](const RowChanges& rows) {
    walks[count++] = {after < prefix ? rows.lower_bound(prefix) : rows.upper_bound(after), rows.end()};
  };
  start(active.rows);
  for (auto it = frozen.rbegin(); it != frozen.rend(); ++it) start((*it)->rows);
  for (;;) {
    const Walk* least = nullptr;  // of equal keys the newest
    for (size_t i = 0; i < count; ++i)
      if (walks[i].at != walks[i].end && (!least || walks[i].at->first < least->at->first)) least = &walks[i];
    if (!least) return std::nullopt;
    const auto& [key, row] = *least->at;
    if (!key.starts_with(prefix)) return std::nullopt;
    if (row.value && row.clear == key.size()) return Row{key, *row.value};
    // A removal hides the rows of older parts.
    for (size_t i = 0; i < count; ++i)
      if (walks[i].at != walks[i].end && walks[i].at->first == key) ++walks[i].at;
  }
}

Result<std::optional<Row>> Table::Impl::next_on_disk(RowFile::Snapshot& snapshot, uint64_t commits_then,
                                                     std::string_view prefix, std::string_view after,
                                                     const std::optional<Row>& limit, bool& stale) const {
  TRY(bool more, snapshot.seek(std::max(prefix, after)));
  while (more) {
    std::string_view key = snapshot.key();
    if (!key.starts_with(prefix) || (limit && key >= limit->key)) return std::nullopt;
    if (key > after) {
      bool removed = false;
      {
        SharedLock lock(mutex);
        stale = commits != commits_then;
        if (stale) return std::nullopt;
        if (const RowChange* row = find(key)) {
          if (row->value) return Row{std::string(key), *row->value};  // put while we were looking
          removed = true;
        }
      }
      if (!removed) {
        TRY(auto value, snapshot.clear_value());
        if (value) return Row{std::string(key), std::move(*value)};
      }
    }
    TRY(more, snapshot.step());
  }
  return std::nullopt;
}

Result<std::optional<Bytes>> Table::get(const RowKey& key) const {
  {
    SharedLock lock(impl_->mutex);
    if (const RowChange* row = impl_->find(key.bytes)) return row->value;
  }
  // What is not in memory now was in LMDB already, or is not there.
  TRY(RowFile::Snapshot snapshot, impl_->file->snapshot());
  return snapshot.get(key);
}

Result<std::optional<Row>> Table::next(std::string_view prefix, std::string_view after) const {
  for (;;) {
    // Memory and LMDB as of one moment; then no lock while LMDB may have to read the disk.
    std::optional<Row> in_memory;
    std::optional<RowFile::Snapshot> snapshot;
    uint64_t commits_then;
    {
      SharedLock lock(impl_->mutex);
      TRY(RowFile::Snapshot now, impl_->file->snapshot());
      snapshot.emplace(std::move(now));
      in_memory = impl_->next_in_memory(prefix, after);
      commits_then = impl_->commits;
    }
    bool stale = false;
    TRY(std::optional<Row> on_disk, impl_->next_on_disk(*snapshot, commits_then, prefix, after, in_memory, stale));
    if (stale) continue;
    return on_disk ? std::move(on_disk) : std::move(in_memory);
  }
}

// --- Writing ---

Table::Table(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Table::~Table() = default;

Result<std::unique_ptr<Table>> Table::open(const std::string& dir, const VolumeId& volume, const LocalKeys& keys) {
  TRY(auto file, RowFile::open(dir, volume, keys));
  return std::unique_ptr<Table>(new Table(std::make_unique<Impl>(std::move(file), keys)));
}

void Table::apply(std::span<const RowPut> puts, Lsn lsn) {
  for (const RowPut& put : puts) check_key_size(put.key);
  ExclusiveLock lock(impl_->mutex);
  MemoryRows& active = impl_->active;
  for (const RowPut& put : puts) {
    auto [it, added] = active.rows.try_emplace(put.key.bytes);
    if (!added) active.bytes -= cost(it->first, it->second);
    it->second.clear = put.key.clear;
    it->second.value = put.value;
    active.bytes += cost(it->first, it->second);
  }
  active.last = lsn;
}

size_t Table::weigh(const RowChanges& changes) {
  size_t weight = 0;
  for (const auto& [key, change] : changes) {
    check_key_size(RowKey{key, change.clear});
    weight += cost(key, change);
  }
  return weight;
}

void Table::apply(RowChanges changes, size_t weight, Lsn lsn) {
  ExclusiveLock lock(impl_->mutex);
  MemoryRows& active = impl_->active;
  if (impl_->frozen.size() == kMostFrozen) {
    for (auto& [key, change] : changes) active.rows.insert_or_assign(key, std::move(change));
    active.bytes += weight;  // or less
    active.at_once += weight;
  } else {
    if (!active.rows.empty()) impl_->frozen.push_back(std::make_shared<const MemoryRows>(std::move(active)));
    active = {std::move(changes), lsn, weight, weight};
  }
  active.last = lsn;
}

std::optional<Lsn> Table::freeze() {
  ExclusiveLock lock(impl_->mutex);
  if (!impl_->frozen.empty()) return impl_->frozen.front()->last;
  if (impl_->active.last == impl_->committed) return std::nullopt;
  const Lsn last = impl_->active.last;
  impl_->frozen.push_back(std::make_shared<const MemoryRows>(std::exchange(impl_->active, MemoryRows{{}, last, 0, 0})));
  return last;
}

Result<void> Table::commit_frozen() {
  Impl::MemoryRowsPtr frozen;
  {
    SharedLock lock(impl_->mutex);
    if (!impl_->frozen.empty()) frozen = impl_->frozen.front();
  }
  if (!frozen) return {};

  std::vector<RowWrite> writes;
  writes.reserve(frozen->rows.size());
  for (const auto& [key, row] : frozen->rows) {
    const StoredKey stored(impl_->keys, RowKey{key, row.clear});
    writes.push_back({std::string(as_string(stored.view())), &key, row.value ? &*row.value : nullptr});
  }
  std::sort(writes.begin(), writes.end(),
            [](const RowWrite& a, const RowWrite& b) { return a.stored_key < b.stored_key; });
  TRYV(impl_->file->write(writes, frozen->last));

  Impl::MemoryRowsPtr done;  // freed after the lock: there may be many rows
  ExclusiveLock lock(impl_->mutex);
  done = std::move(impl_->frozen.front());
  impl_->frozen.pop_front();
  impl_->committed = frozen->last;
  ++impl_->commits;
  return {};
}

Lsn Table::committed_lsn() const { return impl_->committed; }

size_t Table::uncommitted_bytes() const {
  SharedLock lock(impl_->mutex);
  size_t bytes = impl_->active.bytes;
  for (const auto& frozen : impl_->frozen) bytes += frozen->bytes;
  return bytes;
}

size_t Table::uncommitted_small() const {
  SharedLock lock(impl_->mutex);
  size_t bytes = impl_->active.small();
  for (const auto& frozen : impl_->frozen) bytes += frozen->small();
  return bytes;
}

}  // namespace coffer
