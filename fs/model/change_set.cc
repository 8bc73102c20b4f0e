// layout u8 | packs | inodes | entries | moves
//   packs    count | pack id 16 *                            in the order in which they are first named
//   inodes   count | ( ino | kind and type u8 | ... ) *
//   entries  count | ( flags and type u8 | ... ) *
//   moves    count | ( flags u8 | ... ) *                    of layout 2; with none, a set has layout 1
// Inode numbers are written as differences to the number before, since those of one log follow one another.
#include "fs/model/change_set.h"

#include <algorithm>
#include <unordered_map>

#include "fs/model/extent_list.h"

namespace coffer::model {
namespace {

constexpr uint8_t kLayout = 2, kLayoutWithoutMoves = 1;

// Bits of an inode change's fields.
constexpr uint64_t kMode = 1;
constexpr uint64_t kUid = 2;
constexpr uint64_t kGid = 4;
constexpr uint64_t kRdev = 8;
constexpr uint64_t kAtime = 16;
constexpr uint64_t kMtime = 32;
constexpr uint64_t kCtime = 64;
constexpr uint64_t kBtime = 128;
constexpr uint64_t kTarget = 256;
constexpr uint64_t kContent = 512;
constexpr uint64_t kXattrs = 1024;
constexpr uint64_t kOrigin = 2048;
constexpr uint64_t kFields = 4095;  // all of them

// Bits of a content piece.
constexpr uint8_t kHole = 1;
constexpr uint8_t kWholeFrame = 2;
constexpr uint8_t kSameFrame = 4;  // as the piece with a frame before
constexpr uint8_t kFollows = 8;    // starts where that one ends, in the same pack
constexpr uint8_t kPieceFlags = 15;

// Bits of an entry change, above its type.
constexpr uint8_t kHasBefore = 8;
constexpr uint8_t kHasAfter = 16;
constexpr uint8_t kSameDir = 32;
constexpr uint8_t kTypeMask = 7;

// Bits of a move; kWholeFrame and kFollows as of a piece.
constexpr uint8_t kSameFile = 1;
constexpr uint8_t kSamePack = 4;  // what moves lies in the same pack as that of the move before
constexpr uint8_t kMoveFlags = 15;

// An inode number as its difference to the one before.
class InoWriter {
 public:
  void write(Writer& out, Ino ino) {
    out.svarint(static_cast<int64_t>(ino - last_));
    last_ = ino;
  }

 private:
  Ino last_ = 0;
};

class InoReader {
 public:
  Ino read(Reader& in) {
    last_ += static_cast<uint64_t>(in.svarint());
    return last_;
  }

 private:
  Ino last_ = 0;
};

// The first time as it is, the others as differences to the one before.
class TimeWriter {
 public:
  void write(Writer& out, const std::optional<WallTime>& t) {
    if (!t) return;
    uint64_t ns = static_cast<uint64_t>(t->ns);
    if (last_)
      out.svarint(static_cast<int64_t>(ns - *last_));
    else
      out.u64(ns);
    last_ = ns;
  }

 private:
  std::optional<uint64_t> last_;
};

class TimeReader {
 public:
  std::optional<WallTime> read(Reader& in, bool present) {
    if (!present) return std::nullopt;
    last_ = last_ ? *last_ + static_cast<uint64_t>(in.svarint()) : in.u64();
    return WallTime{static_cast<int64_t>(*last_)};
  }

 private:
  std::optional<uint64_t> last_;
};

using PackNumbers = std::unordered_map<ObjectId, uint64_t>;

void write_content(Writer& out, const ContentChange& c, bool made, const PackNumbers& packs) {
  if (!made) out.u64(c.base);
  out.u64(c.version);
  out.varint(c.size);
  out.varint(c.pieces.size());
  uint64_t at = 0;
  const Extent* last = nullptr;
  for (const ContentPiece& p : c.pieces) {
    uint8_t flags = 0;
    if (!p.extent) {
      flags = kHole;
    } else {
      const Extent& e = *p.extent;
      if (e.skip == 0 && e.length == e.frame_length) flags |= kWholeFrame;
      if (last && last->frame == e.frame && last->frame_length == e.frame_length)
        flags |= kSameFrame;
      else if (last && follows(last->frame, e.frame))
        flags |= kFollows;
    }
    out.u8(flags);
    out.varint(p.offset - at);
    out.varint(p.length);
    at = p.offset + p.length;
    if (!p.extent) continue;
    const Extent& e = *p.extent;
    if (!(flags & kWholeFrame)) {
      out.varint(e.skip);
      if (!(flags & kSameFrame)) out.varint(e.frame_length);
    }
    if (!(flags & kSameFrame)) {
      if (!(flags & kFollows)) {
        out.varint(packs.at(e.frame.pack));
        out.varint(e.frame.offset);
      }
      out.varint(e.frame.length);
      out.id(e.frame.hash);
    }
    last = &e;
  }
}

// `seen`: packs that were named so far, so that their table has an order and no surplus.
bool read_content(Reader& in, ContentChange& c, bool made, const std::vector<ObjectId>& packs, size_t& seen) {
  if (!made) c.base = in.u64();
  c.version = in.u64();
  c.size = in.varint();
  size_t n = in.count(3);
  if (!in.ok() || c.size > kSizeMax) {
    in.fail();
    return false;
  }
  uint64_t at = 0;
  std::optional<Extent> last;
  for (; n > 0; --n) {
    ContentPiece& p = c.pieces.emplace_back();
    uint8_t flags = in.u8();
    uint64_t gap = in.varint();
    p.length = in.varint();
    if (!in.ok() || (flags & ~kPieceFlags) != 0 || ((flags & kHole) && flags != kHole) || gap > c.size - at ||
        p.length > c.size - at - gap || p.length == 0 || ((flags & (kSameFrame | kFollows)) != 0 && !last)) {
      in.fail();
      return false;
    }
    p.offset = at + gap;
    at = p.offset + p.length;
    if (flags & kHole) continue;
    if (p.length > kFrameMax) {
      in.fail();
      return false;
    }
    Extent& e = p.extent.emplace();
    e.offset = p.offset;
    e.length = static_cast<uint32_t>(p.length);
    uint64_t skip = 0, frame_length = flags & kSameFrame ? last->frame_length : p.length;
    if (!(flags & kWholeFrame)) {
      skip = in.varint();
      if (!(flags & kSameFrame)) frame_length = in.varint();
    }
    if (skip > kFrameMax || frame_length > kFrameMax || ((flags & kWholeFrame) && frame_length != p.length)) {
      in.fail();
      return false;
    }
    e.skip = static_cast<uint32_t>(skip);
    e.frame_length = static_cast<uint32_t>(frame_length);
    if (flags & kSameFrame) {
      e.frame = last->frame;
    } else {
      uint64_t offset;
      if (flags & kFollows) {
        e.frame.pack = last->frame.pack;
        offset = uint64_t{last->frame.offset} + last->frame.length;
      } else {
        uint64_t number = in.varint();
        offset = in.varint();
        if (!in.ok() || number > seen || number >= packs.size()) {
          in.fail();
          return false;
        }
        if (number == seen) ++seen;
        e.frame.pack = packs[number];
      }
      uint64_t sealed = in.varint();
      if (offset > UINT32_MAX || sealed > UINT32_MAX) in.fail();
      e.frame.offset = static_cast<uint32_t>(offset);
      e.frame.length = static_cast<uint32_t>(sealed);
      e.frame.hash = in.id<Hash>();
    }
    if (!in.ok()) return false;
    last = e;
  }
  return true;
}

uint64_t fields_of(const InodeChange& c) {
  return (c.mode ? kMode : 0) | (c.uid ? kUid : 0) | (c.gid ? kGid : 0) | (c.rdev ? kRdev : 0) |
         (c.atime ? kAtime : 0) | (c.mtime ? kMtime : 0) | (c.ctime ? kCtime : 0) | (c.btime ? kBtime : 0) |
         (c.target ? kTarget : 0) | (c.content ? kContent : 0) | (c.xattrs.empty() ? 0 : kXattrs) |
         (c.origin ? kOrigin : 0);
}

void write_inode_change(Writer& out, const InodeChange& c, const PackNumbers& packs) {
  out.u8(static_cast<uint8_t>(static_cast<uint8_t>(c.kind) << 4 | static_cast<uint8_t>(c.type)));
  if (c.kind == InodeChange::Kind::kRemoved) {
    out.u64(c.removed_version);
    return;
  }
  out.varint(fields_of(c));
  if (c.mode) out.varint(*c.mode);
  if (c.uid) out.varint(*c.uid);
  if (c.gid) out.varint(*c.gid);
  if (c.rdev) out.varint(*c.rdev);
  TimeWriter times;
  times.write(out, c.mtime);
  times.write(out, c.ctime);
  times.write(out, c.atime);
  times.write(out, c.btime);
  if (c.target) out.string(*c.target);
  if (c.origin) out.u64(c.origin);
  if (c.content) write_content(out, *c.content, c.kind == InodeChange::Kind::kMade, packs);
  if (c.xattrs.empty()) return;
  out.varint(c.xattrs.size());
  for (const XattrChange& x : c.xattrs) {
    out.string(x.name);
    out.u8(x.value ? 1 : 0);
    if (x.value) out.bytes(*x.value);
  }
}

// Ranges of a file follow each other, and mostly so do the frames that are left and those that are led to.
void write_moves(Writer& out, const std::vector<Move>& moves, InoWriter& inos, const PackNumbers& packs) {
  out.varint(moves.size());
  const Move* last = nullptr;
  for (const Move& m : moves) {
    const Extent& e = m.to;
    const bool same_file = last && last->ino == m.ino;
    uint8_t flags = same_file ? kSameFile : 0;
    if (e.skip == 0 && e.length == e.frame_length) flags |= kWholeFrame;
    if (last && last->pack == m.pack) flags |= kSamePack;
    if (last && follows(last->to.frame, e.frame)) flags |= kFollows;
    out.u8(flags);
    if (!same_file) inos.write(out, m.ino);
    out.varint(e.offset - (same_file ? last->to.end() : 0));
    out.varint(e.length);
    if (!(flags & kWholeFrame)) {
      out.varint(e.skip);
      out.varint(e.frame_length);
    }
    if (!(flags & kSamePack)) out.varint(packs.at(m.pack));
    out.varint(m.offset);
    if (!(flags & kFollows)) {
      out.varint(packs.at(e.frame.pack));
      out.varint(e.frame.offset);
    }
    out.varint(e.frame.length);
    out.id(e.frame.hash);
    last = &m;
  }
}

std::optional<uint32_t> read_u32(Reader& in, bool present) {
  if (!present) return std::nullopt;
  uint64_t v = in.varint();
  if (v > UINT32_MAX) in.fail();
  return static_cast<uint32_t>(v);
}

void read_inode_change(Reader& in, InodeChange& c, const std::vector<ObjectId>& packs, size_t& seen) {
  uint8_t kind = in.u8();
  c.kind = static_cast<InodeChange::Kind>(kind >> 4);
  c.type = static_cast<FileType>(kind & 15);
  if (c.kind == InodeChange::Kind::kRemoved) {
    c.removed_version = in.u64();
    return;
  }
  uint64_t fields = in.varint();
  if (!in.ok() || (fields & ~kFields) != 0) {
    in.fail();
    return;
  }
  c.mode = read_u32(in, fields & kMode);
  c.uid = read_u32(in, fields & kUid);
  c.gid = read_u32(in, fields & kGid);
  if (fields & kRdev) c.rdev = in.varint();
  TimeReader times;
  c.mtime = times.read(in, fields & kMtime);
  c.ctime = times.read(in, fields & kCtime);
  c.atime = times.read(in, fields & kAtime);
  c.btime = times.read(in, fields & kBtime);
  if (fields & kTarget) c.target = in.string();
  if ((fields & kOrigin) && (c.origin = in.u64()) == 0) in.fail();
  if (fields & kContent && !read_content(in, c.content.emplace(), c.kind == InodeChange::Kind::kMade, packs, seen))
    return;
  if (!(fields & kXattrs)) return;
  size_t n = in.count(3);
  if (in.ok() && n == 0) in.fail();
  c.xattrs.resize(n);
  for (XattrChange& x : c.xattrs) {
    x.name = in.string();
    uint8_t present = in.u8();
    if (!in.ok() || present > 1) {
      in.fail();
      return;
    }
    if (present) x.value = to_bytes(in.bytes());
  }
}

// `in` fails when there is no such pack, or it is named before its turn.
ObjectId read_pack(Reader& in, const std::vector<ObjectId>& packs, size_t& seen) {
  const uint64_t number = in.varint();
  if (!in.ok() || number > seen || number >= packs.size()) {
    in.fail();
    return {};
  }
  if (number == seen) ++seen;
  return packs[number];
}

void read_move(Reader& in, Move& m, const Move* last, InoReader& inos, const std::vector<ObjectId>& packs,
               size_t& seen) {
  const uint8_t flags = in.u8();
  if (!in.ok() || (flags & ~kMoveFlags) != 0 || ((flags & ~kWholeFrame) != 0 && !last)) return in.fail();
  Extent& e = m.to;
  m.ino = flags & kSameFile ? last->ino : inos.read(in);
  const uint64_t gap = in.varint(), before = flags & kSameFile ? last->to.end() : 0;
  if (!in.ok() || before > kSizeMax || gap > kSizeMax - before) return in.fail();
  e.offset = before + gap;
  auto small = [&in](uint64_t most) {
    const uint64_t v = in.varint();
    if (v > most) in.fail();
    return static_cast<uint32_t>(std::min(v, most));
  };
  e.length = e.frame_length = small(kFrameMax);
  if (!(flags & kWholeFrame)) {
    e.skip = small(kFrameMax);
    e.frame_length = small(kFrameMax);
  }
  m.pack = flags & kSamePack ? last->pack : read_pack(in, packs, seen);
  m.offset = small(UINT32_MAX);
  if (flags & kFollows) {
    e.frame.pack = last->to.frame.pack;
    const uint64_t offset = uint64_t{last->to.frame.offset} + last->to.frame.length;
    if (offset > UINT32_MAX) return in.fail();
    e.frame.offset = static_cast<uint32_t>(offset);
  } else {
    e.frame.pack = read_pack(in, packs, seen);
    e.frame.offset = small(UINT32_MAX);
  }
  e.frame.length = small(UINT32_MAX);
  e.frame.hash = in.id<Hash>();
}

// --- form

bool valid_type(FileType t) { return t >= FileType::kRegular && t <= FileType::kBlockDevice; }
bool is_device(FileType t) { return t == FileType::kCharDevice || t == FileType::kBlockDevice; }

bool valid_content(const ContentChange& c, bool made) {
  if (c.size > kSizeMax || (made && c.base != 0)) return false;
  uint64_t at = 0;
  for (const ContentPiece& p : c.pieces) {
    if (p.length == 0 || p.offset < at || p.offset > c.size || p.length > c.size - p.offset) return false;
    if (p.extent && (p.extent->offset != p.offset || p.extent->length != p.length || !valid_extent(*p.extent)))
      return false;
    at = p.offset + p.length;
  }
  return true;
}

bool valid_xattrs(const std::vector<XattrChange>& xattrs, bool made) {
  for (size_t i = 0; i < xattrs.size(); ++i) {
    const XattrChange& x = xattrs[i];
    if (!valid_xattr_name(x.name) || (i > 0 && xattrs[i - 1].name >= x.name)) return false;
    if (x.value ? x.value->size() > kXattrValueMax : made) return false;
  }
  return true;
}

bool valid_inode_change(const InodeChange& c) {
  if (c.ino == 0 || !valid_type(c.type)) return false;
  if (c.mode && *c.mode > 07777) return false;
  const uint64_t fields = fields_of(c);
  switch (c.kind) {
    case InodeChange::Kind::kRemoved:
      return fields == 0 && c.ino != kRootIno;
    case InodeChange::Kind::kChanged:
      if (fields == 0 || (fields & (kRdev | kBtime | kTarget)) != 0) return false;
      if (c.content && c.type != FileType::kRegular) return false;
      break;
    case InodeChange::Kind::kMade: {
      uint64_t wanted = kMode | kUid | kGid | kAtime | kMtime | kCtime | kBtime;
      if (c.type == FileType::kRegular) wanted |= kContent;
      if (c.type == FileType::kSymlink) wanted |= kTarget;
      if (is_device(c.type)) wanted |= kRdev;
      if ((fields & ~(kXattrs | kOrigin)) != wanted) return false;
      if (c.ino == kRootIno && c.type != FileType::kDirectory) return false;
      if (c.target && (c.target->empty() || c.target->size() > kTargetMax || c.target->find('\0') != std::string::npos))
        return false;
      break;
    }
    default:
      return false;
  }
  if (c.origin != 0 && (!c.content || c.origin == c.ino)) return false;
  const bool made = c.kind == InodeChange::Kind::kMade;
  return c.removed_version == 0 && (!c.content || valid_content(*c.content, made)) && valid_xattrs(c.xattrs, made);
}

bool valid_entry_change(const EntryChange& e) {
  return e.dir != 0 && valid_name(e.name) && valid_type(e.type) && e.before != e.after && e.before != kRootIno &&
         e.after != kRootIno && e.before != e.dir && e.after != e.dir;
}

bool valid_move(const Move& m) {
  return m.ino != 0 && valid_extent(m.to) && (m.pack != m.to.frame.pack || m.offset != m.to.frame.offset);
}

}  // namespace

Result<void> visit_extents(const ChangeSet& changes, const std::function<Result<void>(const Extent&)>& visit) {
  for (const InodeChange& c : changes.inodes) {
    if (!c.content) continue;
    for (const ContentPiece& p : c.content->pieces)
      if (p.extent) TRYV(visit(*p.extent));
  }
  for (const Move& m : changes.moves) TRYV(visit(m.to));
  return {};
}

bool is_well_formed(const ChangeSet& changes) {
  Ino last = 0;
  for (const InodeChange& c : changes.inodes) {
    if (c.ino <= last || !valid_inode_change(c)) return false;
    last = c.ino;
  }
  const Move* before = nullptr;
  for (const Move& m : changes.moves) {
    if (!valid_move(m)) return false;
    if (before && (m.ino < before->ino || (m.ino == before->ino && m.to.offset < before->to.end()))) return false;
    before = &m;
  }
  return std::all_of(changes.entries.begin(), changes.entries.end(), valid_entry_change);
}

void encode(const ChangeSet& changes, Writer& out) {
  PackNumbers numbers;
  std::vector<ObjectId> packs;
  auto name = [&](const ObjectId& pack) {
    if (numbers.emplace(pack, packs.size()).second) packs.push_back(pack);
  };
  for (const InodeChange& c : changes.inodes)
    if (c.content)
      for (const ContentPiece& p : c.content->pieces)
        if (p.extent) name(p.extent->frame.pack);
  for (const Move& m : changes.moves) {
    name(m.pack);
    name(m.to.frame.pack);
  }

  // Whoever does not know moves can read what has none.
  out.u8(changes.moves.empty() ? kLayoutWithoutMoves : kLayout);
  out.varint(packs.size());
  for (const ObjectId& pack : packs) out.id(pack);
  InoWriter inos;
  out.varint(changes.inodes.size());
  for (const InodeChange& c : changes.inodes) {
    inos.write(out, c.ino);
    write_inode_change(out, c, numbers);
  }
  out.varint(changes.entries.size());
  Ino dir = 0;
  for (const EntryChange& e : changes.entries) {
    uint8_t flags = static_cast<uint8_t>(e.type);
    if (e.before != 0) flags |= kHasBefore;
    if (e.after != 0) flags |= kHasAfter;
    if (e.dir == dir) flags |= kSameDir;
    out.u8(flags);
    if (e.dir != dir) inos.write(out, e.dir);
    dir = e.dir;
    out.string(e.name);
    if (e.before != 0) inos.write(out, e.before);
    if (e.after != 0) inos.write(out, e.after);
  }
  if (!changes.moves.empty()) write_moves(out, changes.moves, inos, numbers);
}

Result<ChangeSet> decode_change_set(Reader& in) {
  auto corrupt = [] { return fail(Code::kCorrupt, "malformed changes"); };
  uint8_t layout = in.u8();
  if (!in.ok() || layout == 0) return corrupt();
  if (layout > kLayout) return fail(Code::kTooNew, "changes have a layout that this build does not know");
  std::vector<ObjectId> packs(in.count(ObjectId::kSize));
  for (ObjectId& pack : packs) pack = in.id<ObjectId>();
  size_t seen = 0;
  ChangeSet changes;
  InoReader inos;
  for (size_t n = in.count(4); n > 0; --n) {  // grown step by step: a count alone does not take memory
    InodeChange& c = changes.inodes.emplace_back();
    c.ino = inos.read(in);
    read_inode_change(in, c, packs, seen);
    if (!in.ok()) return corrupt();
  }
  Ino dir = 0;
  for (size_t n = in.count(4); n > 0; --n) {
    EntryChange& e = changes.entries.emplace_back();
    uint8_t flags = in.u8();
    e.type = static_cast<FileType>(flags & kTypeMask);
    if ((flags & ~(kTypeMask | kHasBefore | kHasAfter | kSameDir)) != 0 || ((flags & kSameDir) && dir == 0)) in.fail();
    if (!(flags & kSameDir)) dir = inos.read(in);
    e.dir = dir;
    e.name = in.string();
    if (flags & kHasBefore) e.before = inos.read(in);
    if (flags & kHasAfter) e.after = inos.read(in);
    if (!in.ok() || ((flags & kHasBefore) && e.before == 0) || ((flags & kHasAfter) && e.after == 0)) return corrupt();
  }
  if (layout >= kLayout) {
    const size_t n = in.count(37);
    if (in.ok() && n == 0) return corrupt();  // it would have the earlier layout
    for (size_t i = 0; i < n; ++i) {
      Move m;
      read_move(in, m, changes.moves.empty() ? nullptr : &changes.moves.back(), inos, packs, seen);
      if (!in.ok()) return corrupt();
      changes.moves.push_back(m);
    }
  }
  if (!in.ok() || seen != packs.size() || !is_well_formed(changes)) return corrupt();
  return changes;
}

}  // namespace coffer::model
