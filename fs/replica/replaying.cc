// Making the state anew from all records, when one turns up that sorts before what can be undone.
#include "fs/model/extent_map.h"
#include "fs/model/remains.h"
#include "fs/replica/impl.h"

namespace coffer {

using model::Generation;
using model::RowKind;

namespace {

class NoRows : public ReadRows {
 public:
  Result<std::optional<Bytes>> get(const RowKey&) const override { return std::optional<Bytes>(); }
  Result<std::optional<Row>> next(std::string_view, std::string_view) const override { return std::optional<Row>(); }
};

// What all records together make.
struct Fold {
  NoRows nothing;
  model::PlainTransaction rows{nothing};
  std::vector<AppliedRecord> undoable;  // those above the stable line
  uint64_t stable = 0;                  // of the newest that is not
  std::vector<model::Conflict> conflicts;
};

Result<void> fold(Fold& out, Generation first, const Replica::NextRecord& next, uint64_t stable) {
  Generation at = first;
  std::optional<Generation> last_stable;
  for (;; ++at) {
    TRY(std::optional<OrderedRecord> record, next());
    if (!record) break;
    model::Touched touched(at);
    TRYV(play(out.rows, touched, record->changes, record->author, out.conflicts));
    if (record->stamp <= stable) {
      last_stable = at;
      out.stable = record->stamp;
    } else {
      out.undoable.push_back({at, at, std::move(*record)});
    }
  }
  if (!last_stable) return {};
  TRYV(model::forget(out.rows, *last_stable));
  for (Generation g = first; g <= *last_stable; ++g) TRYV(model::drop_history(out.rows, g));
  return {};
}

// Erases every row of a state that has no history.
Result<void> clear_state(Rows& rows) {
  TRYV(model::walk_rows(rows, RowKind::kEntry, [&](const Row& row) -> Result<void> {
    TRY(model::EntryPlace place, model::parse_entry_key(row.key));
    TRY(model::Entry entry, model::decode_entry(row.value));
    rows.erase(model::name_key(place.dir, entry.name));
    rows.erase(clear_key(row.key));
    return {};
  }));
  TRYV(model::walk_rows(rows, RowKind::kLink, [&](const Row& row) -> Result<void> {
    rows.erase(clear_key(row.key));
    return {};
  }));
  TRYV(model::walk_rows(rows, RowKind::kTombstone, [&](const Row& row) -> Result<void> {
    TRY(Ino ino, model::parse_first(RowKind::kTombstone, row.key));
    return model::drop_tombstone(rows, ino);
  }));
  TRYV(model::walk_rows(rows, RowKind::kDisplaced, [&](const Row& row) -> Result<void> {
    TRY(model::FileVersion v, model::parse_displaced_key(row.key));
    return model::drop_displaced(rows, v.ino, v.version);
  }));
  return model::walk_rows(rows, RowKind::kInode, [&](const Row& row) -> Result<void> {
    TRY(Ino ino, model::parse_first(RowKind::kInode, row.key));
    TRY(model::Inode inode, model::decode_inode(row.value));
    TRYV(model::erase_extents(rows, ino, inode));
    if (inode.has_xattrs) rows.erase(model::xattr_key(ino));
    rows.erase(clear_key(row.key));
    return {};
  });
}

}  // namespace

uint64_t Replica::stable() {
  SharedLock lock(impl_->state);
  return impl_->stable;
}

Result<model::Applied> Replica::replay(const NextRecord& next, uint64_t stable,
                                       std::span<const std::pair<ObjectId, PackPlace>> places,
                                       std::span<const RowPut> bookkeeping) {
  Impl& r = *impl_;
  Generation first;
  {
    SharedLock lock(r.state);
    first = r.next_applied();
  }
  Fold made;
  TRYV(fold(made, first, next, stable));
  auto renew = [&](model::PlainTransaction& all, Generation begin) NO_THREAD_SAFETY_ANALYSIS -> Result<Impl::Renewal> {
    if (begin != first) return fail(Code::kInternal, "something was cut off for publishing meanwhile");
    Impl::Renewal out;
    // Aliases and diverted names are found nowhere but in the history of who touched them last.
    std::vector<RowKey> remains;
    for (auto it = r.applied.rbegin(); it != r.applied.rend(); ++it) {
      for (Generation g = it->second.first; g <= it->second.last; ++g) {
        TRY(auto history, model::history_of(all, g));
        for (model::HistoryEntry& h : history) {
          auto kind = model::kind_of(h.key.bytes);
          if (kind == RowKind::kAlias || kind == RowKind::kDiverted) remains.push_back(std::move(h.key));
        }
      }
      TRYV(undo_all(all, it->second.first, it->second.last));
      out.undone.push_back(it->first);
    }
    for (RowKey& key : remains) all.erase(std::move(key));
    TRYV(clear_state(all));
    for (const auto& [key, put] : made.rows.puts())
      if (put.value) all.put({key, put.clear}, *put.value);
    out.applied = made.undoable;
    out.stable = made.stable;
    out.from_nothing = true;
    // Those that are new; the others were told when they were made.
    for (const model::Conflict& c : made.conflicts) {
      TRY(auto known, r.table->get(model::inode_key(c.copy)));
      if (!known) out.conflicts.push_back(c);
    }
    return out;
  };
  return r.under_pending(renew, made.rows.puts().size(), places, bookkeeping, true);
}

}  // namespace coffer
