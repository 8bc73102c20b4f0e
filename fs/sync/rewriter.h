// Seals everything that files consist of anew, under the newest epoch (`coffer key rotate --rewrite`).
//
// It begins when all of the state is here: a part that is not (row_parts.h) may name anything.
//
// A pass looks what lies in packs of older epochs, and leads each file to the same bytes in new packs, which is a change of no
// contents (model::Move): nothing is in conflict with it, and what others have changed, copied or written under old keys
// meanwhile is found by the next pass. What is not here is fetched, and goes again when it is in the store under the new keys,
// so no more of the disk is taken than what is under way. When a pass finds nothing, a checkpoint is written that shares no
// segment with earlier ones, and if there is nothing under older epochs then either, it is done.
//
// That it was asked for is kept (row "Sw"): after a restart it goes on, and finds by looking what is left. Two devices may do
// it at once; of what both have sealed, the earlier record counts, and the other's is dead.
//
// Records stay as they are, under the keys of their time.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <thread>
#include <vector>

#include "fs/sync/checkpoint_writer.h"
#include "fs/sync/context.h"
#include "fs/sync/fetch_pool.h"
#include "fs/sync/pace.h"
#include "fs/sync/part_loader.h"
#include "fs/sync/rewriting.h"
#include "fs/sync/rounds.h"

namespace coffer {

// The public part is thread-safe; everything else belongs to the one thread between start() and stop().
class Rewriter {
 public:
  // `sync` publishes what is pending and takes in the news that there is, as Synchronizer::sync.
  Rewriter(SyncContext& context, PartLoader& parts, FetchPool& fetches, CheckpointWriter& checkpoints,
           std::function<Result<void>(const std::stop_token&)> sync);
  ~Rewriter();

  // Reads what the last run left.
  Result<void> load();
  void start();
  void stop();

  // Asks for everything to be sealed under this epoch or a later one, or to go on with what was asked for before when that is
  // not done. Durable when it returns.
  Result<void> want(Epoch epoch);
  // nullopt: it was never asked for.
  std::optional<Rewriting> state() const;

 private:
  using Phase = Rewriting::Phase;
  // What a look found.
  struct Found {
    uint64_t bytes = 0;
    std::set<uint64_t> shared;  // frames that more than one place shows, by short_name()
  };

  void run(std::stop_token stop);
  // True: all is done. Else it is to be tried again.
  Result<bool> pass(const std::stop_token& stop);
  Result<Found> look(const std::stop_token& stop);
  Result<void> seal(const Found& found, const std::stop_token& stop);
  Result<void> seal_extents(Ino ino, std::vector<model::Extent> extents, const Found& found,
                            const std::stop_token& stop);
  // Calls `visit` with what files consist of, some extents at a time.
  Result<void> visit_files(const std::stop_token& stop,
                           const std::function<Result<void>(Ino, std::vector<model::Extent>)>& visit);
  Result<bool> is_old(const model::Extent& extent, const std::stop_token& stop);
  Result<void> fetch(std::vector<Missing> missing, const std::stop_token& stop);
  // Counts it as unreadable in this pass.
  void give_up(const FrameRef& frame, const Error& why);
  // Brings what was sealed to the store, and frees what was fetched for it.
  Result<void> publish(const std::stop_token& stop);
  void drop_fetched();
  Result<void> finish();
  // Writes the row, until it says what is; for whoever has changed that.
  Result<void> keep();
  void enter(Phase phase);
  void wait(Nanos time);

  SyncContext& c_;
  PartLoader& parts_;
  FetchPool& fetches_;
  CheckpointWriter& checkpoints_;
  const std::function<Result<void>(const std::stop_token&)> sync_;
  Rounds rounds_;  // only woken
  Backoff backoff_;

  mutable Mutex mutex_{Rank::kLeaf};
  std::optional<Rewriting> state_ GUARDED_BY(mutex_);

  Epoch epoch_ = 0;                // the newest when the pass began
  std::map<ObjectId, bool> old_;   // packs that were looked into, by whether they are of an earlier one
  Replica::SealedAnew known_;      // what is shown in several places, as far as it is sealed
  std::set<FrameRef> unreadable_;  // in this pass
  std::optional<Error> trouble_;   // of the first of these
  std::set<FrameRef> fetched_;     // here only for this
  int rounds_done_ = 0;            // since all is done: that it was tried to drop these
  uint64_t since_publish_ = 0;     // bytes that were sealed
  size_t places_ = 0;              // that were led to them since
  uint64_t sealed_in_pass_ = 0;

  std::jthread thread_;
};

}  // namespace coffer
