// What changes leave behind for others who have not seen them yet, so that a change made elsewhere to something that is
// gone, replaced, merged or set aside still finds it:
//
//   tombstones            of inodes that were removed
//   displaced versions    of contents, as chains: each knows which version took its place and what that replaced,
//                         down to the present one; so the base of any change can be rebuilt
//   aliases               of directories (and equal files) that became one
//   diverted names        of entries that went to a conflict name
//
// All of it belongs to the state: it follows from the records alone, it is tracked and undone like the tree. It may be
// forgotten (forget) once every open log has quoted a head that includes the change that left it, since then no record
// can name what it serves for; so what anybody sees never depends on how much was forgotten. (A checkpoint is made when
// none is needed any more.)
//
// apply() leaves these itself. Local operations do not, since they are many and mostly go on changing the same things:
// settle() (diff.h) adds them when local generations become a record.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/rows.h"
#include "fs/model/extent_map.h"
#include "fs/model/keys.h"
#include "fs/model/types.h"

namespace coffer::model {

// --- tombstones
Result<std::optional<Tombstone>> get_tombstone(const ReadRows& rows, Ino ino);
// Turns an inode without links into its tombstone; its extents stay where they are. One that is there already (settle)
// keeps what it says about attributes.
Result<void> bury(Rows& rows, Ino ino, const Inode& inode, Ino dir = 0, std::string_view name = {});
// Forgets a removed inode for good, with all its extents and displaced versions. Nothing happens when it has none.
Result<void> drop_tombstone(Rows& rows, Ino ino);

// What is unlinked and still open here, and may have changed since, taken out of the rows: pending changes are undone and
// made again when news arrives, but no change tells of such an inode, since it is nobody else's business.
struct Orphan {
  Ino ino = 0;
  Inode inode;
  Extents extents;
  std::vector<Xattr> xattrs;
};
// nullopt: there is no such inode, or it has links.
Result<std::optional<Orphan>> lift_orphan(const ReadRows& rows, Ino ino);
// Puts it back as it was, beside its tombstone if it has one. False, and nothing happens: it has links again.
Result<bool> put_orphan(Rows& rows, const Orphan& orphan);

// --- displaced versions
// Keeps what an edit of a file's contents replaces. Used as: make it, edit with it as observer, finish.
class VersionKeeper : public ChunkObserver {
 public:
  // `old`: the version before the edit, of `old_size` bytes. `rows` outlives the keeper.
  VersionKeeper(Rows& rows, Ino ino, Version old, uint64_t old_size) : rows_(rows), ino_(ino), old_(old) {
    displaced_.size = old_size;
  }
  Result<void> before_change(uint64_t chunk, const Extents& extents) override;
  // `newer` took its place. What was known about `old` before is replaced.
  Result<void> finish(Version newer);

 private:
  bool kept(uint64_t chunk) const;
  void spill();

  Rows& rows_;
  const Ino ino_;
  const Version old_;
  Displaced displaced_;
  size_t extents_ = 0;  // in displaced_.here
};

Result<std::optional<Displaced>> get_displaced(const ReadRows& rows, Ino ino, Version version);
// Notes where a version lives on, unless something is known about it already.
Result<void> put_moved_if_new(Rows& rows, Ino ino, Version version, Ino moved_to);
Result<void> drop_displaced(Rows& rows, Ino ino, Version version);

// The extents of one version of a file: the present one, or one that can be rebuilt from it.
class VersionExtents : public ExtentSource {
 public:
  Result<Extents> chunk(uint64_t chunk) const override;
  Result<std::optional<uint64_t>> next_chunk(uint64_t from) const override;
  uint64_t size() const { return size_; }
  // Nothing was changed between this version and the present one.
  bool is_present() const;

 private:
  friend Result<std::optional<VersionExtents>> open_version(const ReadRows&, Ino, const Inode&, Version, Version);
  struct Step {
    Version version;
    Displaced displaced;
  };
  VersionExtents(const ReadRows& rows, Ino ino, std::unique_ptr<Inode> present)
      : rows_(&rows),
        ino_(ino),
        present_(std::move(present)),
        file_(std::make_unique<FileExtents>(rows, ino, *present_)) {}

  const ReadRows* rows_;
  Ino ino_;
  std::unique_ptr<Inode> present_;
  std::unique_ptr<FileExtents> file_;
  std::vector<Step> steps_;  // from the version towards the present
  uint64_t size_ = 0;
};
// nullopt: the version is not known, or lives on as another file. `present` says where the extents of the version
// `present_version` are.
Result<std::optional<VersionExtents>> open_version(const ReadRows& rows, Ino ino, const Inode& present,
                                                   Version present_version, Version version);

// Whether the contents of a version are those that the file has now.
Result<bool> is_present(const ReadRows& rows, Ino ino, const Inode& inode, Version version);

// The contents of a removed file as everybody knew them; nullopt as above.
Result<std::optional<VersionExtents>> open_removed(const ReadRows& rows, Ino ino);

// --- aliases
// The inode that stands for `ino` now: itself, mostly.
Result<Ino> resolve_alias(const ReadRows& rows, Ino ino);
void put_alias(Rows& rows, Ino ino, Ino survivor);

// --- diverted names
// The name in `dir` under which the entry really is that some change wanted to be `name`, leading to `ino`.
Result<std::optional<std::string>> get_diverted(const ReadRows& rows, Ino dir, Ino ino, std::string_view name);
void put_diverted(Rows& rows, Ino dir, Ino ino, std::string_view name, std::string_view really);
// The name leads to the inode now, so whoever names the two together from here on means just that. (Without this, what
// others do would depend on whether the diversion is forgotten already.)
Result<void> end_diversion(Rows& rows, Ino dir, Ino ino, std::string_view name);

// Forgets what the generations up to `upto` left, as far as later ones did not touch it. Call it before drop_history,
// when every open log has quoted what these generations applied. `rows` must not track.
Result<void> forget(Rows& rows, Generation upto);

// Replaces the extended attributes of an inode, which the caller puts.
void put_xattrs(Rows& rows, Ino ino, Inode& inode, const std::vector<Xattr>& list);

}  // namespace coffer::model
