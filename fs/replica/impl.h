// The inside of Replica, shared by the files that implement it: names.cc, contents.cc, publishing.cc, applying.cc, and
// replica.cc (opening, recovery, the background threads); merging.cc, replaying.cc, rewriting.cc and keeping.cc.
//
// Locks, in this order: File::mutex (one file's written data), freeze_ (shared while a seal puts extents; exclusive while
// a generation is cut off), state_ (rows). What takes long (sealing, pack writes) happens under File::mutex at most;
// nothing is held across an fdatasync or a callback.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <unordered_map>

#include "base/mutex.h"
#include "cache/journal.h"
#include "cache/table.h"
#include "fs/model/history.h"
#include "fs/model/remains.h"
#include "fs/replica/bookkeeping.h"
#include "fs/replica/frame_cache.h"
#include "fs/replica/journal_entry.h"
#include "fs/replica/local_space.h"
#include "fs/replica/replica.h"
#include "fs/replica/row_parts.h"
#include "fs/replica/seal_helpers.h"
#include "fs/replica/snapshot.h"
#include "fs/replica/touch_finder.h"
#include "fs/replica/write_buffer.h"

namespace coffer {

// Pack bytes that start a background sync: about half of what an fsync may have to wait for.
inline constexpr size_t kUnsyncedFrom = 4 << 20;

// How often at most a merge takes up what was done here meanwhile, before it takes the lock for the rest.
inline constexpr model::Generation kMergeRounds = 8;

// The written data of one file, while there is any. `gone`: no longer in the map, look again.
struct WrittenFile {
  Mutex mutex{Rank::kInode};
  WriteBuffer buffer GUARDED_BY(mutex);
  bool keep_times GUARDED_BY(mutex) = false;  // the kernel sends the times
  WallTime written GUARDED_BY(mutex);         // last write, when it does not
  bool gone GUARDED_BY(mutex) = false;
  Nanos since{};  // of its place in `dirty_since`; guarded by what guards that
};

// Applies changes to `rows`; `touched` takes what undoes them.
Result<void> play(Rows& rows, model::Touched& touched, const model::ChangeSet& changes, const model::Author& author,
                  std::vector<model::Conflict>& conflicts);
Result<void> undo_all(Rows& rows, model::Generation first, model::Generation last);

RowPut parts_row(const std::vector<Replica::Part>& parts);

struct Replica::Impl {
  // --- constant after open
  Options options;
  Keys keys;
  std::unique_ptr<Table> table;          // as it is: for our own bookkeeping, and where nothing can be missing
  std::unique_ptr<PartRows> known_rows;  // the same, as far as it is here: for the state
  std::unique_ptr<PackStore> packs;
  std::unique_ptr<Journal> journal;
  std::unique_ptr<LocalSpace> space;
  Lsn replayed = 0;  // the last that was in the journal
  std::function<void()> pending_callback;
  std::function<void(const model::Touch&)> touch_callback;
  std::function<bool(Ino, Ino)> supersede_callback;

  NewsGate gate;

  // --- the rows
  SharedMutex state{Rank::kState};
  std::optional<model::Touched> touched GUARDED_BY(state);  // of the open generation
  ReplicaState generations GUARDED_BY(state);
  std::map<model::Generation, AppliedRecord> applied GUARDED_BY(state);  // by last generation: in the common order
  uint64_t frozen_files GUARDED_BY(state) = 0;                           // that were changed before the open generation
  uint64_t stable GUARDED_BY(state) = 0;                                 // stamp of the last that left `applied`
  struct NextStable {
    uint64_t line = 0, newest = 0;  // where history may be dropped when all that was applied then is below the line
  };
  std::optional<NextStable> next_stable GUARDED_BY(state);
  // What settle() makes of frozen generations, found without the lock when they were described; and how they are encoded, when
  // they are many.
  struct Settled {
    model::Generation first = 0, last = 0;
    RowChanges changes;
    size_t weight = 0;
    EncodedPuts encoded;
  };
  std::optional<Settled> settled GUARDED_BY(state);
  // By set_stable: what was found before such a moment may bring back what was forgotten at it.
  uint64_t times_forgotten GUARDED_BY(state) = 0;
  std::set<Ino> orphans GUARDED_BY(state);  // unlinked, still known to the kernel
  // Orphans that hold what news took from under somebody. An entry stays when its conflict copy was made: somebody may be on
  // his way to the old number.
  struct Kept {
    model::Name home;  // of the file, when the news came
    Ino copy = 0;
  };
  std::unordered_map<Ino, Kept> keepers GUARDED_BY(state);
  std::atomic<size_t> keeper_count{0};
  std::vector<std::weak_ptr<SnapshotRows>> snapshots GUARDED_BY(state);  // while somebody reads them
  RowParts parts;
  uint64_t next_ino GUARDED_BY(state) = 0, next_directory_ino GUARDED_BY(state) = 0;
  std::atomic<uint64_t> changes{0};
  std::atomic<bool> pending_told{false};

  // --- written data
  SharedMutex freeze{Rank::kFreeze};
  Mutex files_mutex{Rank::kLeaf};
  std::unordered_map<Ino, std::shared_ptr<WrittenFile>> files GUARDED_BY(files_mutex);
  std::deque<std::pair<Nanos, Ino>> dirty_since
      GUARDED_BY(files_mutex);        // oldest first; may name files that are not any more
  std::atomic<size_t> file_count{0};  // of `files`
  std::atomic<size_t> dirty_bytes{0};
  std::atomic<uint64_t> drops{0};  // of written data that rows say now, or that nothing does
  // What was sealed while somebody streams a file, and is not named by the rows yet: name_sealed() does that when a sync of the
  // packs has made it durable, so that no entry of the journal waits for it, and no fsync of another file. Whatever needs
  // the rows as they will be names it before that. In the order of sealing; seals and cuts are kept apart by `freeze`.
  struct Sealed {
    uint64_t number = 0;
    std::vector<model::Extent> extents;
    uint64_t end = 0;  // of the file at least
    WallTime when;
    bool keep_times = false;
  };
  std::map<Ino, std::vector<Sealed>> unnamed GUARDED_BY(state);
  uint64_t sealed_last GUARDED_BY(state) = 0;     // the highest number
  uint64_t sealed_durable GUARDED_BY(state) = 0;  // up to which the packs were synced
  std::atomic<size_t> unnamed_count{0};           // files in `unnamed`
  FrameCache frames{32 << 20};
  SealHelpers seal_helpers;

  // --- packs that no store has yet
  Mutex unsent_mutex{Rank::kLeaf};
  std::map<ObjectId, uint64_t> unsent GUARDED_BY(unsent_mutex);  // closed by rotate(): id, bytes of frames
  // Of these, a former run may have had open. When this is a copy of a state directory, the other goes on appending, and
  // there would be two packs of one name: what lives in them is sealed anew.
  std::set<ObjectId> left_open GUARDED_BY(unsent_mutex);
  // Nothing refers to these any more; their files go when LMDB holds everything up to the lsn, since until then a replay
  // of the journal still asks for their frames.
  std::vector<std::pair<Lsn, ObjectId>> dead GUARDED_BY(unsent_mutex);
  // The store has these, but LMDB does not say so yet: replaying the journal up to the lsn may ask for their frames before
  // it comes to where it says that they are in the store.
  std::map<ObjectId, Lsn> placed GUARDED_BY(unsent_mutex);

  Mutex no_key_mutex{Rank::kLeaf};
  size_t no_key_with GUARDED_BY(no_key_mutex) = 0;  // so many keys are known, and do not open something,
  std::chrono::steady_clock::time_point no_key_since GUARDED_BY(no_key_mutex);  // found out then

  // --- background work
  Mutex work_mutex{Rank::kLeaf};
  CondVar work_wake;  // waiting workers
  CondVar work_done;  // waiting writers
  bool stopping GUARDED_BY(work_mutex) = false;
  bool commit_wanted GUARDED_BY(work_mutex) = false;
  bool seal_wanted GUARDED_BY(work_mutex) = false;
  std::optional<Error> disk_trouble GUARDED_BY(work_mutex);  // of the last commit; cleared by one that works
  std::jthread committer, sealer;
  bool closed = false;

  WallTime now() const { return options.clock->wall(); }

  // --- replica.cc
  Result<void> recover();
  Result<void> restore_recent_frames();
  // News says where these packs are. Of one that is here in part, kept for a record that was not applied before the last run
  // ended, recover() could not know that it is not unsent.
  void take_places(std::span<const std::pair<ObjectId, PackPlace>> places, Lsn lsn);
  Result<std::set<ObjectId>> packs_placed_in_journal() const;
  Result<std::vector<Row>> rows_with_prefix(std::string_view prefix) const;
  void start_workers();
  void commit_loop(std::stop_token stop);
  void seal_loop(std::stop_token stop);
  Result<void> commit_rows();
  Result<void> remove_dead_packs();
  // Before taking a lock for a change: waits while the rows that LMDB has not got take too much memory; an error when the
  // disk does not take them.
  Result<void> throttle();

  // Journals and applies puts as one atomic step; their number.
  Lsn commit(std::span<const RowPut> puts, std::span<const model::Extent> frames = {}) REQUIRES(state);
  // Likewise, of many changes that were encoded and weighed before, between others.
  Lsn commit(std::span<const RowPut> first, RowChanges many, size_t weight, const EncodedPuts& encoded,
             std::span<const RowPut> last) REQUIRES(state);
  // The same for a model transaction: nothing happens when it fails.
  Result<void> commit(model::Transaction& tx, std::span<const model::Extent> frames = {}) REQUIRES(state);
  void tell_pending();
  // Whether what this machine has of the pack may be evicted.
  bool may_go(const ObjectId& pack);
  void note_committed();
  uint64_t unsent_bytes();

  // Runs an operation that may have to work on a full disk: once more when the reserve can be given up for it. No lock is
  // held.
  template <typename Op>
  auto with_reserve(Op&& op) -> decltype(op()) {
    auto result = op();
    if (!result && result.error().code() == Code::kNoSpace && space->give_up_reserve()) result = op();
    return result;
  }

  Result<void> sync_journal(Lsn lsn) {
    return with_reserve([&] { return journal->sync(lsn); });
  }

  // Runs `op(Transaction&)` -> Result<T> under the exclusive lock and commits it when it succeeds.
  template <typename Op>
  auto change(Op&& op) -> decltype(op(std::declval<model::Transaction&>())) {
    if (auto room = throttle(); !room) return std::unexpected(room.error());
    auto result = [&]() -> decltype(op(std::declval<model::Transaction&>())) {
      ExclusiveLock lock(state);
      model::Transaction tx(*known_rows, *touched);
      const uint64_t misses = PartWishes::misses();
      auto r = op(tx);
      if (!r) return r;
      // What was not here may have been taken for absent.
      if (misses != PartWishes::misses()) return fail(Code::kUnavailable, "a part of the state is not here yet");
      if (auto committed = commit(tx); !committed) return std::unexpected(committed.error());
      return r;
    }();
    if (result) tell_pending();
    return result;
  }

  Ino fresh_ino() REQUIRES(state);
  // What is pending so far is a generation of its own from here on, and what comes another.
  void close_generation() REQUIRES(state);
  // The rows as they are now, for who reads them without the lock.
  std::shared_ptr<const SnapshotRows> snapshot_rows() REQUIRES(state);
  // Directories have numbers of their own, so that those of one run lie together: who lists a directory of directories finds
  // all of them in few parts of the state.
  Ino fresh_directory_ino() REQUIRES(state);
  Ino fresh_ino(uint64_t& next) REQUIRES(state);

  // --- parts.cc
  Result<void> load_parts() REQUIRES(state);
  // What ends the loading, as one step with what makes the state whole.
  Result<std::vector<RowPut>> ending_rows() const;
  // Everything about a file's contents and attributes is here, so that it can be erased, or written to without looking.
  Result<void> need_contents(Ino ino) const;

  // --- names.cc
  void wish_for_entries(Ino dir, std::string_view name) const;

  // --- contents.cc
  std::shared_ptr<WrittenFile> find_file(Ino ino);
  std::shared_ptr<WrittenFile> find_or_make_file(Ino ino);
  // Adds what is written and not sealed yet to the attributes, which were read when `drops` was not less than `drops_before`.
  void overlay(Ino ino, model::Inode& inode, uint64_t drops_before);
  // Seals the file's data into frames and puts its extents; without `all` only whole frames, whose extents may be put later. On
  // failure the data stays.
  Result<void> seal(Ino ino, WrittenFile& file, bool all) REQUIRES(file.mutex);
  // Puts the extents of what was sealed of the file, up to a number. On failure they stay unnamed.
  Result<void> name_sealed(Ino ino, uint64_t last = UINT64_MAX) REQUIRES(state);
  Result<void> name_all_sealed(uint64_t last = UINT64_MAX) REQUIRES(state);
  // The same of one file, for who holds no lock of the rows.
  Result<void> settle(Ino ino) EXCLUDES(state);
  // Makes what was sealed durable, and names it.
  Result<void> sync_sealed() EXCLUDES(state);
  Result<void> seal_file(Ino ino);
  // What is unlinked and open is seen by nobody but its holders; unless news brings the file back.
  Result<void> seal_everything(bool with_unlinked = false);
  void drop_written(Ino ino);
  void drop_written(WrittenFile& file, uint64_t offset, uint64_t length) REQUIRES(file.mutex);
  void remove_if_clean(Ino ino, WrittenFile& file) REQUIRES(file.mutex);
  Result<void> read_extent(const model::Extent& extent, MutableBytes out, std::vector<Missing>& missing);
  // Whether it is worth asking again for what no key opens: a device that was mounted with an older key gets the newer ones
  // from its slot in a moment.
  bool keys_may_come();
  template <typename Op>
  Result<void> change_contents(Ino ino, Op&& op);

  // --- publishing.cc
  struct Cut {
    Frozen frozen;
    std::vector<ObjectId> closed;  // packs that were closed when it was cut
    bool all_known = false;        // what lives in `closed` is named by `frozen`, and by nothing else
  };
  // Commits what settle() makes of frozen generations, just before the open one, and `rows`.
  Result<Lsn> commit_settled(const Frozen& frozen, std::vector<RowPut> rows) REQUIRES(state);
  // Seals what is written, cuts off what is pending, and describes it; nullopt: nothing is.
  Result<std::optional<Cut>> cut();
  Result<std::vector<Frozen::Pack>> packs_for(const model::ChangeSet& set, const ReadRows& rows);

  // --- applying.cc
  // What a change to the applied records below what is pending did.
  struct Renewal {
    std::vector<model::Generation> undone;  // of applied records
    std::vector<AppliedRecord> applied;     // in order; their generations follow the open one
    std::optional<uint64_t> stable;         // when it is another now
    bool from_nothing = false;              // every row of the state was put anew
    std::vector<model::Conflict> conflicts;
  };
  // May be called twice, with different rows; under the replica's locks, or with none. Who applies, freezes or publishes takes
  // turns, so `applied` stays what it is.
  using Renew = std::function<Result<Renewal>(model::PlainTransaction& all, model::Generation next)>;
  // Undoes what is pending, calls `renew`, and applies it again on top. All in one atomic step, with the other rows. `size`:
  // about how many changes `renew` makes. `anew`: the whole state is put, whatever parts of the former one are here.
  Result<model::Applied> under_pending(const Renew& renew, size_t size,
                                       std::span<const std::pair<ObjectId, PackPlace>> places,
                                       std::span<const RowPut> bookkeeping, bool anew = false);
  // What pending changes have become on top of news.
  struct Redone {
    Renewal renewal;
    std::optional<model::Touched> open;  // what undoes them
    std::vector<model::Conflict> conflicts;
  };
  // Undoes generations, calls `renew`, and does again what they did.
  Result<void> redo(model::PlainTransaction& all, model::Generation first, model::Generation last, const Renew& renew,
                    model::Generation next, Redone& out) const;
  // Plays what was done here on top of what is there.
  Result<void> play_own(model::PlainTransaction& all, const model::ChangeSet& done, Redone& out) const;
  // The generation of the first record that is applied next.
  model::Generation next_applied() const REQUIRES_SHARED(state);

  // --- merging.cc
  struct Ahead {
    Redone redone;
    // What this generation and later ones did is not undone by `changes`, which are to the state before it; what `unplayed`
    // and later ones did is not done again by `later`, which are on top of them.
    model::Generation first_live = 0, unplayed = 0;
    RowChanges changes, later;
    // Of `changes`, since there are many:
    size_t weight = 0;
    EncodedPuts encoded;
    TouchFinder touches;
  };
  // kUnavailable: too much was changed here meanwhile.
  Result<Ahead> merge_ahead(const Renew& renew, model::Generation next) EXCLUDES(state);
  Result<void> merge_first(const ReadRows& rows, model::Generation first, model::Generation last, const Renew& renew,
                           model::Generation next, Ahead& out) const;
  Result<void> merge_rest(const ReadRows& rows, model::Generation last, Ahead& out) const;

  // --- keeping.cc
  Result<std::vector<model::Orphan>> lift_orphans() const REQUIRES(state);
  bool is_seen_by_us(const model::Conflict& c) const;
  // Conflict copies by what leads to them; of several the first.
  struct SeenCopies {
    struct Copy {
      size_t order = 0;
      Ino ino = 0;
    };
    std::unordered_map<model::Version, Copy> by_version;
    std::unordered_map<Ino, Copy> of_ours;  // by the file that we had seen
  };
  Result<SeenCopies> seen_copies(const std::vector<model::Conflict>& conflicts, const model::Transaction& tx) const;
  // News is about to change or remove the contents of this file, or to bring it back, as `tx` sees it already: whoever holds
  // it goes on with the version that `table` has still.
  Result<void> keep_superseded(Ino ino, const SeenCopies& copies, model::Transaction& tx) REQUIRES(state);

  // --- rewriting.cc
  std::set<ObjectId> sparse_packs(const Frozen& frozen);
  // Seals what `set` needs of these packs anew. When it fails, some of it has been.
  Result<void> rewrite(const model::ChangeSet& set, const std::set<ObjectId>& sparse);
  Result<void> move_extent(Ino ino, const model::Extent& old, const FrameRef& frame, bool cut);
};

}  // namespace coffer
