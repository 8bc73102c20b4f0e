// Applying records of other devices: pending changes and later records are undone, the news is applied, and they are
// applied again on top. All in one atomic step of the journal.
#include <algorithm>
#include <unordered_set>

#include "crypto/random.h"
#include "fs/model/diff.h"
#include "fs/model/remains.h"
#include "fs/replica/impl.h"

namespace coffer {

using model::Generation;

namespace {

void put_all(Rows& into, std::span<const RowPut> puts) {
  for (const RowPut& p : puts) {
    if (p.value)
      into.put(p.key, *p.value);
    else
      into.erase(p.key);
  }
}

// Takes out what the rows say already.
void drop_unchanged(const ReadRows& rows, std::vector<RowPut>& puts) {
  std::erase_if(puts, [&](const RowPut& put) {
    auto old = rows.get(put.key);
    return old && *old == put.value;
  });
}

// Plays a model transaction into the enclosing one.
Result<void> pour(model::Transaction& from, Rows& into) {
  TRY(auto puts, from.take());
  put_all(into, puts);
  return {};
}

}  // namespace

Result<void> undo_all(Rows& rows, Generation first, Generation last) {
  for (Generation g = last + 1; g-- > first;) TRYV(model::undo(rows, g));
  return {};
}

Result<void> play(Rows& rows, model::Touched& touched, const model::ChangeSet& changes, const model::Author& author,
                  std::vector<model::Conflict>& conflicts) {
  model::Transaction tx(rows, touched);
  TRY(model::Applied applied, model::apply(tx, changes, author));
  TRYV(pour(tx, rows));
  conflicts.insert(conflicts.end(), applied.conflicts.begin(), applied.conflicts.end());
  return {};
}

model::Generation Replica::Impl::next_applied() const {
  // A merge ahead of the lock closes some generations while it goes on.
  return generations.open + 1 + kMergeRounds;
}

Result<void> Replica::Impl::play_own(model::PlainTransaction& all, const model::ChangeSet& done, Redone& out) const {
  if (done.empty()) return {};
  model::Author self;
  random_bytes(self.record.bytes);
  self.device = options.device_name;
  self.when = now();
  return play(all, *out.open, done, self, out.conflicts);
}

Result<void> Replica::Impl::redo(model::PlainTransaction& all, Generation first, Generation last, const Renew& renew,
                                 Generation next, Redone& out) const {
  TRY(model::ChangeSet pending, model::diff(all, first, last, nullptr));
  TRYV(undo_all(all, first, last));
  TRY(out.renewal, renew(all, next));
  out.conflicts = std::move(out.renewal.conflicts);
  for (const AppliedRecord& a : out.renewal.applied) {
    all.put(applied_key(a.last), encode(a));
    next = std::max(next, a.last + 1);
  }
  for (Generation g : out.renewal.undone) all.erase(applied_key(g));
  if (out.renewal.stable) all.put(stable_key(), encode_stable(*out.renewal.stable));
  out.open.emplace(next);
  return play_own(all, pending, out);
}

Result<model::Applied> Replica::Impl::under_pending(const Renew& renew, size_t size,
                                                    std::span<const std::pair<ObjectId, PackPlace>> places,
                                                    std::span<const RowPut> bookkeeping, bool anew) {
  TRYV(seal_everything(true));
  Generation next;
  {
    SharedLock lock(state);
    next = next_applied();
    size += frozen_files + touched->inodes();
  }
  std::optional<Ahead> ahead;
  // (Ahead of the lock nothing can be waited for that is not here.)
  if (size > options.merge_at_once && !parts.loading()) {
    auto merged = merge_ahead(renew, next);
    if (merged)
      ahead = std::move(*merged);
    else if (merged.error().code() != Code::kUnavailable)
      return fail(merged.error());
  }
  model::Applied result;
  bool pending_again = false;
  {
    // What is written from here on is written on top of the news; what was written before is sealed, and so pending.
    NewsGate::Closed closed_gate = gate.close();
    TRYV(seal_everything(true));
    ExclusiveLock generation_lock(freeze);
    ExclusiveLock lock(state);
    const ReadRows& base = anew ? static_cast<const ReadRows&>(*table) : *known_rows;
    const uint64_t misses = PartWishes::misses();
    // What was merged ahead lies on the state before what was done here meanwhile.
    model::PlainTransaction before(base), merged(before, ahead ? std::move(ahead->changes) : RowChanges());
    model::PlainTransaction all(merged, ahead ? std::move(ahead->later) : RowChanges());
    TRY(std::vector<model::Orphan> lifted, lift_orphans());
    Redone redone;
    if (ahead) {
      redone = std::move(ahead->redone);
      TRY(model::ChangeSet rest, model::diff(*table, ahead->unplayed, generations.open, nullptr));
      TRYV(undo_all(before, ahead->first_live, generations.open));
      TRYV(play_own(all, rest, redone));
    } else {
      TRYV(redo(all, generations.first_pending, generations.open, renew, next, redone));
    }
    model::Touched& open = *redone.open;
    pending_again = open.size() > 0;
    result.conflicts = std::move(redone.conflicts);
    model::Transaction tx(all, open);
    for (const model::Orphan& o : lifted) TRYV(model::put_orphan(tx, o));
    TRYV(pour(tx, all));

    TouchFinder finder;
    if (ahead) finder = std::move(ahead->touches);
    for (const auto& [bytes, change] : before.puts()) {
      const RowKey key{bytes, change.clear};
      TRY(auto value, all.get(key));
      TRYV(finder.add_anew(*table, key, value, change.value));
    }
    for (const auto& [bytes, change] : all.puts()) {
      const RowKey key{bytes, change.clear};
      TRYV(ahead ? finder.add_anew(*table, key, change.value, std::nullopt) : finder.add(*table, key, change.value));
    }
    result.touch = finder.touch();
    auto& contents = result.touch.contents;
    // From here on it cannot be given up: whoever has a file open is told.
    if (!anew && parts.loading()) {
      for (const std::vector<Ino>& inos : {contents, finder.removed(), finder.revived()}) {
        for (Ino ino : inos) {
          TRYV(need_contents(ino));
          (void)model::names_of(base, ino);  // what it misses is counted
        }
      }
    }
    if (misses != PartWishes::misses()) return fail(Code::kUnavailable, "a part of the state is not here yet");
    std::unordered_set<Ino> known_contents(contents.begin(), contents.end());
    for (const model::Conflict& c : result.conflicts) {
      if (!is_seen_by_us(c) || known_contents.contains(c.original)) continue;
      TRY(auto known, table->get(model::inode_key(c.original)));
      if (!known) continue;
      contents.push_back(c.original);
      known_contents.insert(c.original);
    }
    TRY(const SeenCopies copies, seen_copies(result.conflicts, tx));
    for (Ino ino : contents) TRYV(keep_superseded(ino, copies, tx));
    for (Ino ino : finder.removed()) TRYV(keep_superseded(ino, copies, tx));
    for (Ino ino : finder.revived()) TRYV(keep_superseded(ino, copies, tx));
    TRYV(pour(tx, all));

    const ReplicaState gens{open.generation(), open.generation()};
    all.put(state_key(), encode(gens));
    for (const auto& [id, place] : places) all.put(place_key(id), encode(place));
    put_all(all, bookkeeping);
    if (anew && parts.loading()) {
      TRY(auto rows, ending_rows());
      put_all(all, rows);
    }
    auto puts = all.take();
    Lsn lsn;
    if (ahead) {
      lsn = commit(before.take(), merged.take_changes(), ahead->weight, ahead->encoded, puts);
    } else {
      if (redone.renewal.from_nothing) drop_unchanged(*table, puts);
      lsn = commit(puts);
    }
    if (anew) parts.end();
    take_places(places, lsn);
    generations = gens;
    frozen_files = 0;
    settled.reset();
    touched.emplace(std::move(open));
    for (Generation g : redone.renewal.undone) applied.erase(g);
    for (AppliedRecord& a : redone.renewal.applied) applied[a.last] = std::move(a);
    if (redone.renewal.stable) stable = *redone.renewal.stable;
    // Inodes that were unlinked here and are there again are no orphans any more.
    for (auto it = orphans.begin(); it != orphans.end();) {
      auto inode = model::get_inode(*table, *it);
      it = inode && inode->nlink > 0 ? orphans.erase(it) : std::next(it);
    }
  }
  if (pending_again) tell_pending();
  if (touch_callback) touch_callback(result.touch);
  return result;
}

Result<model::Applied> Replica::apply(std::span<const OrderedRecord> records,
                                      std::span<const std::pair<ObjectId, PackPlace>> places,
                                      std::span<const RowPut> bookkeeping) {
  Impl& r = *impl_;
  auto renew = [&](model::PlainTransaction& all, Generation next) NO_THREAD_SAFETY_ANALYSIS -> Result<Impl::Renewal> {
    Impl::Renewal out;
    if (!records.empty() && records.front().stamp <= r.stable)
      return fail(Code::kInternal, "a record sorts before what cannot be undone any more");
    // Records that sort after the first of the news: undone, to be applied again in order.
    std::vector<OrderedRecord> order(records.begin(), records.end());
    for (auto it = r.applied.rbegin(); it != r.applied.rend() && !order.empty(); ++it) {
      if (it->second.record.before(records.front())) break;
      TRYV(undo_all(all, it->second.first, it->second.last));
      out.undone.push_back(it->first);
      order.push_back(it->second.record);
    }
    std::stable_sort(order.begin(), order.end(),
                     [](const OrderedRecord& a, const OrderedRecord& b) { return a.before(b); });
    for (const OrderedRecord& record : order) {
      model::Touched touched(next);
      TRYV(play(all, touched, record.changes, record.author, out.conflicts));
      out.applied.push_back({next, next, record});
      ++next;
    }
    return out;
  };
  size_t size = 0;
  auto count = [&size](const OrderedRecord& record) {
    size += record.changes.inodes.size() + record.changes.entries.size() + record.changes.moves.size();
  };
  for (const OrderedRecord& record : records) count(record);
  {
    SharedLock lock(r.state);
    for (auto it = r.applied.rbegin(); it != r.applied.rend() && !records.empty(); ++it) {
      if (it->second.record.before(records.front())) break;
      count(it->second.record);
    }
  }
  return r.under_pending(renew, size, places, bookkeeping);
}

Result<void> Replica::set_stable(uint64_t stamp) {
  Impl& r = *impl_;
  ExclusiveLock lock(r.state);
  // From now on nothing comes that does not know all up to `stamp`; but what is applied already, and sorts after it, may have
  // been made without, and be done again when something comes in between. Then it needs what is forgotten here, so that
  // waits until all of it is below the line, too.
  uint64_t newest = 0;
  for (const auto& [last, applied] : r.applied) newest = std::max(newest, applied.record.stamp);
  if (newest <= stamp) {
    r.next_stable.reset();
  } else {
    if (!r.next_stable) r.next_stable = {stamp, newest};
    if (stamp < r.next_stable->newest) return {};
    stamp = std::exchange(r.next_stable, Impl::NextStable{stamp, newest})->line;
  }
  r.settled.reset();  // it may put back what is forgotten here
  ++r.times_forgotten;
  model::PlainTransaction tx(*r.table);
  std::vector<Generation> done;
  for (const auto& [last, applied] : r.applied) {
    if (applied.record.stamp > stamp) break;
    done.push_back(last);
  }
  if (done.empty()) return {};
  TRYV(model::forget(tx, done.back()));
  for (Generation last : done) {
    const AppliedRecord& applied = r.applied.at(last);
    for (Generation g = applied.first; g <= applied.last; ++g) TRYV(model::drop_history(tx, g));
    tx.erase(applied_key(last));
  }
  const uint64_t last_stable = r.applied.at(done.back()).record.stamp;
  tx.put(stable_key(), encode_stable(last_stable));
  auto puts = tx.take();
  r.commit(puts);
  r.stable = last_stable;
  for (Generation g : done) r.applied.erase(g);
  return {};
}

}  // namespace coffer
