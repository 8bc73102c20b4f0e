// Cutting off what is pending, describing it, and keeping the sealed record until the store has it.
#include <algorithm>
#include <iterator>

#include "base/log.h"
#include "fs/model/diff.h"
#include "fs/replica/impl.h"

namespace coffer {

using model::Generation;
using model::Inode;

namespace {

constexpr size_t kMany = 1000;  // rows that are better encoded before the lock is taken

// The rows as they were when the generation before the open one ended: a row that the open generation touched is what its
// before-image says. Takes the state lock row by row, so that work goes on while a large batch is described.
class FrozenRows : public ReadRows {
 public:
  FrozenRows(SharedMutex& state, const ReadRows& table, const std::optional<model::Touched>* open)
      : state_(state), table_(table), open_(open) {}

  Result<std::optional<Bytes>> get(const RowKey& key) const override {
    SharedLock lock(state_);
    if (model::is_tracked(key)) {
      const model::Touched& open = **open_;
      if (auto index = open.index_of(key)) {
        TRY(auto entry, model::before_image(table_, open.generation(), *index));
        return entry.before;
      }
    }
    return table_.get(key);
  }
  // Only history rows are walked here, and those of a frozen generation do not change.
  Result<std::optional<Row>> next(std::string_view prefix, std::string_view after) const override {
    SharedLock lock(state_);
    return table_.next(prefix, after);
  }

 private:
  SharedMutex& state_;
  const ReadRows& table_;
  const std::optional<model::Touched>* open_ PT_GUARDED_BY(state_);
};

}  // namespace

Result<std::vector<Frozen::Pack>> Replica::Impl::packs_for(const model::ChangeSet& set, const ReadRows& rows) {
  std::map<ObjectId, Frozen::Pack> needed;
  std::set<std::pair<ObjectId, uint32_t>> seen;  // frames listed already (an extent can be split over two pieces)
  struct Home {
    Ino ino = 0, parent = 0;
    std::string name;
    model::Version version = 0;
  };
  std::optional<Home> home;  // looked up once, when the first frame of a file needs it
  auto find_home = [&](Ino ino) -> Result<void> {
    home = Home{ino, 0, "", 0};
    TRY(auto row, rows.get(model::inode_key(ino)));
    if (!row) return {};
    TRY(Inode inode, model::decode_inode(*row));
    home->version = inode.version;
    TRY(auto entry_row, rows.get(model::entry_key(inode.parent, inode.cookie)));
    if (!entry_row) return {};
    TRY(model::Entry entry, model::decode_entry(*entry_row));
    home->parent = inode.parent;
    home->name = std::move(entry.name);
    return {};
  };
  auto add = [&](Ino ino, const model::Extent& extent, const model::Version* version) -> Result<void> {
    const ObjectId& pack = extent.frame.pack;
    {
      MutexLock lock(unsent_mutex);
      if (!unsent.contains(pack)) return {};
    }
    if (!seen.emplace(pack, extent.frame.offset).second) return {};
    if (!home || home->ino != ino) TRYV(find_home(ino));
    auto& slot = needed[pack];
    slot.id = pack;
    IndexEntry entry;
    entry.frame = extent.frame;
    entry.inode = ino;
    entry.offset = extent.offset - extent.skip;
    entry.length = extent.frame_length;
    entry.version = version ? *version : home->version;
    entry.parent = home->parent;
    entry.name = home->name;
    slot.index.push_back(std::move(entry));
    return {};
  };
  for (const model::InodeChange& c : set.inodes) {
    if (!c.content) continue;
    for (const model::ContentPiece& piece : c.content->pieces)
      if (piece.extent) TRYV(add(c.ino, *piece.extent, &c.content->version));
  }
  for (const model::Move& m : set.moves) TRYV(add(m.ino, m.to, nullptr));
  std::vector<Frozen::Pack> out;
  for (auto& [id, pack] : needed) {
    std::sort(pack.index.begin(), pack.index.end(),
              [](const IndexEntry& a, const IndexEntry& b) { return a.frame.offset < b.frame.offset; });
    out.push_back(std::move(pack));
  }
  return out;
}

void Replica::Impl::close_generation() {
  if (touched->size() == 0) return;
  ReplicaState next{generations.first_pending, generations.open + 1};
  RowPut put{state_key(), encode(next)};
  commit(std::span(&put, 1));
  generations = next;
  frozen_files += touched->inodes();
  touched.emplace(next.open);
}

Result<std::optional<Replica::Impl::Cut>> Replica::Impl::cut() {
  TRYV(seal_everything());
  Cut out;
  uint64_t forgotten = 0;
  {
    ExclusiveLock generation(freeze);
    ExclusiveLock lock(state);
    TRYV(name_all_sealed());  // of the packs that are closed here
    close_generation();
    forgotten = times_forgotten;
    pending_told = false;
    // What is unlinked and still open may be read from a pack that nothing pending names; and the packs of a record that is
    // still on its way belong to it.
    TRY(auto outgoing_row, table->get(outgoing_key()));
    out.all_known = orphans.empty() && !outgoing_row;
    std::vector<std::pair<ObjectId, uint64_t>> rotated;
    for (const ObjectId& id : packs->rotate()) {
      auto size = packs->size(id);
      rotated.emplace_back(id, size ? *size : 0);
    }
    MutexLock unsent_lock(unsent_mutex);
    unsent.insert(rotated.begin(), rotated.end());
    for (const auto& [id, size] : unsent) out.closed.push_back(id);
    out.frozen.first = generations.first_pending;
    out.frozen.last = generations.open - 1;
  }
  if (out.frozen.first > out.frozen.last) return std::nullopt;
  FrozenRows rows(state, *known_rows, &touched);
  TRY(out.frozen.changes, model::diff(rows, out.frozen.first, out.frozen.last, nullptr));
  TRY(out.frozen.packs, packs_for(out.frozen.changes, rows));
  // What leads former versions of files along is found under the lock: those can be walked, and are forgotten, there only.
  // (Whoever seals much anew publishes often.)
  std::optional<Settled> done;
  if (out.frozen.changes.moves.empty()) {
    model::PlainTransaction late(rows);
    TRYV(model::settle(late, out.frozen.first, out.frozen.last, nullptr, out.frozen.changes));
    done = Settled{out.frozen.first, out.frozen.last, late.take_changes(), 0, {}};
    if (done->changes.size() > kMany) {
      done->weight = Table::weigh(done->changes);
      for (const auto& [key, change] : done->changes) done->encoded.add(key, change.clear, change.value);
    }
  }
  ExclusiveLock lock(state);
  settled.reset();
  if (forgotten == times_forgotten) settled = std::move(done);
  if (generations.first_pending == out.frozen.first)
    frozen_files = out.frozen.changes.inodes.size() + out.frozen.changes.moves.size();
  return out;
}

Result<Lsn> Replica::Impl::commit_settled(const Frozen& frozen, std::vector<RowPut> rows) {
  if (!settled || settled->first != frozen.first || settled->last != frozen.last) {
    model::PlainTransaction tx(*table);
    TRYV(model::settle(tx, frozen.first, frozen.last, &*touched, frozen.changes));
    for (RowPut& put : rows) tx.put(std::move(put.key), std::move(*put.value));
    return commit(tx.take());
  }
  Settled done = std::move(*settled);
  settled.reset();
  // Where the open generation has gone on from there, it is what that one found.
  std::vector<RowPut> last;
  for (const auto& [bytes, change] : done.changes) {
    const RowKey key{bytes, change.clear};
    auto index = touched->index_of(key);
    if (!index) continue;
    TRY(auto now, table->get(key));
    last.push_back({key, std::move(now)});
    last.push_back(
        {model::history_key(touched->generation(), *index), model::encode(model::HistoryEntry{key, change.value})});
  }
  last.insert(last.end(), std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end()));
  if (done.encoded.count() > 0) return commit({}, std::move(done.changes), done.weight, done.encoded, last);
  std::vector<RowPut> puts = model::PlainTransaction(*table, std::move(done.changes)).take();
  puts.insert(puts.end(), std::make_move_iterator(last.begin()), std::make_move_iterator(last.end()));
  return commit(puts);
}

Result<std::optional<Frozen>> Replica::freeze() {
  Impl& r = *impl_;
  TRY(auto cut, r.cut());
  if (!cut) return std::optional<Frozen>();
  if (auto sparse = r.sparse_packs(cut->frozen); !sparse.empty()) {
    // It saves room and time; what cannot be rewritten is uploaded as it is.
    if (auto rewritten = r.rewrite(cut->frozen.changes, sparse); !rewritten)
      log_line(LogLevel::kWarning, "cannot seal anew what lives in a pack: " + rewritten.error().what());
    TRY(cut, r.cut());
    if (!cut) return std::optional<Frozen>();
  }
  Frozen& frozen = cut->frozen;
  frozen.all_frames = !cut->all_known;
  // Packs that nothing pending refers to any more go without ever having been uploaded.
  if (cut->all_known) {
    for (const ObjectId& id : cut->closed) {
      bool needed =
          std::any_of(frozen.packs.begin(), frozen.packs.end(), [&](const Frozen::Pack& p) { return p.id == id; });
      if (needed) continue;
      Lsn died = r.journal->last_lsn();
      MutexLock lock(r.unsent_mutex);
      r.unsent.erase(id);
      r.dead.emplace_back(died, id);
    }
  }
  if (!frozen.changes.empty()) return std::optional(std::move(frozen));
  // It came to nothing for others, so nothing may be left of it that they do not have (attributes that met a removal wait at the
  // tombstone, for example). But what is unlinked and open here may have changed, so the record below can only be undone
  // together with it.
  ExclusiveLock lock(r.state);
  if (r.generations.first_pending != frozen.first) return std::optional<Frozen>();
  model::PlainTransaction tx(*r.table);
  TRYV(model::settle(tx, frozen.first, frozen.last, &*r.touched, frozen.changes));
  std::optional<AppliedRecord> below;
  if (auto newest = r.applied.rbegin(); newest != r.applied.rend()) {
    below = newest->second;
    tx.erase(applied_key(below->last));
    below->last = frozen.last;
    tx.put(applied_key(below->last), encode(*below));
  } else {
    for (Generation g = frozen.first; g <= frozen.last; ++g) TRYV(model::drop_history(tx, g));
  }
  ReplicaState next{frozen.last + 1, r.generations.open};
  tx.put(state_key(), encode(next));
  auto puts = tx.take();
  r.commit(puts);
  r.generations = next;
  r.frozen_files = 0;
  if (below) {
    r.applied.erase(std::prev(r.applied.end()));
    r.applied[below->last] = std::move(*below);
  }
  return std::optional<Frozen>();
}

Result<void> Replica::publish(const Frozen& frozen, const OrderedRecord& record, const std::string& key,
                              BytesView sealed) {
  Impl& r = *impl_;
  AppliedRecord applied{frozen.first, frozen.last, record};
  std::vector<RowPut> rows;
  rows.push_back({applied_key(frozen.last), encode(applied)});
  rows.push_back({outgoing_key(), encode(Outgoing{key, to_bytes(sealed)})});
  Lsn lsn;
  {
    ExclusiveLock lock(r.state);
    if (r.generations.first_pending != frozen.first || r.generations.open != frozen.last + 1)
      return fail(Code::kStale, "what was frozen has been redone on top of news");
    ReplicaState next{frozen.last + 1, r.generations.open};
    rows.push_back({state_key(), encode(next)});
    TRY(lsn, r.commit_settled(frozen, std::move(rows)));
    r.generations = next;
    r.frozen_files = 0;
    r.applied[frozen.last] = std::move(applied);
  }
  return r.sync_journal(lsn);
}

Result<std::optional<Replica::Outgoing>> Replica::outgoing() {
  TRY(auto row, impl_->table->get(outgoing_key()));
  if (!row) return std::optional<Outgoing>();
  TRY(Outgoing out, decode_outgoing(*row));
  return std::optional(std::move(out));
}

Result<void> Replica::uploaded(const std::string& key) {
  ExclusiveLock lock(impl_->state);
  TRY(auto row, impl_->table->get(outgoing_key()));
  if (!row) return {};
  TRY(Outgoing out, decode_outgoing(*row));
  if (out.key != key) return {};
  RowPut put{outgoing_key(), std::nullopt};
  impl_->commit(std::span(&put, 1));
  return {};
}

Result<void> Replica::packs_uploaded(std::span<const std::pair<ObjectId, PackPlace>> packs) {
  std::vector<RowPut> puts;
  for (const auto& [id, place] : packs) puts.push_back({place_key(id), encode(place)});
  if (puts.empty()) return {};
  Lsn lsn;
  {
    ExclusiveLock lock(impl_->state);
    lsn = impl_->commit(puts);
  }
  MutexLock lock(impl_->unsent_mutex);
  for (const auto& [id, place] : packs) {
    impl_->placed[id] = lsn;
    impl_->unsent.erase(id);
  }
  return {};
}

Result<uint64_t> Replica::finish_pack(const ObjectId& pack, const std::vector<IndexEntry>& index) {
  return impl_->with_reserve([&] { return impl_->packs->finish(pack, index); });
}

Result<void> Replica::keep_frame(const FrameRef& ref, BytesView sealed) {
  impl_->space->admit_fetched(sealed.size());
  return impl_->packs->store_frame(ref, sealed);
}

Result<std::optional<PackPlace>> Replica::place_of(const ObjectId& pack) {
  TRY(auto row, impl_->table->get(place_key(pack)));
  if (!row) return std::optional<PackPlace>();
  TRY(PackPlace place, decode_pack_place(*row));
  return std::optional(std::move(place));
}

Result<std::map<ObjectId, PackPlace>> Replica::places() {
  TRY(auto rows, impl_->rows_with_prefix(kPlacePrefix));
  std::map<ObjectId, PackPlace> out;
  for (const Row& row : rows) {
    TRY(ObjectId pack, parse_place_key(row.key));
    TRY(PackPlace place, decode_pack_place(row.value));
    out.emplace_hint(out.end(), pack, std::move(place));
  }
  return out;
}

Result<void> Replica::forget_packs(std::span<const ObjectId> packs, std::span<const RowPut> rows) {
  Impl& r = *impl_;
  std::vector<RowPut> puts(rows.begin(), rows.end());
  for (const ObjectId& id : packs) puts.push_back({place_key(id), std::nullopt});
  if (puts.empty()) return {};
  Lsn lsn;
  {
    ExclusiveLock lock(r.state);
    lsn = r.commit(puts);
  }
  // As with packs that died before their upload: a replay of the journal may still ask for the frames.
  MutexLock lock(r.unsent_mutex);
  for (const ObjectId& id : packs) {
    r.placed.erase(id);
    r.dead.emplace_back(lsn, id);
  }
  return {};
}

}  // namespace coffer
