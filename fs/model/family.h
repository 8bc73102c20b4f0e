// Files that are only good together: a database X and what SQLite keeps beside it, X-wal, X-journal and X-shm. A
// write-ahead log of one machine beside another machine's database is a damaged database, so of a family all that one
// author saw goes to conflict names when any of it was changed elsewhere.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rows.h"
#include "fs/model/types.h"

namespace coffer::model {

struct Family {
  Ino dir = 0;
  std::string stem;  // the name of the database
  auto operator<=>(const Family&) const = default;
};

// "-wal" of "x-wal"; empty for what is no such name.
std::string_view companion_suffix(std::string_view name);
Family family_of(Ino dir, std::string_view name);
// Of a regular file with one name; nullopt for all else.
Result<std::optional<Family>> family_of(const ReadRows& rows, const Inode& inode);
// What the names of its members add to the stem. (X-shm does not count: it is made anew from X-wal.)
inline constexpr std::string_view kMembers[] = {"", "-wal", "-journal"};

}  // namespace coffer::model
