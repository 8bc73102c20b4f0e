// What undoing brings back of a state: every tracked row, save that directories never hand out a cookie twice.
#pragma once

#include <map>
#include <string>

#include "fs/model/keys.h"
#include "tests/model/map_rows.h"

namespace coffer::model {

inline std::map<std::string, Bytes> tracked(const MapRows& rows) {
  std::map<std::string, Bytes> out;
  for (auto& [key, value] : rows.rows) {
    Bytes v = value;
    if (kind_of(key) == RowKind::kHistory) continue;
    if (kind_of(key) == RowKind::kInode) {
      Inode i = decode_inode(value).value();
      if (i.is_directory()) i.next_cookie = kFirstCookie;
      v = encode(i);
    }
    out.emplace(key, std::move(v));
  }
  return out;
}

}  // namespace coffer::model
