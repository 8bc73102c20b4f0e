#include "tests/model/in_words.h"

#include <sstream>

#include "fs/model/extent_map.h"
#include "fs/model/remains.h"
#include "fs/model/tree.h"
#include "tests/model/machine.h"

namespace coffer::model {
namespace {

std::string text_of(const Extents& extents) {
  std::ostringstream out;
  for (const Extent& e : extents)
    out << " " << e.offset << "+" << e.length << ":" << e.frame.hash.str().substr(0, 8) << "+" << e.skip;
  return out.str();
}

}  // namespace

std::set<std::string> in_words(const MapRows& rows) {
  std::set<std::string> out;
  for (auto& [key, value] : rows.rows) {
    const RowKind kind = *kind_of(key);
    std::ostringstream line;
    line << std::hex << key[0] << " ";
    if (kind == RowKind::kInode || kind == RowKind::kTombstone) {
      const Ino ino = must(parse_first(kind, key));
      Inode i;
      line << ino;
      if (kind == RowKind::kInode) {
        i = must(decode_inode(value));
        if (i.nlink == 0) continue;
        if (i.is_regular()) line << text_of(must(extents(rows, ino, 0, kSizeMax)));
        for (const Xattr& x : must(list_xattrs(rows, ino))) line << " " << x.name << "=" << x.value.size();
      } else {
        Tombstone t = must(decode_tombstone(value));
        i = t.inode;
        if (auto seen = must(open_removed(rows, ino))) line << text_of(must(seen->read(0, kSizeMax)));
        for (const Xattr& x : t.xattrs) line << " " << x.name << "=" << x.value.size();
        line << " was " << i.parent << "/" << t.name;
      }
      line << " version " << i.version << " size " << i.size << " mode " << i.mode << " links " << i.nlink << " m "
           << i.mtime.ns << " c " << i.ctime.ns << " from " << i.origin;
    } else if (kind == RowKind::kEntry) {
      Entry e = must(decode_entry(value));
      line << must(parse_entry_key(key)).dir << "/" << e.name << " " << e.ino;
    } else if (kind == RowKind::kDisplaced) {
      FileVersion v = must(parse_displaced_key(key));
      Displaced d = must(decode_displaced(value));
      line << v.ino << " " << v.version << " at " << d.moved_to;
      if (d.moved_to == 0) {
        auto row = must(rows.get(inode_key(v.ino)));
        auto tombstone = must(get_tombstone(rows, v.ino));
        if (!row && !tombstone) continue;
        Inode i = row ? must(decode_inode(*row)) : tombstone->inode;
        if (i.nlink == 0 && !tombstone) continue;
        if (tombstone && v.version == tombstone->inode.version) continue;  // it is as the tombstone says
        auto seen = must(open_version(rows, v.ino, i, row ? i.version : tombstone->map_version, v.version));
        line << (seen ? text_of(must(seen->read(0, kSizeMax))) : " lost");
      }
    } else if (kind == RowKind::kAlias || kind == RowKind::kDiverted) {
      for (char byte : key) line << +static_cast<uint8_t>(byte) << " ";
      for (uint8_t byte : value) line << +byte << " ";
    } else {
      continue;
    }
    out.insert(line.str());
  }
  return out;
}

}  // namespace coffer::model
