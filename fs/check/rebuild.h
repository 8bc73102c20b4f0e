// Brings files back from what packs and records still hold, each by itself: for when checkpoints are gone and logs are not
// whole, so that no state can be had any more.
//
// A record says what it changed, and when in the common order (its stamp). A pack says of each frame which file it is of,
// where in it, of which version, and the file's name and directory when it was written; not in which order versions came. So
// what records tell lies on top, in their order; of what only packs tell, versions that do not overlap make one file, and
// each one that would lie over another is recovered as a file of its own.
//
// All that opens was made by somebody who had the volume's keys. Whether he still was a member cannot be known without the
// logs: unverified() counts.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fs/check/check_context.h"
#include "fs/sync/record.h"

namespace coffer {

struct RecoveredFile {
  std::vector<std::string> path;  // directories and a name: each may be used as one
  bool removed = false;           // by what records say, it had no name any more
  uint64_t size = 0;
  uint64_t known = 0;  // bytes of it that were found; the others are zeros
  bool sure = true;    // its size and the order of its versions come from records
};

// Not thread-safe.
class Rebuild {
 public:
  Rebuild(ObjectStore& store, const VolumeSecrets& secrets, CheckOptions options)
      : c_(store, secrets, std::move(options)) {}

  // Reads every record and every pack's index, and finds out which files there were.
  Result<void> scan();
  const std::vector<RecoveredFile>& files() const { return files_; }
  const std::vector<std::vector<std::string>>& directories() const { return directories_; }  // that records name
  uint64_t records() const { return records_; }
  uint64_t unverified() const { return unverified_; }  // of them, or packs, whose author is not known
  uint64_t packs() const { return packs_.size(); }
  uint64_t unreadable() const { return unreadable_; }  // objects that should be one of these, and open as none

  // Hands over the contents, in no particular order; `bytes` of file number `file` from `offset` on. Frames that are damaged
  // are left out, and counted.
  using Sink = std::function<Result<void>(size_t file, uint64_t offset, BytesView bytes)>;
  Result<uint64_t> read(const Sink& sink);

 private:
  struct Piece {  // of a file: where its bytes are
    uint64_t end = 0;
    FrameRef frame;
    uint32_t skip = 0, frame_length = 0;
    bool hole = false;
  };
  using Layer = std::map<uint64_t, Piece>;  // by offset; disjoint
  struct Place {
    std::string key;
    uint64_t at = 0;  // in the object, of the pack's first byte; modulo 2^64
  };
  struct Name {
    Ino dir = 0;
    std::string name;
    uint64_t stamp = 0;
  };
  struct Node {
    std::optional<Name> name;
    bool has_name = true;  // records say
    bool named_by_record = false, directory = false;
    std::optional<std::pair<uint64_t, uint64_t>> size;              // stamp, bytes
    std::map<uint64_t, std::vector<model::ContentChange>> changes;  // by stamp
    std::map<model::Version, Layer> versions;                       // that only packs tell of
  };

  Result<void> scan_revocations();
  Result<void> scan_records();
  Result<void> scan_pack(const std::string& key, const ObjectId& id, uint64_t size);
  void take(const OpenedRecord& opened, const std::string& key);
  void plan();
  void add_file(Ino ino, const Node& node, const Layer& layer, std::vector<std::string> path, bool sure);
  std::vector<std::string> path_to(Ino dir, int depth) const;
  // Where the frame is, or one with the same bytes, which it is then; null: nowhere.
  const Place* find_place(FrameRef& frame) const;
  static void lay(Layer& layer, uint64_t from, Piece piece);
  static bool overlap(const Layer& a, const Layer& b);

  struct Wanted {
    size_t file = 0;
    uint64_t offset = 0, length = 0;
    FrameRef frame;
    uint32_t skip = 0, frame_length = 0;
  };

  CheckContext c_;
  std::map<Ino, Node> nodes_;
  std::set<ObjectId> void_packs_;  // of records of revoked devices that do not count
  std::set<model::Version> told_;  // versions that records tell of
  std::map<ObjectId, Place> packs_;
  std::map<ObjectId, Place> in_records_;
  std::map<std::pair<ObjectId, uint32_t>, FrameRef> moved_;  // frames that were sealed anew: by their former place
  std::vector<RecoveredFile> files_;
  std::vector<std::vector<std::string>> directories_;
  std::map<std::string, std::vector<Wanted>> wanted_;  // by object
  uint64_t records_ = 0, unverified_ = 0, unreadable_ = 0;
};

}  // namespace coffer
