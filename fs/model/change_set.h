// What one record does, in terms that another replica can follow: for each inode and name what it was changed from and
// to. A batch of local changes, already coalesced: what was made and removed in between does not appear.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fs/model/types.h"

namespace coffer::model {

struct XattrChange {
  std::string name;
  std::optional<Bytes> value;  // nullopt: removed
  bool operator==(const XattrChange&) const = default;
};

// Contents changed from `base` to `version`. `pieces` (sorted, disjoint) replace what was there; a piece without a
// frame is a hole. What lies beyond `size` is gone.
struct ContentPiece {
  uint64_t offset = 0;
  uint64_t length = 0;
  std::optional<Extent> extent;  // offset and length equal the piece's
  bool operator==(const ContentPiece&) const = default;
};
struct ContentChange {
  Version base = 0;  // 0 for a file that the record makes
  Version version = 0;
  uint64_t size = 0;
  std::vector<ContentPiece> pieces;
  bool operator==(const ContentChange&) const = default;
};

struct InodeChange {
  enum class Kind : uint8_t { kMade = 1, kChanged = 2, kRemoved = 3 };
  Ino ino = 0;
  Kind kind = Kind::kChanged;
  FileType type = FileType::kRegular;
  // kMade: all that apply are set. kChanged: those that changed (never rdev, btime or target). kRemoved: none.
  std::optional<uint32_t> mode, uid, gid;
  std::optional<uint64_t> rdev;
  std::optional<WallTime> atime, mtime, ctime, btime;
  std::optional<std::string> target;
  std::optional<ContentChange> content;
  std::vector<XattrChange> xattrs;
  Version removed_version = 0;  // kRemoved: the version that its remover saw
  // Of a conflict copy that is made or whose contents change: Inode::origin. A record that sorts before others can undo
  // the conflict that made the copy; a change to it finds its version by way of the origin then.
  Ino origin = 0;

  // Its contents did not change, but belong to others that did (family.h): `content` names the version that the author saw.
  bool only_seen() const { return kind == Kind::kChanged && content && content->base == content->version; }
  bool operator==(const InodeChange&) const = default;
};

// The name `name` in `dir` led to `before` (0: nothing) and now leads to `after` (0: nothing).
struct EntryChange {
  Ino dir = 0;
  std::string name;
  Ino before = 0, after = 0;
  FileType type = FileType::kRegular;  // of `after`, or of `before` when removed
  bool operator==(const EntryChange&) const = default;
};

// The same bytes were sealed anew: where a range of a file shows the frame at `offset` of `pack`, it shows that of `to` then,
// which has the same plaintext. No change of contents: version and times stay, and nothing that others do is in conflict with
// it. It holds for every version of the file that is known, so whatever comes late finds the new place, too.
struct Move {
  Ino ino = 0;
  ObjectId pack;
  uint32_t offset = 0;
  Extent to;  // with the range: where it was seen
  bool operator==(const Move&) const = default;
};

struct ChangeSet {
  std::vector<InodeChange> inodes;   // sorted by ino
  std::vector<EntryChange> entries;  // in the order in which new entries were made, removals after
  std::vector<Move> moves;           // sorted by ino and range

  bool empty() const { return inodes.empty() && entries.empty() && moves.empty(); }
  bool operator==(const ChangeSet&) const = default;
};

// Calls `visit` with each extent that the set brings; it stops at the first error.
Result<void> visit_extents(const ChangeSet& changes, const std::function<Result<void>(const Extent&)>& visit);

// Whether a set keeps its form: what decode_change_set accepts, and apply relies on. It may still be contradictory.
bool is_well_formed(const ChangeSet& changes);

// Part of a record's plaintext (coffer-format(5)). Frames name their pack by an index into a table of packs in front.
void encode(const ChangeSet& changes, Writer& out);
// Everything is checked (names, lengths, order, sums); kCorrupt otherwise.
Result<ChangeSet> decode_change_set(Reader& in);

}  // namespace coffer::model
