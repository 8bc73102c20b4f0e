// Gives a new device the state of the newest checkpoint that it finds, so that only what came after it is replayed.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <vector>

#include "fs/replica/loaded_state.h"
#include "fs/sync/checkpoint.h"
#include "fs/sync/context.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/pace.h"

namespace coffer {

// What hints say of checkpoints, newest first; none of it is to be believed.
Result<std::vector<CheckpointName>> list_checkpoints(ObjectStore& store, const std::stop_token& stop);

// Whether an error says something about the checkpoint or one of its segments, as opposed to this machine or the network.
bool blames_checkpoint(Code code);

// A checkpoint as a replica takes it over.
struct LoadedCheckpoint {
  LoadedState state;
  Replica::Parts parts;  // empty: all of it is in `state`
  uint64_t stamp = 0;
  std::vector<std::pair<ObjectId, PackPlace>> places;
  std::vector<RowPut> bookkeeping;
};

// Rows of some segments of a checkpoint.
struct PartRowsTaken {
  LoadedState state;
  std::vector<std::pair<ObjectId, PackPlace>> places;
  std::vector<Row> tails, marks;
  std::optional<Bytes> revocations;
  std::set<ObjectId> placed;
};
// Adds those of a segment; `end`: the first key of the next one, or empty. kCorrupt: they are none that a checkpoint has there.
Result<void> take_part(BytesView plain, const SegmentInfo& info, std::string_view end, PartRowsTaken& out);
// What a replica takes over of them, with what is said of the logs checked. kCorrupt.
Result<void> take_over(const Checkpoint& checkpoint, PartRowsTaken taken, LoadedCheckpoint& out);
// Puts the plain contents of a checkpoint's segments, in its order, together, and checks the whole. kCorrupt: it is not sound.
Result<std::unique_ptr<LoadedCheckpoint>> assemble_checkpoint(const Checkpoint& checkpoint, std::vector<Bytes> plain);

// A small one is loaded as a whole: it is in memory while it is checked, and nothing of it reaches the replica before all of
// it is found to be sound. One that is not is told as a problem, and an older one is taken, or none: the logs say the same.
// Of a large one (SyncOptions::parts_from) only what is needed at once is loaded: what tells of logs and revocations, and the
// root directory; the rest is PartLoader's. Belongs to one thread.
class CheckpointLoader {
 public:
  explicit CheckpointLoader(SyncContext& context) : c_(context) {}

  // For a replica without anything. Ok also when there is no checkpoint that serves. Any other error says that it may be
  // called again.
  Result<void> load(const std::stop_token& stop);
  // Asks again, ever more seldom, for what was missing of a checkpoint: it may only have been late.
  void look_again(const std::stop_token& stop);

 private:
  using Ready = LoadedCheckpoint;
  struct Absent {
    ObjectId checkpoint, segment;
    Nanos since{0}, retry_at{0};
    Backoff backoff{std::chrono::seconds(1), std::chrono::minutes(5)};
  };
  void tell(const Absent& absent);
  Result<std::unique_ptr<Ready>> find(const std::stop_token& stop);
  Result<std::unique_ptr<Ready>> fetch(const Checkpoint& checkpoint, const std::stop_token& stop);
  // The plain contents of some of its segments; empty for the others.
  Result<std::vector<Bytes>> get_segments(const Checkpoint& checkpoint, const std::vector<bool>& which,
                                          const std::stop_token& stop);

  SyncContext& c_;
  std::unique_ptr<Ready> ready_;             // checked, and not wholly in the replica
  std::optional<ObjectId> missing_segment_;  // of the checkpoint that is being fetched
  std::vector<Absent> absent_;
};

// Packs and their places, as rows of a checkpoint: key "P" pack 16, value key string | offset varint | size varint.
std::string place_row_key(const ObjectId& pack);
Bytes encode_place(const PackPlace& place);
Result<std::pair<ObjectId, PackPlace>> decode_place(std::string_view key, BytesView value);

}  // namespace coffer
