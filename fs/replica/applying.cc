// Applying records of other devices: pending changes and later records are undone, the news is applied, and they are
// applied again on top. All in one atomic step of the journal.
#include <algorithm>

#include "crypto/random.h"
#include "fs/model/diff.h"
#include "fs/model/remains.h"
#include "fs/replica/impl.h"

namespace coffer {

using model::Generation;
using model::RowKind;
using model::Touch;

namespace {

// What a batch of puts changes in the eyes of the kernel: only rows that end up different from what they were.
class TouchFinder {
 public:
  explicit TouchFinder(const ReadRows& before) : before_(before) {}

  Result<void> add(const RowPut& put) {
    if (!model::is_tracked(put.key)) return {};
    TRY(auto old, before_.get(put.key));
    if (old == put.value) return {};
    const std::string& key = put.key.bytes;
    const auto kind = model::kind_of(key);
    if (kind == RowKind::kEntry) {
      TRY(model::EntryPlace place, model::parse_entry_key(key));
      if (old) {
        TRY(model::Entry entry, model::decode_entry(*old));
        entries_[{place.dir, entry.name}].before = entry.ino;
      }
      if (put.value) {
        TRY(model::Entry entry, model::decode_entry(*put.value));
        entries_[{place.dir, entry.name}].after = entry.ino;
      }
    } else if (kind == RowKind::kInode && old) {
      TRY(Ino ino, model::parse_first(RowKind::kInode, key));
      TRY(model::Inode a, model::decode_inode(*old));
      model::Inode b;
      if (put.value) {
        TRY(b, model::decode_inode(*put.value));
      }
      if (a.nlink == 0) {  // nobody but its holders knows it
        if (b.nlink > 0 && a.is_regular()) revived_.push_back(ino);
        return {};
      }
      if (b.nlink == 0) {
        if (a.is_regular()) removed_.push_back(ino);
        touch_.attributes.push_back(ino);
        return {};
      }
      bool contents = a.is_regular() && (a.version != b.version || a.size != b.size || a.mtime != b.mtime);
      if (contents) touch_.contents.push_back(ino);
      a.parent = b.parent, a.cookie = b.cookie, a.next_cookie = b.next_cookie;  // no business of the kernel's
      if (!(a == b) && !contents) touch_.attributes.push_back(ino);
    } else if (kind == RowKind::kXattrs) {
      TRY(Ino ino, model::parse_first(RowKind::kXattrs, key));
      touch_.attributes.push_back(ino);
    }
    return {};
  }

  // Regular files that lost their last name.
  const std::vector<Ino>& removed() const { return removed_; }
  // Those that had lost it, and have one again.
  const std::vector<Ino>& revived() const { return revived_; }
  Touch take() {
    // An entry that only moved to another cookie leads where it led.
    for (auto& [name, leads] : entries_)
      if (leads.before != leads.after) touch_.names.push_back({name.first, name.second});
    return std::move(touch_);
  }

 private:
  struct Leads {
    Ino before = 0, after = 0;
  };
  const ReadRows& before_;
  std::map<std::pair<Ino, std::string>, Leads> entries_;
  std::vector<Ino> removed_, revived_;
  Touch touch_;
};

void put_all(Rows& into, std::span<const RowPut> puts) {
  for (const RowPut& p : puts) {
    if (p.value)
      into.put(p.key, *p.value);
    else
      into.erase(p.key);
  }
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

Result<model::Applied> Replica::Impl::under_pending(const Renew& renew,
                                                    std::span<const std::pair<ObjectId, PackPlace>> places,
                                                    std::span<const RowPut> bookkeeping) {
  TRYV(seal_everything(true));
  model::Applied result;
  bool pending_again = false;
  {
    // What is written from here on is written on top of the news; what was written before is sealed, and so pending.
    NewsGate::Closed closed_gate = gate.close();
    TRYV(seal_everything(true));
    ExclusiveLock generation_lock(freeze);
    ExclusiveLock lock(state);
    model::PlainTransaction all(*table);

    // Pending changes: described, then undone.
    ReplicaState gens = generations;
    TRY(std::vector<model::Orphan> lifted, lift_orphans());
    model::ChangeSet pending;
    bool have_pending = gens.first_pending < gens.open || touched->size() > 0;
    if (have_pending) {
      TRY(pending, model::diff(all, gens.first_pending, gens.open, nullptr));
      TRYV(undo_all(all, gens.first_pending, gens.open));
    }
    TRY(Renewal renewal, renew(all, gens.open + 1));
    result.conflicts = std::move(renewal.conflicts);
    Generation next = gens.open + 1;
    for (const AppliedRecord& a : renewal.applied) {
      all.put(applied_key(a.last), encode(a));
      next = std::max(next, a.last + 1);
    }
    for (Generation g : renewal.undone) all.erase(applied_key(g));
    if (renewal.stable) all.put(stable_key(), encode_stable(*renewal.stable));

    model::Touched open(next);
    if (!pending.empty()) {
      model::Author self;
      random_bytes(self.record.bytes);
      self.device = options.device_name;
      self.when = now();
      TRYV(play(all, open, pending, self, result.conflicts));
      pending_again = open.size() > 0;
    }
    model::Transaction tx(all, open);
    for (const model::Orphan& o : lifted) TRYV(model::put_orphan(tx, o));
    TRYV(pour(tx, all));

    TouchFinder finder(*table);
    for (const auto& [key, put] : all.puts()) TRYV(finder.add(put));
    result.touch = finder.take();
    for (const model::Conflict& c : result.conflicts) {
      auto& contents = result.touch.contents;
      if (!is_seen_by_us(c) || std::find(contents.begin(), contents.end(), c.original) != contents.end()) continue;
      TRY(auto known, table->get(model::inode_key(c.original)));
      if (known) contents.push_back(c.original);
    }
    for (Ino ino : result.touch.contents) TRYV(keep_superseded(ino, result.conflicts, tx));
    for (Ino ino : finder.removed()) TRYV(keep_superseded(ino, result.conflicts, tx));
    for (Ino ino : finder.revived()) TRYV(keep_superseded(ino, result.conflicts, tx));
    TRYV(pour(tx, all));

    gens = {next, next};
    all.put(state_key(), encode(gens));
    for (const auto& [id, place] : places) all.put(place_key(id), encode(place));
    put_all(all, bookkeeping);
    auto puts = all.take();
    if (renewal.from_nothing) {
      std::erase_if(puts, [&](const RowPut& put) {
        auto old = table->get(put.key);
        return old && *old == put.value;
      });
    }
    const Lsn lsn = commit(puts);
    take_places(places, lsn);
    generations = gens;
    frozen_files = 0;
    touched.emplace(std::move(open));
    for (Generation g : renewal.undone) applied.erase(g);
    for (AppliedRecord& a : renewal.applied) applied[a.last] = std::move(a);
    if (renewal.stable) stable = *renewal.stable;
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
  return r.under_pending(renew, places, bookkeeping);
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
