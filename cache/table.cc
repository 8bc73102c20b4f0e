#include "cache/table.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "cache/row_codec.h"
#include "cache/row_file.h"

namespace coffer {
namespace {

struct MemoryRow {
  size_t clear = 0;
  std::optional<Bytes> value;  // nullopt: removed
};

// What a row in memory costs beyond its bytes: the map's node and two allocations, about.
constexpr size_t kRowOverhead = 160;

size_t cost(const std::string& key, const MemoryRow& row) {
  return kRowOverhead + key.size() + (row.value ? row.value->size() : 0);
}

// Rows that LMDB has not got. Compares as strings, that is bytewise.
struct MemoryRows {
  std::map<std::string, MemoryRow, std::less<>> rows;
  Lsn last = 0;  // everything up to here is in these rows or was committed before
  size_t bytes = 0;

  const MemoryRow* find(std::string_view key) const {
    auto it = rows.find(key);
    return it == rows.end() ? nullptr : &it->second;
  }
};

}  // namespace

struct Table::Impl {
  using MemoryRowsPtr = std::shared_ptr<const MemoryRows>;

  Impl(std::unique_ptr<RowFile> f, const LocalKeys& k)
      : file(std::move(f)), keys(k), committed(file->first_committed_lsn()) {
    active.last = committed;
  }

  // The newest state of a key that memory knows; null when it knows nothing.
  const MemoryRow* find(std::string_view key) const REQUIRES_SHARED(mutex);
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
  MemoryRowsPtr frozen GUARDED_BY(mutex);  // null when there is none; older than active
  uint64_t commits GUARDED_BY(mutex) = 0;  // how often rows have moved from frozen to LMDB
  std::atomic<Lsn> committed;
};

// --- Reading ---

const MemoryRow* Table::Impl::find(std::string_view key) const {
  if (const MemoryRow* row = active.find(key)) return row;
  return frozen ? frozen->find(key) : nullptr;
}

std::optional<Row> Table::Impl::next_in_memory(std::string_view prefix, std::string_view after) const {
  static const MemoryRows kNone;
  const auto& newer = active.rows;
  const auto& older = frozen ? frozen->rows : kNone.rows;
  auto start = [&](const auto& rows) { return after < prefix ? rows.lower_bound(prefix) : rows.upper_bound(after); };
  auto n = start(newer), o = start(older);
  for (;;) {
    const bool have_n = n != newer.end(), have_o = o != older.end();
    if (!have_n && !have_o) return std::nullopt;
    const bool take_n = have_n && (!have_o || n->first <= o->first);
    const auto& [key, row] = take_n ? *n : *o;
    if (!key.starts_with(prefix)) return std::nullopt;
    if (row.value && row.clear == key.size()) return Row{key, *row.value};
    // A removal in the newer part hides the row of the older one.
    if (take_n && have_o && key == o->first) ++o;
    ++(take_n ? n : o);
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
        if (const MemoryRow* row = find(key)) {
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
    if (const MemoryRow* row = impl_->find(key.bytes)) return row->value;
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

std::optional<Lsn> Table::freeze() {
  ExclusiveLock lock(impl_->mutex);
  if (impl_->frozen) return impl_->frozen->last;
  if (impl_->active.last == impl_->committed) return std::nullopt;
  const Lsn last = impl_->active.last;
  impl_->frozen = std::make_shared<const MemoryRows>(std::exchange(impl_->active, MemoryRows{{}, last, 0}));
  return last;
}

Result<void> Table::commit_frozen() {
  Impl::MemoryRowsPtr frozen;
  {
    SharedLock lock(impl_->mutex);
    frozen = impl_->frozen;
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
  done.swap(impl_->frozen);
  impl_->committed = frozen->last;
  ++impl_->commits;
  return {};
}

Lsn Table::committed_lsn() const { return impl_->committed; }

size_t Table::uncommitted_bytes() const {
  SharedLock lock(impl_->mutex);
  return impl_->active.bytes + (impl_->frozen ? impl_->frozen->bytes : 0);
}

}  // namespace coffer
