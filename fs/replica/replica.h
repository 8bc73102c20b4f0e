// A device's local copy of the volume: the state (rows), the data (packs), what is pending, and the one place that joins
// model, journal, table and packs. The kernel side calls the upper half, the synchronizer the lower.
//
// Durability: an operation that returned is visible to every later one and, after kill -9, lost only if it is younger than
// the journal's last flush (100 ms); sync_file, sync_all make durable against power loss.
//
// Errors of all operations: those of fs/model/tree.h, and kNoSpace, kIo, kCorrupt. Nothing here waits for a store. On a full
// disk, what makes or writes gets kNoSpace (fs/replica/local_space.h); removing, truncating and publishing go on.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "cache/pack_store.h"
#include "crypto/key_ring.h"
#include "fs/model/apply.h"
#include "fs/model/change_set.h"
#include "fs/model/tree.h"
#include "fs/replica/local_space.h"
#include "fs/replica/news_gate.h"

namespace coffer {

using model::Ino;

class LoadedState;
class RowParts;
class StateSnapshot;

// A record as the replica needs it: its place in the common order, who wrote it, what it does. fs/sync makes it from
// verified bytes.
struct OrderedRecord {
  uint64_t stamp = 0;
  LogId log;
  uint64_t number = 0;  // in its log
  model::Author author;
  model::ChangeSet changes;

  // The common order of records.
  bool before(const OrderedRecord& o) const { return std::tie(stamp, log) < std::tie(o.stamp, o.log); }
};

// Where the bytes of a pack are in the store.
struct PackPlace {
  std::string key;      // object key
  uint64_t offset = 0;  // of the pack's first byte in the object
  uint64_t size = 0;    // bytes of the pack
};

// A fetched range that a read needs: frames of one pack that are not on this machine.
struct Missing {
  model::Extent extent;
};

// What was pending, cut off and described: the raw material of one record.
struct Frozen {
  model::Generation first = 0, last = 0;
  model::ChangeSet changes;
  // Packs of this machine that `changes` needs and no store has yet, with what their index must say. Each is closed.
  struct Pack {
    ObjectId id;
    std::vector<IndexEntry> index;
  };
  std::vector<Pack> packs;
  // Their other frames may be named by a later record: somebody has a removed file open, and may copy it.
  bool all_frames = false;
};

struct ReplicaCounters {
  uint64_t changes = 0;  // operations that changed something, since open; to see whether work goes on
  uint64_t pending_files =
      0;  // files and directories with changes that no record has yet; not 0 when anything is pending
  uint64_t pending_bytes = 0;  // of packs that no store has yet, and unsealed data
  uint64_t dirty_bytes = 0;    // in memory, not sealed yet
  uint64_t journal_syncs = 0, pack_syncs = 0;
  uint64_t disk_bytes = 0;   // of packs: cached, and waiting for the store
  uint64_t cache_limit = 0;  // 0: none
  bool disk_full = false;
};

// Thread-safe, all of it; but freeze(), publish() and apply() are called one at a time (the synchronizer takes turns), since
// what a freeze describes, an apply redoes.
class Replica {
 public:
  struct Options {
    const Clock* clock = &Clock::system();
    size_t dirty_limit = 64 << 20;                 // written data in memory, all files together
    size_t uncommitted_limit = 64 << 20;           // rows in memory that LMDB has not got
    Nanos commit_every = std::chrono::seconds(5);  // to LMDB, at the latest
    // Changes, remote and pending, that are merged under the lock of the rows. More are merged ahead of it, while work goes
    // on (fs/replica/merging.cc).
    size_t merge_at_once = 1000;
    std::string device_name;              // for conflict names
    uint32_t root_uid = 0, root_gid = 0;  // of a new volume's root directory
    SpaceLimits space;
  };
  struct Keys {
    VolumeId volume;
    std::unique_ptr<KeyRing> epochs;
    std::unique_ptr<LocalKeys> local;
  };

  // Opens or makes the replica in directory `dir` (exists; the caller holds its lock), and recovers it: replays the journal,
  // erases what was unlinked while open. A new replica has no root until make_root() or the first records.
  static Result<std::unique_ptr<Replica>> open(const std::string& dir, Keys keys, Options options);
  ~Replica();  // flushes and syncs what it can; close() says whether it worked

  // Makes everything durable and stops the background threads. Idempotent; other calls fail afterwards.
  Result<void> close();

  Result<bool> has_root() const;
  Result<void> make_root();

  // --- the kernel side: names and attributes
  Result<model::Node> lookup(Ino dir, std::string_view name);
  Result<model::Inode> attributes(Ino ino);  // size covers written data that is not sealed yet
  Result<model::Node> make(Ino dir, std::string_view name, const model::NewInode& what);
  Result<model::Node> link(Ino ino, Ino dir, std::string_view name);
  // What lost its last link stays readable and writable until forget().
  Result<model::Unlinked> unlink(Ino dir, std::string_view name);
  Result<model::Unlinked> rmdir(Ino dir, std::string_view name);
  Result<std::optional<model::Unlinked>> rename(Ino dir, std::string_view name, Ino new_dir, std::string_view new_name,
                                                model::RenameMode mode);
  Result<model::Inode> set_attributes(Ino ino, const model::SetAttributes& what);
  // The kernel no longer knows this inode: if it has no link, it goes for good.
  void forget(Ino ino);
  Result<std::vector<model::ListedEntry>> list(Ino dir, uint64_t after, size_t max);
  // Entries with the attributes of what they lead to (readdirplus), under one lock; without, where they are not here yet.
  struct ListedNode {
    uint64_t cookie = 0;
    std::string name;
    model::Node node;
    model::FileType type = model::FileType::kRegular;
    bool here = true;
  };
  Result<std::vector<ListedNode>> list_nodes(Ino dir, uint64_t after, size_t max);
  Result<std::vector<model::Name>> names_of(Ino ino);

  Result<Bytes> get_xattr(Ino ino, std::string_view name);
  Result<std::vector<model::Xattr>> list_xattrs(Ino ino);
  Result<void> set_xattr(Ino ino, std::string_view name, BytesView value, model::XattrMode mode);
  Result<void> remove_xattr(Ino ino, std::string_view name);

  // --- the kernel side: contents
  struct ReadOutcome {
    size_t bytes = 0;              // filled from the start of `out` (less than out.size() at end of file)
    std::vector<Missing> missing;  // when not empty, `out` is not valid: fetch these, then call again
  };
  Result<ReadOutcome> read(Ino ino, uint64_t offset, MutableBytes out);
  // Gathers in memory; blocks only for back-pressure of the local disk. `keep_times`: the kernel keeps the times
  // (writeback cache) and sends them itself.
  Result<void> write(Ino ino, uint64_t offset, BytesView data, bool keep_times);
  Result<void> truncate(Ino ino, uint64_t size);
  Result<void> punch_hole(Ino ino, uint64_t offset, uint64_t length);
  // Copies by sharing what is sealed: nothing is read or stored again. The bytes copied: fewer than `length` at the end of
  // `from`, and at most kCopyMost. kInvalid: ranges of one file that overlap.
  static constexpr uint64_t kCopyMost = 256 << 20;
  Result<uint64_t> copy_range(Ino from, uint64_t from_offset, Ino to, uint64_t to_offset, uint64_t length,
                              bool keep_times);
  Result<void> allocate(Ino ino, uint64_t offset, uint64_t length);  // grows the size only
  Result<uint64_t> seek_data(Ino ino, uint64_t offset);
  Result<uint64_t> seek_hole(Ino ino, uint64_t offset);
  // Durable: the file's contents and attributes (and with the journal, everything that happened before).
  Result<void> sync_file(Ino ino);
  // Durable: every operation that returned before; with `seal`, data still in memory as well.
  Result<void> sync_all(bool seal);

  // --- the kernel side: what is open when news comes
  // While one lives, no news is applied, so what an inode number means stays. A thread has one at a time, and does not wait
  // for the network with it.
  NewsGate::Hold hold_news();
  // Called by apply(), with its locks held, for each file that it is about to change or remove: whoever has that file open
  // goes on with `keeper`, an inode with its contents as they were. False: nobody has, and there will be no such inode.
  // `keeper` is the file itself when only its times change, or the conflict copy that its contents are in now; else it has
  // no name and lives until forget().
  void on_supersede(std::function<bool(Ino ino, Ino keeper)> callback);
  // Which inode to change when somebody changes `ino`: that one, mostly. A keeper without a name is not to be changed: it
  // becomes a conflict copy beside the file first, an inode of its own, which is what is returned from then on.
  Result<Ino> writable(Ino ino);

  // --- the synchronizer: publishing
  // Cuts off everything pending (data in memory is sealed first); nullopt when nothing is, or when it came to nothing.
  // Called by one thread; a second call before publish() of the first returns both together.
  Result<std::optional<Frozen>> freeze();
  // The frozen generations are record `record` of our own log now; `sealed` are its bytes, kept durably until uploaded().
  // After it, the record has its place in the order even if no store has it. Durable when it returns. kStale: apply()
  // came in between and what was frozen has been redone on top of news, or failed when more had been cut off: freeze again.
  Result<void> publish(const Frozen& frozen, const OrderedRecord& record, const std::string& key, BytesView sealed);
  struct Outgoing {
    std::string key;
    Bytes sealed;
  };
  // The record that was sealed and not acknowledged by the store yet, if any: to be sent again, the same bytes.
  Result<std::optional<Outgoing>> outgoing();
  Result<void> uploaded(const std::string& key);
  // These packs are in the store, whole, at these places.
  Result<void> packs_uploaded(std::span<const std::pair<ObjectId, PackPlace>> packs);

  // --- the synchronizer: applying
  // Applies records of other devices (sorted by the common order, none applied before), rolling back and reapplying what
  // sorts after them, pending changes last. `places` and `bookkeeping` rows are written in the same atomic step.
  Result<model::Applied> apply(std::span<const OrderedRecord> records,
                               std::span<const std::pair<ObjectId, PackPlace>> places,
                               std::span<const RowPut> bookkeeping);
  // Nothing comes any more that sorts up to this position in the order. History is dropped up to the position that was given
  // when nothing was applied yet that sorts after this one.
  Result<void> set_stable(uint64_t stamp);
  // Records up to this stamp are applied for good: one that sorts among them, or whose author did not know all of them, needs
  // replay() instead of apply().
  uint64_t stable();
  // Makes the state anew from all records with changes, which `next` gives in the common order (nullopt: that was the last;
  // it may wait for the store). What was pending is applied on top; records up to `stable` cannot be undone afterwards. The
  // whole state is in memory meanwhile, and who is listing a directory may see a name twice or not at all. When it fails,
  // nothing has happened.
  using NextRecord = std::function<Result<std::optional<OrderedRecord>>()>;
  Result<model::Applied> replay(const NextRecord& next, uint64_t stable,
                                std::span<const std::pair<ObjectId, PackPlace>> places,
                                std::span<const RowPut> bookkeeping);
  Result<std::optional<PackPlace>> place_of(const ObjectId& pack);
  // Of all packs that are in the store, as far as is known here.
  Result<std::map<ObjectId, PackPlace>> places();
  // Packs that have gone from the store, since no file refers to them: forgets where they were, and what is here of them.
  // The rows are written in the same atomic step.
  Result<void> forget_packs(std::span<const ObjectId> packs, std::span<const RowPut> rows);
  // As PackStore::finish; has the disk space reserve to do it.
  Result<uint64_t> finish_pack(const ObjectId& pack, const std::vector<IndexEntry>& index);
  // Keeps the verified sealed bytes of a fetched frame, and evicts others for it.
  Result<void> keep_frame(const FrameRef& ref, BytesView sealed);

  // --- the synchronizer: sealing anew (fs/sync/rewriter.h)
  // The first regular file with a name after `after`, in the order of numbers; nullopt: there is none.
  Result<std::optional<Ino>> next_file(Ino after);
  // What a file consists of from `offset` on, until there are `most` extents; empty: nothing more. What is written and not
  // sealed yet is not in it.
  Result<std::vector<model::Extent>> next_extents(Ino ino, uint64_t offset, size_t most);
  // Frames that were sealed anew, each with a place where a file shows it.
  struct Anew {
    FrameRef frame;
    Ino ino = 0;
    uint64_t offset = 0;
  };
  using SealedAnew = std::map<FrameRef, Anew>;
  // Seals the frames of these extents with the newest keys, and leads the file to them where it still shows the old ones: a
  // pending change then, though not of contents (model::Move). `known` takes in what was sealed; a frame that it has already is
  // not sealed again, as long as somebody shows the new one. When some are not here, nothing happens: fetch them, call again.
  Result<std::vector<Missing>> seal_anew(Ino ino, std::span<const model::Extent> extents, SealedAnew& known);
  // Frees what this machine has of a frame. False: it may not, or not yet, since it is not known for good that the store has it.
  bool drop_frame(const FrameRef& frame);

  // --- the synchronizer: checkpoints
  // The state as all records that are applied left it. nullptr: something is pending, or above the stable line, or on its
  // way to the store, or not wholly here.
  Result<std::unique_ptr<StateSnapshot>> snapshot();
  // A new replica (no root, nothing pending) takes over a state that was checked; `stamp` is that of the last record in it.
  // Durable when it returns. When it ends in the middle, the next open() begins with an empty replica; in the same process,
  // it may be called again with the same.
  Result<void> load(const LoadedState& state, uint64_t stamp, std::span<const std::pair<ObjectId, PackPlace>> places,
                    std::span<const RowPut> bookkeeping, const std::stop_token& stop);

  // --- the synchronizer: a state that comes part by part (row_parts.h). While it does, operations that need what is not
  // here have no effect and fail with kUnavailable; a PartWishes of the caller's says which parts to wait for.
  struct Part {
    std::string first_key;
    Bytes info;  // the synchronizer's: how to get it
  };
  // As load(), when `state` has the rows of the parts that `here` marks only, the root directory among them.
  struct Parts {
    std::vector<Part> list;
    std::vector<bool> here;
  };
  Result<void> load(const LoadedState& state, const Parts& parts, uint64_t stamp,
                    std::span<const std::pair<ObjectId, PackPlace>> places, std::span<const RowPut> bookkeeping,
                    const std::stop_token& stop);
  const RowParts& parts() const;
  Result<std::vector<Part>> part_list() const;
  // The rows of a part, which were verified; one that is here already is left alone. Durable when it returns. kCorrupt: they
  // cannot belong to this state.
  Result<void> put_part(size_t part, const LoadedState& rows, std::span<const std::pair<ObjectId, PackPlace>> places);
  // All parts are here: what is wrong with the whole; empty: sound. Work goes on meanwhile; kUnavailable: too much of it.
  Result<std::vector<std::string>> check_parts(const std::stop_token& stop);
  // The state is whole and sound. replay() does the same, for one that is not, or never will be.
  Result<void> end_parts();

  // Rows of the synchronizer's own (keys starting with 'S', clear as a whole).
  Result<std::optional<Bytes>> get_row(const RowKey& key);
  Result<std::vector<Row>> rows_with_prefix(std::string_view prefix);
  Result<void> put_rows(std::span<const RowPut> puts, bool durable);

  // Called (from any thread, no lock held) when the first change after a freeze() became pending, and after apply() with
  // what it touched. Set before other threads use the replica.
  void on_pending(std::function<void()> callback);
  void on_touch(std::function<void(const model::Touch&)> callback);

  PackStore& packs();
  const EpochKeys& epoch_keys() const;  // the newest
  // What is added to it seals and opens from then on.
  KeyRing& key_ring() const;
  const VolumeId& volume() const;
  ReplicaCounters counters();
  // For check: what a range of a regular file consists of, in order.
  Result<std::vector<model::Extent>> extents(Ino ino, uint64_t offset, uint64_t length);
  // For check: a consistent view of all rows while nothing else runs.
  Result<std::vector<std::string>> find_faults();

 private:
  struct Impl;
  explicit Replica(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace coffer
