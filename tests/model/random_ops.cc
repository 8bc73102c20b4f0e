#include "tests/model/random_ops.h"

namespace coffer::model {

std::vector<RandomOps::Found> RandomOps::walk(const Machine& m) const {
  std::vector<Found> out{{kRootIno, FileType::kDirectory, 0, ""}};
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i].type != FileType::kDirectory) continue;
    const Ino dir = out[i].ino;
    for (ListedEntry& e : must(list(m.rows(), dir, 0, SIZE_MAX)))
      out.push_back({e.entry.ino, e.entry.type, dir, std::move(e.entry.name)});
  }
  return out;
}

std::string RandomOps::name() {
  static const char* const kNames[] = {"a", "b", "c.txt", "d", "e.tar.gz", "a-wal", "a-journal", "b-wal"};
  return kNames[below(std::size(kNames))];
}

uint64_t RandomOps::offset() {
  static const uint64_t kOffsets[] = {0, 0, 0, 0, 5, 100, 4096, 65536, kChunk - 10, kChunk, 3 * kChunk + 7, 5ull << 30};
  return kOffsets[below(std::size(kOffsets))];
}

void RandomOps::step(Machine& m) {
  std::vector<Found> all = walk(m);
  std::vector<Ino> dirs, files;
  for (const Found& f : all) {
    if (f.type == FileType::kDirectory) dirs.push_back(f.ino);
    if (f.type == FileType::kRegular) files.push_back(f.ino);
  }
  for (Ino ino : m.open_orphans)
    if (auto i = get_inode(m.rows(), ino); i && i->is_regular() && chance(20)) files.push_back(ino);
  auto any_dir = [&] { return dirs[below(dirs.size())]; };
  auto any_file = [&] { return files[below(files.size())]; };
  auto any = [&]() -> const Found& { return all[below(all.size())]; };
  const bool full = all.size() > 25;
  auto lost = [&](const Unlinked& u) {
    if (!u.last) return;
    m.open_orphans.insert(u.ino);
    if (chance(70)) m.close(u.ino);
  };

  if (!files.empty() && chance(4)) m.seal_anew(any_file());
  switch (below(full ? 14 : 18)) {
    case 0:
    case 1: {  // remove
      const Found& f = any();
      if (f.dir == 0) break;
      auto r = m.run([&](Rows& rows) {
        return f.type == FileType::kDirectory ? rmdir(rows, f.dir, f.name, m.now())
                                              : unlink(rows, f.dir, f.name, m.now());
      });
      if (r) lost(*r);
      break;
    }
    case 2:
    case 3:
    case 4: {  // rename
      const Found& f = any();
      if (f.dir == 0) break;
      const RenameMode mode = chance(70)   ? RenameMode::kReplace
                              : chance(50) ? RenameMode::kExchange
                                           : RenameMode::kNoReplace;
      auto r = m.run([&](Rows& rows) { return model::rename(rows, f.dir, f.name, any_dir(), name(), mode, m.now()); });
      if (r && *r) lost(**r);
      break;
    }
    case 5: {
      SetAttributes what;
      if (chance(60)) what.mode = static_cast<uint32_t>(below(01000));
      if (chance(30)) what.uid = static_cast<uint32_t>(below(3));
      if (chance(30)) what.mtime = m.now();
      (void)m.run([&](Rows& rows) { return set_attributes(rows, any().ino, what, m.now()); });
      break;
    }
    case 6: {
      std::string key = "user." + name();
      if (chance(70)) {
        Bytes value(below(40), 'x');
        (void)m.run([&](Rows& rows) { return set_xattr(rows, any().ino, key, value, XattrMode::kAny, m.now()); });
      } else {
        (void)m.run([&](Rows& rows) { return remove_xattr(rows, any().ino, key, m.now()); });
      }
      break;
    }
    case 7:
    case 8:
    case 9:
    case 10: {  // write
      if (files.empty()) break;
      std::vector<Extent> pieces;
      uint64_t at = offset();
      for (uint64_t n = 1 + below(3); n > 0; --n) {
        pieces.push_back(m.extent(std::string(1 + below(200), static_cast<char>('a' + below(26))), at));
        at = pieces.back().end() + (chance(50) ? 0 : below(5000));
      }
      (void)m.run(
          [&](Rows& rows) { return put_extents(rows, any_file(), pieces, 0, m.fresh_version(), m.now(), chance(20)); });
      break;
    }
    case 11:
      if (!files.empty())
        (void)m.run([&](Rows& rows) {
          return truncate(rows, any_file(), chance(30) ? 0 : offset() + below(50), m.fresh_version(), m.now());
        });
      break;
    case 12:
      if (!files.empty())
        (void)m.run([&](Rows& rows) {
          return punch_hole(rows, any_file(), offset(), 1 + below(2 * kChunk), m.fresh_version(), m.now());
        });
      if (!files.empty())
        (void)m.run([&](Rows& rows) {
          return copy_range(rows, any_file(), offset(), any_file(), offset(), 1 + below(kChunk), m.fresh_version(),
                            m.now(), chance(20));
        });
      break;
    case 13: {
      if (m.open_orphans.empty()) break;
      m.close(*m.open_orphans.begin());
      break;
    }
    case 14: {
      if (files.empty()) break;
      (void)m.run([&](Rows& rows) { return model::link(rows, any_file(), any_dir(), name(), m.now()); });
      break;
    }
    default: {  // make
      NewInode what;
      static const FileType kTypes[] = {FileType::kRegular,   FileType::kRegular,   FileType::kRegular,
                                        FileType::kDirectory, FileType::kDirectory, FileType::kSymlink,
                                        FileType::kFifo,      FileType::kCharDevice};
      what.type = kTypes[below(std::size(kTypes))];
      what.mode = 0755;
      what.rdev = 0x105;
      what.target = chance(50) ? "x" : "y";
      m.make_any(any_dir(), name(), what);
    }
  }
}

}  // namespace coffer::model
