// Merging ahead of the lock. A large merge takes seconds, and nothing that the kernel asks may wait for it: so it is made
// beside the rows, while everybody goes on reading and changing them.
//
// What is pending is closed as a generation, so that what is done here meanwhile is another. The merge reads the rows as they
// were at that moment (SnapshotRows) and gathers its changes. Then comes what was done meanwhile: it is described, and played
// on top, round by round, each as much shorter as playing is faster than working. The last, small rest is taken up under the
// lock, where what was done meanwhile is undone, the gathered changes are put, the rest is played on top of them, and all of
// it is committed as one entry of the journal. Whatever has to do with who holds what (news_gate.h, keeping.cc) belongs to
// that moment. A crash before it finds pending generations, as after a cut for publishing.
#include "base/failpoint.h"
#include "fs/model/diff.h"
#include "fs/replica/impl.h"

namespace coffer {

using model::Generation;
using model::RowKind;

namespace {

// Rows that have been changed here since the last round: that many are no stall.
constexpr size_t kRestRows = 200;

// Directories as if they had given out many cookies more. So entries that a merge makes have other cookies than those that
// are made beside it: none is ever given out twice (history.h).
class FarCookies : public ReadRows {
 public:
  explicit FarCookies(const ReadRows& rows) : rows_(rows) {}
  Result<std::optional<Bytes>> get(const RowKey& key) const override {
    TRY(auto row, rows_.get(key));
    if (row && model::kind_of(key.bytes) == RowKind::kInode) TRYV(move(*row));
    return row;
  }
  Result<std::optional<Row>> next(std::string_view prefix, std::string_view after) const override {
    TRY(auto row, rows_.next(prefix, after));
    if (row && model::kind_of(row->key) == RowKind::kInode) TRYV(move(row->value));
    return row;
  }

 private:
  static constexpr uint64_t kFar = uint64_t{1} << 32;
  static Result<void> move(Bytes& row) {
    TRY(model::Inode inode, model::decode_inode(row));
    if (!inode.is_directory()) return {};
    inode.next_cookie += kFar;
    row = model::encode(inode);
    return {};
  }

  const ReadRows& rows_;
};

}  // namespace

Result<Replica::Impl::Ahead> Replica::Impl::merge_ahead(const Renew& renew, Generation next) {
  Ahead out;
  for (Generation round = 0;; ++round) {
    std::shared_ptr<const SnapshotRows> rows;
    Generation first, last;
    {
      ExclusiveLock lock(state);
      if (round > 0 && (touched->size() <= kRestRows || round == kMergeRounds)) return out;
      close_generation();
      rows = snapshot_rows();
      first = generations.first_pending;
      last = generations.open - 1;
      if (round == 0) out.first_live = out.unplayed = generations.open;
    }
    if (round == 0)
      TRYV(merge_first(*rows, first, last, renew, next, out));
    else
      TRYV(merge_rest(*rows, last, out));
    TRYV(failpoint("replica.merged_ahead"));
  }
}

Result<void> Replica::Impl::merge_first(const ReadRows& rows, Generation first, Generation last, const Renew& renew,
                                        Generation next, Ahead& out) const {
  const FarCookies far(rows);
  model::PlainTransaction all(far);
  TRYV(redo(all, first, last, renew, next, out.redone));
  out.changes = all.take_changes();
  if (out.redone.renewal.from_nothing) {
    for (auto it = out.changes.begin(); it != out.changes.end();) {
      TRY(auto old, rows.get({it->first, it->second.clear}));
      it = old == it->second.value ? out.changes.erase(it) : std::next(it);
    }
  }
  for (const auto& [bytes, change] : out.changes) {
    TRYV(out.touches.add(rows, {bytes, change.clear}, change.value));
    out.encoded.add(bytes, change.clear, change.value);
  }
  out.weight = Table::weigh(out.changes);
  return {};
}

Result<void> Replica::Impl::merge_rest(const ReadRows& rows, Generation last, Ahead& out) const {
  TRY(model::ChangeSet rest, model::diff(rows, out.unplayed, last, nullptr));
  const FarCookies far(rows);
  model::PlainTransaction before(far);
  TRYV(undo_all(before, out.first_live, last));
  model::PlainTransaction merged(before, std::move(out.changes)), all(merged, std::move(out.later));
  TRYV(play_own(all, rest, out.redone));
  out.changes = merged.take_changes();
  out.later = all.take_changes();
  out.unplayed = last + 1;
  return {};
}

}  // namespace coffer
