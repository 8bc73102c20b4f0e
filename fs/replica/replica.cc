// Opening, recovery, and the background work of a replica.
#include "fs/replica/replica.h"

#include <filesystem>

#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "crypto/random.h"
#include "fs/model/invariants.h"
#include "fs/replica/impl.h"
#include "fs/replica/journal_entry.h"

namespace coffer {

namespace {

constexpr auto kFlushEvery = std::chrono::milliseconds(100);  // kill -9 loses no more than this of what was not synced
constexpr size_t kCommitFrom = 8 << 20;                       // bytes of rows in memory
constexpr auto kSealAfter = std::chrono::milliseconds(1500);  // how long written data stays in memory

}  // namespace

Replica::Replica(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Replica::~Replica() { (void)close(); }

Result<std::unique_ptr<Replica>> Replica::open(const std::string& dir, Keys keys, Options options) {
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  impl->keys = std::move(keys);
  Impl& r = *impl;
  for (const char* part : {"/rows", "/journal", "/packs"}) TRYV(make_directories(dir + part));
  TRY(r.table, Table::open(dir + "/rows", r.keys.volume, *r.keys.local));
  r.known_rows = std::make_unique<PartRows>(*r.table, r.parts);
  TRY(r.packs, PackStore::open(dir + "/packs", r.keys.volume, *r.keys.epochs));
  Journal::Options journal_options;
  // A little is durable sooner in the journal, which is written anyway, than in a pack file that grows.
  journal_options.before_sync = [packs = r.packs.get()]() -> Result<Bytes> {
    if (auto recent = packs->take_recent()) return recent->empty() ? Bytes{} : encode_journal_entry({}, {}, *recent);
    TRYV(packs->sync());
    return Bytes{};
  };
  TRY(r.journal, Journal::open(dir + "/journal", r.keys.volume, *r.keys.local, std::move(journal_options)));
  LocalSpace::Backend backend{r.options.clock, [&r](const ObjectId& id) { return r.may_go(id); },
                              [&r] { return r.unsent_bytes(); }, [&r] { return uint64_t{r.dirty_bytes.load()}; }};
  TRY(r.space, LocalSpace::open(dir, *r.packs, r.options.space, std::move(backend)));
  if (auto recovered = r.recover(); !recovered) return fail(recovered.error().in("replica in " + dir));
  TRY(auto half, r.table->get(loading_key()));
  if (half) {
    // A new replica that ended while it took over a state: nothing was ever done with it.
    options = std::move(r.options);
    keys = std::move(r.keys);
    impl.reset();
    for (const char* part : {"/journal", "/rows"}) {
      std::error_code failed;
      std::filesystem::remove_all(dir + part, failed);
      if (failed) return fail(Code::kIo, "cannot remove " + dir + part + ": " + failed.message());
    }
    return open(dir, std::move(keys), std::move(options));
  }
  r.start_workers();
  return std::unique_ptr<Replica>(new Replica(std::move(impl)));
}

// Packs of which the journal says, anywhere, where the store has them.
Result<std::set<ObjectId>> Replica::Impl::packs_placed_in_journal() const {
  std::set<ObjectId> out;
  TRYV(journal->peek(table->committed_lsn(), [&](Lsn, BytesView payload) -> Result<bool> {
    TRY(JournalEntry entry, decode_journal_entry(payload));
    for (const RowPut& put : entry.puts) {
      if (!put.value) continue;
      if (auto pack = parse_place_key(put.key.bytes)) out.insert(*pack);
    }
    return true;
  }));
  return out;
}

// Frames that a sync made durable in the journal and that their packs may have lost go back to them, durably: the replay may
// cut off what holds them.
Result<void> Replica::Impl::restore_recent_frames() {
  bool restored = false;
  TRYV(journal->peek(table->committed_lsn(), [&](Lsn, BytesView payload) -> Result<bool> {
    TRY(JournalEntry entry, decode_journal_entry(payload));
    for (const RecentFrame& f : entry.recent) {
      TRY(bool changed, with_reserve([&] { return packs->restore(f); }));
      restored |= changed;
    }
    return true;
  }));
  return restored ? packs->sync() : Result<void>{};
}

Result<void> Replica::Impl::recover() {
  TRYV(restore_recent_frames());
  Bytes plain;
  std::optional<std::set<ObjectId>> placed_later;
  std::string gone;  // what the refused entry names
  auto outcome = journal->replay(table->committed_lsn(), [&](Lsn lsn, BytesView payload) -> Result<bool> {
    TRY(JournalEntry entry, decode_journal_entry(payload));
    for (const model::Extent& e : entry.frames) {
      plain.resize(e.frame_length);
      auto read = packs->read(e.frame, plain);
      if (read) continue;
      TRY(auto place, table->get(place_key(e.frame.pack)));
      if (place) continue;  // the store has it
      // A disk that cannot be read says nothing about what is on it.
      if (read.error().code() != Code::kNotFound && read.error().code() != Code::kCorrupt) return fail(read.error());
      if (!placed_later) {
        TRY(placed_later, packs_placed_in_journal());
      }
      if (placed_later->contains(e.frame.pack)) continue;
      // A frame that did not survive: nothing was acknowledged from here on, or the sync would have covered it. The
      // journal knows better if it was.
      gone = "pack " + e.frame.pack.str() + ": " + read.error().what();
      return false;
    }
    table->apply(entry.puts, lsn);
    return true;
  });
  if (!outcome && !gone.empty()) {
    return fail(outcome.error().code(),
                outcome.error().what() + " (" + gone +
                    "). Nothing was changed. Bring the pack's file back, or move the state directory away and mount "
                    "anew, which loses what the store has not got");
  }
  TRYV(std::move(outcome));

  replayed = journal->last_lsn();
  ExclusiveLock lock(state);
  TRY(auto state_row, table->get(state_key()));
  if (state_row) {
    TRY(generations, decode_replica_state(*state_row));
  }
  TRYV(load_parts());
  TRY(model::Touched loaded, model::Touched::load(*table, generations.open));
  touched.emplace(std::move(loaded));
  for (model::Generation g = generations.first_pending; g < generations.open; ++g) {
    TRY(model::Touched frozen, model::Touched::load(*table, g));
    frozen_files += frozen.inodes();
  }

  TRY(auto stable_row, table->get(stable_key()));
  if (stable_row) {
    TRY(stable, decode_stable(*stable_row));
  }
  TRY(auto applied_rows, rows_with_prefix(kAppliedPrefix));
  for (const Row& row : applied_rows) {
    TRY(AppliedRecord a, decode_applied_record(row.value));
    applied[a.last] = std::move(a);
  }

  // Unlinked while open, and nobody has them open any more.
  TRY(auto orphan_rows, rows_with_prefix(kOrphanPrefix));
  for (const Row& row : orphan_rows) {
    TRY(Ino ino, parse_orphan_key(row.key));
    model::Transaction tx(*known_rows, *touched);
    auto inode = model::get_inode(tx, ino);
    if (inode && inode->nlink == 0) TRYV(model::erase_inode(tx, ino, true));
    tx.erase(orphan_key(ino));
    TRYV(commit(tx));
  }

  // A local pack whose place in the store is not known is unsent. So is one that was never finished here: the store has what
  // another copy of this state directory made of it.
  TRY(auto local, packs->local_packs());
  std::map<ObjectId, uint64_t> found;
  std::set<ObjectId> shared;
  for (const ObjectId& id : local) {
    TRY(auto place, table->get(place_key(id)));
    const bool open = packs->is_unfinished(id);
    if (place && !open) continue;
    TRY(uint64_t size, packs->size(id));
    found[id] = size;
    if (open && (place || size < kPackTarget)) shared.insert(id);
  }
  MutexLock unsent_lock(unsent_mutex);
  left_open = std::move(shared);
  unsent = std::move(found);
  return {};
}

void Replica::Impl::take_places(std::span<const std::pair<ObjectId, PackPlace>> places, Lsn lsn) {
  std::vector<ObjectId> taken;
  {
    MutexLock lock(unsent_mutex);
    for (const auto& [id, place] : places)
      if (unsent.contains(id)) taken.push_back(id);
  }
  // What is unfinished has frames that nobody else has, even if a copy of this machine published a pack of that name.
  std::erase_if(taken, [this](const ObjectId& id) { return packs->is_unfinished(id); });
  MutexLock lock(unsent_mutex);
  for (const ObjectId& id : taken) {
    unsent.erase(id);
    placed[id] = lsn;
  }
}

void Replica::Impl::start_workers() {
  committer = start_thread("coffer-commit", [this](std::stop_token stop) { commit_loop(stop); });
  sealer = start_thread("coffer-seal", [this](std::stop_token stop) { seal_loop(stop); });
}

Result<void> Replica::Impl::commit_rows() {
  while (auto lsn = table->freeze()) {
    // What only the journal has of the packs goes with it.
    TRYV(with_reserve([&] { return packs->sync(); }));
    TRYV(sync_journal(*lsn));
    TRYV(with_reserve([&] { return table->commit_frozen(); }));
    TRYV(journal->release(table->committed_lsn()));
    TRYV(remove_dead_packs());
    note_committed();
    work_done.notify_all();
    if (table->uncommitted_bytes() < kCommitFrom) break;
  }
  return {};
}

Result<void> Replica::Impl::remove_dead_packs() {
  std::vector<ObjectId> ripe;
  {
    Lsn committed = table->committed_lsn();
    MutexLock lock(unsent_mutex);
    std::erase_if(dead, [&](const auto& d) {
      if (d.first > committed) return false;
      ripe.push_back(d.second);
      return true;
    });
  }
  for (const ObjectId& id : ripe) TRYV(packs->remove(id));
  return {};
}

bool Replica::Impl::may_go(const ObjectId& pack) {
  const Lsn committed = table->committed_lsn();
  if (committed < replayed) return false;
  {
    MutexLock lock(unsent_mutex);
    auto since = placed.find(pack);
    if (unsent.contains(pack) || (since != placed.end() && since->second > committed)) return false;
  }
  auto row = table->get(place_key(pack));
  if (!row || !*row) return false;
  auto place = decode_pack_place(**row);
  if (!place) return false;
  // A record carries those frames of a pack that its changes need: others may live on in files that were removed and are
  // still open.
  if (place->offset == 0) return true;
  SharedLock lock(state);
  return orphans.empty();
}

void Replica::Impl::note_committed() {
  const Lsn committed = table->committed_lsn();
  size_t ripe;
  {
    MutexLock lock(unsent_mutex);
    ripe = std::erase_if(placed, [&](const auto& item) { return item.second <= committed; });
  }
  space->more_may_go(ripe * kPackTarget);
}

uint64_t Replica::Impl::unsent_bytes() {
  uint64_t bytes = packs->unrotated_bytes();
  MutexLock lock(unsent_mutex);
  for (const auto& [id, size] : unsent) bytes += size;
  return bytes;
}

void Replica::Impl::commit_loop(std::stop_token stop) {
  Nanos last_commit = options.clock->monotonic();
  while (!stop.stop_requested()) {
    bool wanted;
    {
      MutexLock lock(work_mutex);
      if (!commit_wanted && !stopping) work_wake.wait_for(work_mutex, kFlushEvery);
      wanted = commit_wanted;
      commit_wanted = false;
      if (stopping) return;
    }
    space->tidy();
    Result<void> done = with_reserve([&] { return journal->flush(); });
    size_t waiting = table->uncommitted_bytes();
    bool old = options.clock->monotonic() - last_commit > options.commit_every;
    if (done && waiting > 0 && (wanted || old || waiting > kCommitFrom)) {
      done = commit_rows();
      last_commit = options.clock->monotonic();
    }
    MutexLock lock(work_mutex);
    if (!done) {
      if (!disk_trouble) log_line(LogLevel::kError, "cannot write to the state directory: " + done.error().what());
      disk_trouble = done.error();
      work_done.notify_all();
      work_wake.wait_for(work_mutex, std::chrono::seconds(1));
    } else {
      disk_trouble.reset();
    }
  }
}

// Seals written data that has been in memory for a while, and keeps the unsynced part of the packs small, so that no fsync
// has to wait for much.
void Replica::Impl::seal_loop(std::stop_token stop) {
  while (!stop.stop_requested()) {
    {
      MutexLock lock(work_mutex);
      if (!seal_wanted && !stopping) work_wake.wait_for(work_mutex, std::chrono::milliseconds(250));
      seal_wanted = false;
      if (stopping) return;
    }
    if (packs->unsynced_bytes() > kUnsyncedFrom || unnamed_count.load() > 0) {
      if (auto synced = sync_sealed(); !synced)
        log_line(LogLevel::kError, "cannot sync packs: " + synced.error().what());
    }
    for (;;) {
      std::optional<Ino> ino;
      {
        MutexLock lock(files_mutex);
        if (dirty_since.empty()) break;
        auto [since, oldest] = dirty_since.front();
        bool tight = dirty_bytes.load() > options.dirty_limit / 2;
        if (!tight && options.clock->monotonic() - since < kSealAfter) break;
        dirty_since.pop_front();
        // A stream makes an entry with each mebibyte: what is in memory by now is younger, and has one of its own.
        auto file = files.find(oldest);
        if (file == files.end() || file->second->since != since) continue;
        ino = oldest;
      }
      bool orphan;
      {
        SharedLock lock(state);
        orphan = orphans.contains(*ino);
      }
      Result<void> sealed = orphan && dirty_bytes.load() < options.dirty_limit / 2 ? Result<void>{} : seal_file(*ino);
      MutexLock lock(files_mutex);
      if (auto file = files.find(*ino); file != files.end()) {
        file->second->since = options.clock->monotonic();
        dirty_since.emplace_back(file->second->since, *ino);
      }
      if (!sealed) break;
      if (stop.stop_requested()) return;
    }
  }
}

Result<void> Replica::Impl::throttle() {
  while (table->uncommitted_small() > options.uncommitted_limit) {
    MutexLock lock(work_mutex);
    if (stopping) break;
    if (disk_trouble) return fail(*disk_trouble);
    commit_wanted = true;
    work_wake.notify_all();
    work_done.wait_for(work_mutex, std::chrono::milliseconds(20));  // bounded: a notification can come before we wait
  }
  return {};
}

Lsn Replica::Impl::commit(std::span<const RowPut> puts, std::span<const model::Extent> new_frames) {
  for (const auto& snapshot : snapshots)
    if (auto reader = snapshot.lock()) reader->keep(puts);
  Lsn lsn = journal->append(encode_journal_entry(puts, new_frames));
  table->apply(puts, lsn);
  return lsn;
}

Lsn Replica::Impl::commit(std::span<const RowPut> first, RowChanges many, size_t weight, const EncodedPuts& encoded,
                          std::span<const RowPut> last) {
  for (const auto& snapshot : snapshots)
    if (auto reader = snapshot.lock()) reader->lose();
  EncodedPuts before, after;
  before.add(first);
  after.add(last);
  const Bytes head = journal_entry_head(before.count() + encoded.count() + after.count()), tail = journal_entry_tail();
  const BytesView payload[] = {head, before.bytes(), encoded.bytes(), after.bytes(), tail};
  const Lsn lsn = journal->append(payload);
  RowChanges few;
  for (const RowPut& put : first)
    if (!many.contains(put.key.bytes)) few[put.key.bytes] = {put.key.clear, put.value};
  for (const RowPut& put : last) few[put.key.bytes] = {put.key.clear, put.value};
  weight += Table::weigh(few);
  for (auto& [key, change] : few) many.insert_or_assign(key, std::move(change));
  table->apply(std::move(many), weight, lsn);
  {
    MutexLock lock(work_mutex);
    commit_wanted = true;
    work_wake.notify_all();
  }
  return lsn;
}

Result<void> Replica::Impl::commit(model::Transaction& tx, std::span<const model::Extent> new_frames) {
  if (tx.empty()) return {};
  TRY(auto puts, tx.take());
  commit(puts, new_frames);
  changes.fetch_add(1, std::memory_order_relaxed);
  return {};
}

void Replica::Impl::tell_pending() {
  if (pending_callback && !pending_told.exchange(true)) pending_callback();
}

Ino Replica::Impl::fresh_ino() { return fresh_ino(next_ino); }
Ino Replica::Impl::fresh_directory_ino() { return fresh_ino(next_directory_ino); }

Ino Replica::Impl::fresh_ino(uint64_t& next) {
  // A random prefix for every run and every 2^24 numbers: clones of a machine do not hand out the same numbers. 39 bits, so
  // that numbers stay positive for programs that take them as signed.
  constexpr uint64_t kBelow = (uint64_t{1} << RowParts::kOwnShift) - 1;
  if ((next & kBelow) == 0) {
    uint64_t prefix;
    do prefix = random_u64() >> (RowParts::kOwnShift + 1);
    while (prefix == 0);
    next = prefix << RowParts::kOwnShift;
    ++next;
    if (parts.loading()) {
      RowPut put{own_inos_key(prefix), Bytes{}};
      commit(std::span(&put, 1));
      parts.own(prefix);
    }
  }
  return next++;
}

Result<bool> Replica::has_root() const {
  TRY(auto row, impl_->table->get(model::inode_key(model::kRootIno)));
  return row.has_value();
}

Result<void> Replica::make_root() {
  TRY(bool have, has_root());
  if (have) return fail(Code::kExists, "the volume has a root directory already");
  return impl_->change([&](model::Transaction& tx) -> Result<void> {
    model::make_root(tx, 0755, impl_->options.root_uid, impl_->options.root_gid, impl_->now());
    return {};
  });
}

Result<void> Replica::close() {
  Impl& r = *impl_;
  if (r.closed) return {};
  r.closed = true;
  {
    MutexLock lock(r.work_mutex);
    r.stopping = true;
    r.work_wake.notify_all();
    r.work_done.notify_all();
  }
  for (std::jthread* t : {&r.committer, &r.sealer}) {
    if (!t->joinable()) continue;
    t->request_stop();
    t->join();
  }
  TRYV(r.seal_everything());
  TRYV(r.sync_journal(r.journal->last_lsn()));
  return r.commit_rows();
}

Result<std::optional<Bytes>> Replica::get_row(const RowKey& key) { return impl_->table->get(key); }

Result<std::vector<Row>> Replica::rows_with_prefix(std::string_view prefix) { return impl_->rows_with_prefix(prefix); }

Result<std::vector<Row>> Replica::Impl::rows_with_prefix(std::string_view prefix) const {
  std::vector<Row> out;
  std::string after;
  for (;;) {
    TRY(auto row, table->next(prefix, after));
    if (!row) return out;
    after = row->key;
    out.push_back(std::move(*row));
  }
}

Result<void> Replica::put_rows(std::span<const RowPut> puts, bool durable) {
  Lsn lsn;
  {
    ExclusiveLock lock(impl_->state);
    lsn = impl_->commit(puts);
  }
  return durable ? impl_->sync_journal(lsn) : Result<void>{};
}

void Replica::on_pending(std::function<void()> callback) { impl_->pending_callback = std::move(callback); }
void Replica::on_touch(std::function<void(const model::Touch&)> callback) {
  impl_->touch_callback = std::move(callback);
}

PackStore& Replica::packs() { return *impl_->packs; }
const EpochKeys& Replica::epoch_keys() const { return impl_->keys.epochs->newest(); }
KeyRing& Replica::key_ring() const { return *impl_->keys.epochs; }
const VolumeId& Replica::volume() const { return impl_->keys.volume; }

ReplicaCounters Replica::counters() {
  ReplicaCounters c;
  c.changes = impl_->changes.load();
  bool pending;
  {
    SharedLock lock(impl_->state);
    c.pending_files = impl_->touched->inodes() + impl_->frozen_files;
    pending = impl_->touched->size() > 0 || !impl_->unnamed.empty() ||
              impl_->generations.open > impl_->generations.first_pending;
    if (pending) c.pending_files = std::max<uint64_t>(c.pending_files, 1);
  }
  c.dirty_bytes = impl_->dirty_bytes.load();
  // When nothing is pending, what is in packs is of files that were removed while open: it goes, and never goes up.
  c.pending_bytes = (pending ? impl_->unsent_bytes() : 0) + c.dirty_bytes;
  c.journal_syncs = impl_->journal->syncs();
  c.pack_syncs = impl_->packs->syncs();
  c.disk_bytes = impl_->packs->disk_bytes();
  c.cache_limit = impl_->space->limits().cache;
  c.disk_full = impl_->space->full();
  return c;
}

Result<std::vector<model::Extent>> Replica::extents(Ino ino, uint64_t offset, uint64_t length) {
  TRYV(impl_->seal_file(ino));
  SharedLock lock(impl_->state);
  return model::extents(*impl_->known_rows, ino, offset, length);
}

Result<std::vector<std::string>> Replica::find_faults() {
  TRYV(impl_->seal_everything());
  SharedLock lock(impl_->state);
  return model::find_faults(*impl_->known_rows);
}

}  // namespace coffer
