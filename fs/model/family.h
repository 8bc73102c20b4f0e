// Files that are only good together: a database X and what SQLite keeps beside it, X-wal, X-journal and X-shm. A
// write-ahead log of one machine beside another machine's database is a damaged database, so of a family all that one
// author saw goes to conflict names when any of it was changed elsewhere.
#pragma once

#include <compare>
#include <optional>
#include <span>
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
// What names of the family add to the stem; and of those that count as members. (X-shm does not: it is made anew from X-wal.)
inline constexpr std::string_view kEndings[] = {"", "-wal", "-journal", "-shm"};
inline constexpr std::span kMembers = std::span(kEndings).first<3>();

}  // namespace coffer::model
