#include "fs/model/apply_moves.h"

#include <algorithm>
#include <span>

#include "fs/model/extent_map.h"
#include "fs/model/remains.h"
#include "fs/model/tree.h"

namespace coffer::model {
namespace {

using Moves = std::span<const Move>;  // of one file

bool shows(const Extent& e, const Move& m) {
  return e.frame.pack == m.pack && e.frame.offset == m.offset && e.frame_length == m.to.frame_length;
}

// The parts of `list` that lie in the range of a move and show what it moves, as they are then.
Extents moved_parts(const Extents& list, Moves moves) {
  Extents out;
  for (const Extent& e : list) {
    auto m = std::partition_point(moves.begin(), moves.end(), [&](const Move& x) { return x.to.end() <= e.offset; });
    for (; m != moves.end() && m->to.offset < e.end(); ++m) {
      if (!shows(e, *m)) continue;
      Extent part = part_of(e, m->to.offset, m->to.end());
      part.frame = m->to.frame;
      out.push_back(part);
    }
  }
  return out;
}

// True: something of it moved.
bool move_in(Extents& list, Moves moves) {
  const Extents parts = moved_parts(list, moves);
  if (parts.empty()) return false;
  list = patched(list, patches(parts), 0, kSizeMax);
  return true;
}

Result<void> move_present(Rows& rows, Ino ino, Inode& inode, Moves moves) {
  FileExtents there(rows, ino, inode);
  Extents parts;
  for (size_t i = 0; i < moves.size();) {
    const uint64_t chunk = moves[i].to.offset / kChunk;
    size_t end = i;
    while (end < moves.size() && moves[end].to.offset / kChunk == chunk) ++end;
    const uint64_t until = moves[end - 1].to.end();
    TRY(Extents list, there.read(moves[i].to.offset, until));
    Extents some = moved_parts(list, moves.subspan(i, end - i));
    parts.insert(parts.end(), some.begin(), some.end());
    i = end;
  }
  if (parts.empty()) return {};
  ExtentEdit edit(rows, ino, inode);
  TRYV(edit.assign(patches(parts)));
  TRYV(edit.finish());
  put_inode(rows, ino, inode);
  return {};
}

// What was replaced, and is kept by itself; the rest is shared with the present version.
Result<void> move_in_version(Rows& rows, Ino ino, Version version, Displaced displaced, Moves moves) {
  bool changed = false;
  for (Displaced::Chunk& c : displaced.here) changed |= move_in(c.extents, moves);
  if (changed) rows.put(displaced_key(ino, version), encode(displaced));
  for (const Run& run : displaced.elsewhere) {
    for (uint64_t chunk = run.first; chunk < run.end(); ++chunk) {
      const RowKey key = displaced_chunk_key(ino, version, chunk);
      TRY(std::optional<Bytes> row, rows.get(key));
      if (!row) return fail(Code::kCorrupt, "a chunk of a displaced version is missing");
      TRY(Extents list, decode_extents(*row));
      if (move_in(list, moves)) rows.put(key, encode(list));
    }
  }
  return {};
}

Result<void> move_in_versions(Rows& rows, Ino ino, Moves moves) {
  const std::string prefix = displaced_prefix(ino);
  for (std::string at = prefix;;) {
    TRY(std::optional<Row> next, rows.next(prefix, at));
    if (!next) return {};
    TRY(FileVersion v, parse_displaced_key(next->key));
    TRY(Displaced displaced, decode_displaced(next->value));
    TRYV(move_in_version(rows, ino, v.version, std::move(displaced), moves));
    at = std::move(next->key);
  }
}

Result<void> move_in_file(Rows& rows, Ino ino, Moves moves) {
  TRY(ino, resolve_alias(rows, ino));
  TRY(std::optional<Bytes> row, rows.get(inode_key(ino)));
  if (!row) return {};
  TRY(Inode inode, decode_inode(*row));
  if (!inode.is_regular() || inode.nlink == 0) return {};
  TRYV(move_present(rows, ino, inode, moves));
  return move_in_versions(rows, ino, moves);
}

template <typename MoveIn>
Result<void> each_file(Rows& rows, Moves moves, MoveIn&& move_in) {
  for (auto first = moves.begin(); first != moves.end();) {
    auto last = std::find_if(first, moves.end(), [&](const auto& m) { return m.ino != first->ino; });
    TRYV(move_in(rows, first->ino, Moves(first, last)));
    first = last;
  }
  return {};
}

}  // namespace

Result<void> move_frames(Rows& rows, const std::vector<Move>& moves) { return each_file(rows, moves, move_in_file); }

Result<void> move_displaced(Rows& rows, const std::vector<Move>& moves) {
  return each_file(rows, moves, move_in_versions);
}

}  // namespace coffer::model
