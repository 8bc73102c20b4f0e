// Applies a ChangeSet to a state that may have moved on since its author saw it. Deterministic: the same state and the
// same record give the same new state on every replica (cookies apart, which are local), conflict copies included.
//
// Rules (coffer-semantics(7) has the whole table):
//   - attributes and extended attributes merge field by field; the later record in order wins.
//   - contents: when the file's version is the change's base, it becomes the new version; when it is the new version
//     already, nothing happens; otherwise the later content becomes a conflict copy beside the file, unless both are
//     equal (same frames).
//   - a name: when it leads where the author saw it leading, it follows the change; when it leads to `after` already,
//     nothing happens; otherwise the new thing goes to a conflict name beside it, and a removal does not happen.
//   - a removal of a file whose version is not the one its remover saw does not happen (all its names stay); a
//     directory that is not empty is not removed; a change to a removed inode brings it back from its tombstone, where it was.
//   - a directory has one place: an addition of a directory that has one elsewhere moves it; a move below itself does
//     not happen and the directory stays.
//   - a database and its log (family.h) are one: when any of them was changed elsewhere, all that the author saw of them
//     goes to conflict names, and none is removed.
//   - no rule leaves an orphan, a dangling name, a wrong link count, or a second parent of a directory.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/rows.h"
#include "fs/model/change_set.h"
#include "fs/model/tree.h"

namespace coffer::model {

// From the signed fields of the record.
struct Author {
  Hash record;         // identifies the record: derived inode numbers and versions come from it
  std::string device;  // host name, for conflict names
  WallTime when;
};

// What applying touched, so that the kernel can be told. May name more than changed, never less.
struct Touch {
  std::vector<Name> names;      // entries that appeared, vanished or lead elsewhere now
  std::vector<Ino> contents;    // regular files whose contents, size or times changed
  std::vector<Ino> attributes;  // inodes whose attributes or extended attributes changed
};

struct Conflict {
  Ino original = 0;  // 0: none any more
  Ino copy = 0;
  Name copy_name;
  std::string device;  // the author's
  bool seen = false;   // which he did not change: something else of its family (family.h) went aside with it
};

struct Applied {
  Touch touch;
  std::vector<Conflict> conflicts;
};

Result<Applied> apply(Rows& rows, const ChangeSet& changes, const Author& author);

// "report.pdf" -> "report (conflict, HOST, 2026-11-24).pdf": at most 255 bytes, extension kept, cut at a UTF-8
// boundary; `attempt` > 1 adds its number.
std::string conflict_name(std::string_view name, std::string_view device, WallTime when, unsigned attempt);
// What conflict_name() puts together, taken apart; nullopt: it is no such name.
struct ConflictName {
  std::string original;      // of a name that was too long, the part that was kept
  std::string device, date;  // as they stand there
  unsigned attempt = 1;
  bool operator==(const ConflictName&) const = default;
};
std::optional<ConflictName> parse_conflict_name(std::string_view name);
// The first such name after `attempt`, which is raised, that is free in the directory.
Result<std::string> free_conflict_name(const ReadRows& rows, Ino dir, std::string_view name, std::string_view device,
                                       WallTime when, unsigned& attempt);

}  // namespace coffer::model
