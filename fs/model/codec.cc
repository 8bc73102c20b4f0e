// How row values are encoded. Each starts with a layout version byte; integers are LEB128 varints unless said
// otherwise.
#include <algorithm>

#include "fs/model/extent_list.h"
#include "fs/model/types.h"

namespace coffer::model {
namespace {

constexpr uint8_t kLayout = 1;

std::unexpected<Error> corrupt(const char* what) { return fail(Code::kCorrupt, std::string("malformed row: ") + what); }

Result<void> check_layout(Reader& in) {
  uint8_t layout = in.u8();
  if (!in.ok() || layout == 0) return corrupt("no layout version");
  if (layout > kLayout) return fail(Code::kTooNew, "a row has a layout that this build does not know");
  return {};
}

bool valid_type(uint8_t type) {
  return type >= static_cast<uint8_t>(FileType::kRegular) && type <= static_cast<uint8_t>(FileType::kBlockDevice);
}

// Differences of times wrap around, so that any two of them have one.
void write_time_from(Writer& out, WallTime t, WallTime origin) {
  out.svarint(static_cast<int64_t>(static_cast<uint64_t>(t.ns) - static_cast<uint64_t>(origin.ns)));
}
WallTime read_time_from(Reader& in, WallTime origin) {
  return {static_cast<int64_t>(static_cast<uint64_t>(origin.ns) + static_cast<uint64_t>(in.svarint()))};
}

// --- extents
// extent = gap | length | flags u8 | [skip | frame length] | [pack 16] | [frame offset] | [sealed length | hash 32]
// where gap is from the end of the extent before. Neighbours mostly lie in one pack, one after the other, and
// overwriting the middle of a frame leaves two extents of it: flags say what is as before and left out.
constexpr uint8_t kWholeFrame = 1;  // skip is 0, and length the frame's
constexpr uint8_t kSamePack = 2;
constexpr uint8_t kFollows = 4;  // the sealed frame starts where the one before ends (in the same pack)
constexpr uint8_t kSameFrame = 8;
constexpr uint8_t kExtentFlags = 15;
constexpr size_t kExtentMin = 3;

void write_extent(Writer& out, const Extent& e, const Extent* before) {
  uint8_t flags = 0;
  if (e.skip == 0 && e.length == e.frame_length) flags |= kWholeFrame;
  if (before && before->frame == e.frame && before->frame_length == e.frame_length) {
    flags |= kSameFrame;
  } else if (before && before->frame.pack == e.frame.pack) {
    flags |= kSamePack;
    if (follows(before->frame, e.frame)) flags |= kFollows;
  }
  out.varint(e.offset - (before ? before->end() : 0));
  out.varint(e.length);
  out.u8(flags);
  if (!(flags & kWholeFrame)) {
    out.varint(e.skip);
    if (!(flags & kSameFrame)) out.varint(e.frame_length);
  }
  if (flags & kSameFrame) return;
  if (!(flags & kSamePack)) out.id(e.frame.pack);
  if (!(flags & kFollows)) out.varint(e.frame.offset);
  out.varint(e.frame.length);
  out.id(e.frame.hash);
}

// False (and `in` not ok) for what no writer makes.
bool read_extent(Reader& in, const Extent* before, Extent& e) {
  uint64_t start = before ? before->end() : 0;
  uint64_t gap = in.varint();
  uint64_t length = in.varint();
  uint8_t flags = in.u8();
  if (!in.ok() || gap > kSizeMax - start || length == 0 || length > kFrameMax || (flags & ~kExtentFlags) != 0 ||
      (!before && (flags & (kSamePack | kFollows | kSameFrame)) != 0)) {
    in.fail();
    return false;
  }
  e.offset = start + gap;
  e.length = static_cast<uint32_t>(length);
  uint64_t skip = 0, frame_length = length;
  if (flags & kSameFrame) frame_length = before->frame_length;
  if (!(flags & kWholeFrame)) {
    skip = in.varint();
    if (!(flags & kSameFrame)) frame_length = in.varint();
  }
  if (skip > kFrameMax || frame_length > kFrameMax || ((flags & kWholeFrame) && frame_length != length)) {
    in.fail();
    return false;
  }
  e.skip = static_cast<uint32_t>(skip);
  e.frame_length = static_cast<uint32_t>(frame_length);
  if (flags & kSameFrame) {
    e.frame = before->frame;
  } else {
    e.frame.pack = flags & kSamePack ? before->frame.pack : in.id<ObjectId>();
    uint64_t offset = flags & kFollows ? uint64_t{before->frame.offset} + before->frame.length : in.varint();
    uint64_t sealed = in.varint();
    if (offset > UINT32_MAX || sealed > UINT32_MAX) in.fail();
    e.frame.offset = static_cast<uint32_t>(offset);
    e.frame.length = static_cast<uint32_t>(sealed);
    e.frame.hash = in.id<Hash>();
  }
  if (in.ok() && !valid_extent(e)) in.fail();
  return in.ok();
}

void write_extents(Writer& out, const std::vector<Extent>& list) {
  out.varint(list.size());
  const Extent* before = nullptr;
  for (const Extent& e : list) {
    write_extent(out, e, before);
    before = &e;
  }
}

// All within one chunk.
bool read_extents(Reader& in, std::vector<Extent>& list) {
  size_t n = in.count(kExtentMin);
  list.resize(n);
  for (size_t i = 0; i < n; ++i)
    if (!read_extent(in, i > 0 ? &list[i - 1] : nullptr, list[i])) return false;
  if (n > 0 && list.front().offset / kChunk != (list.back().end() - 1) / kChunk) in.fail();
  return in.ok();
}

// --- runs: count | ( gap | length )*
void write_runs(Writer& out, const std::vector<Run>& runs) {
  out.varint(runs.size());
  uint64_t at = 0;
  for (const Run& r : runs) {
    out.varint(r.first - at);
    out.varint(r.count);
    at = r.end();
  }
}

bool read_runs(Reader& in, std::vector<Run>& runs) {
  constexpr uint64_t kEnd = kSizeMax / kChunk + 1;
  size_t n = in.count(2);
  runs.resize(n);
  uint64_t at = 0;
  for (size_t i = 0; i < n; ++i) {
    uint64_t gap = in.varint();
    uint64_t count = in.varint();
    if (!in.ok() || (i > 0 && gap == 0) || gap > kEnd - at || count == 0 || count > kEnd - at - gap) {
      in.fail();
      return false;
    }
    runs[i] = {at + gap, count};
    at = runs[i].end();
  }
  return in.ok();
}

// --- inodes
constexpr uint8_t kHasXattrs = 1;
constexpr uint8_t kHasOnly = 2;
constexpr uint8_t kHasChunks = 4;
constexpr uint8_t kHasBlocks = 8;
constexpr uint8_t kHasDevice = 16;
constexpr uint8_t kHasOrigin = 32;
constexpr uint8_t kInodeFlags = 63;

void write_inode(Writer& out, const Inode& i) {
  uint8_t flags = 0;
  if (i.has_xattrs) flags |= kHasXattrs;
  if (i.only) flags |= kHasOnly;
  if (!i.chunks.empty()) flags |= kHasChunks;
  if (i.blocks) flags |= kHasBlocks;
  if (i.rdev != 0) flags |= kHasDevice;
  if (i.origin != 0) flags |= kHasOrigin;
  out.u8(static_cast<uint8_t>(i.type));
  out.u8(flags);
  out.varint(i.mode);
  out.varint(i.uid);
  out.varint(i.gid);
  out.varint(i.nlink);
  out.u64(static_cast<uint64_t>(i.mtime.ns));
  write_time_from(out, i.ctime, i.mtime);
  write_time_from(out, i.atime, i.mtime);
  write_time_from(out, i.btime, i.mtime);
  out.u64(i.parent);
  out.varint(i.cookie);
  if (flags & kHasDevice) out.varint(i.rdev);
  switch (i.type) {
    case FileType::kRegular:
      out.varint(i.size);
      out.u64(i.version);
      if (flags & kHasOrigin) out.u64(i.origin);
      if (i.only) write_extent(out, *i.only, nullptr);
      if (!i.chunks.empty()) write_runs(out, i.chunks);
      break;
    case FileType::kDirectory:
      out.varint(i.next_cookie);
      break;
    case FileType::kSymlink:
      out.string(i.target);
      break;
    default:
      break;
  }
}

bool valid_target(std::string_view target) {
  return !target.empty() && target.size() <= kTargetMax && target.find('\0') == std::string_view::npos;
}

bool read_inode(Reader& in, Inode& i) {
  uint8_t type = in.u8();
  uint8_t flags = in.u8();
  uint64_t mode = in.varint(), uid = in.varint(), gid = in.varint(), nlink = in.varint();
  i.mtime = {static_cast<int64_t>(in.u64())};
  i.ctime = read_time_from(in, i.mtime);
  i.atime = read_time_from(in, i.mtime);
  i.btime = read_time_from(in, i.mtime);
  i.parent = in.u64();
  i.cookie = in.varint();
  if (flags & kHasDevice) i.rdev = in.varint();
  if (!in.ok() || !valid_type(type) || (flags & ~kInodeFlags) != 0 || mode > 07777 || uid > UINT32_MAX ||
      gid > UINT32_MAX || nlink > UINT32_MAX || i.cookie > kSizeMax || ((flags & kHasDevice) && i.rdev == 0)) {
    in.fail();
    return false;
  }
  i.type = static_cast<FileType>(type);
  i.mode = static_cast<uint32_t>(mode);
  i.uid = static_cast<uint32_t>(uid);
  i.gid = static_cast<uint32_t>(gid);
  i.nlink = static_cast<uint32_t>(nlink);
  i.has_xattrs = (flags & kHasXattrs) != 0;
  i.blocks = (flags & kHasBlocks) != 0;
  if (!i.is_regular() && (flags & (kHasOnly | kHasChunks | kHasBlocks | kHasOrigin)) != 0) in.fail();
  if ((flags & kHasDevice) && i.type != FileType::kCharDevice && i.type != FileType::kBlockDevice) in.fail();
  switch (i.type) {
    case FileType::kRegular:
      i.size = in.varint();
      i.version = in.u64();
      if ((flags & kHasOrigin) && (i.origin = in.u64()) == 0) in.fail();
      if (i.size > kSizeMax || ((flags & kHasOnly) && (flags & kHasChunks)) ||
          ((flags & kHasBlocks) && !(flags & kHasChunks)))
        in.fail();
      if (in.ok() && (flags & kHasOnly)) {
        Extent& e = i.only.emplace();
        if (read_extent(in, nullptr, e) && e.offset != 0) in.fail();
      }
      if (in.ok() && (flags & kHasChunks) && read_runs(in, i.chunks) && i.chunks.empty()) in.fail();
      break;
    case FileType::kDirectory:
      i.next_cookie = in.varint();
      if (i.next_cookie < kFirstCookie || i.next_cookie > kSizeMax) in.fail();
      break;
    case FileType::kSymlink:
      i.target = in.string();
      i.size = i.target.size();
      if (!valid_target(i.target)) in.fail();
      break;
    default:
      break;
  }
  return in.ok();
}

// --- extended attributes: count | ( name | value )*
void write_xattrs(Writer& out, const std::vector<Xattr>& list) {
  out.varint(list.size());
  for (const Xattr& x : list) {
    out.string(x.name);
    out.bytes(x.value);
  }
}

bool read_xattrs(Reader& in, std::vector<Xattr>& list) {
  size_t n = in.count(2);
  list.resize(n);
  for (size_t i = 0; i < n; ++i) {
    list[i].name = in.string();
    list[i].value = to_bytes(in.bytes());
    if (!in.ok() || !valid_xattr_name(list[i].name) || list[i].value.size() > kXattrValueMax ||
        (i > 0 && list[i - 1].name >= list[i].name)) {
      in.fail();
      return false;
    }
  }
  return in.ok();
}

Bytes with_layout(size_t reserve) {
  Bytes b;
  b.reserve(reserve);
  b.push_back(kLayout);
  return b;
}

}  // namespace

bool valid_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameMax && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

bool valid_xattr_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameMax && name.find('\0') == std::string_view::npos;
}

Bytes encode(const Inode& inode) {
  Bytes b = with_layout(160 + inode.target.size() + 8 * inode.chunks.size());
  Writer out(b);
  write_inode(out, inode);
  return b;
}

Result<Inode> decode_inode(BytesView bytes) {
  Reader in(bytes);
  TRYV(check_layout(in));
  Result<Inode> inode(std::in_place);
  if (!read_inode(in, *inode) || !in.at_end()) return corrupt("inode");
  if (inode->only && inode->only->end() > inode->size) return corrupt("inode");  // a tombstone's may, see there
  return inode;
}

Bytes encode(const Entry& entry) {
  Bytes b = with_layout(12 + entry.name.size());
  Writer out(b);
  out.u8(static_cast<uint8_t>(entry.type));
  out.u64(entry.ino);
  out.string(entry.name);
  return b;
}

Result<Entry> decode_entry(BytesView bytes) {
  Reader in(bytes);
  TRYV(check_layout(in));
  Result<Entry> entry(std::in_place);
  uint8_t type = in.u8();
  entry->ino = in.u64();
  entry->name = in.string();
  if (!in.at_end() || !valid_type(type) || entry->ino == 0 || !valid_name(entry->name)) return corrupt("entry");
  entry->type = static_cast<FileType>(type);
  return entry;
}

Bytes encode(const std::vector<Extent>& list) {
  Bytes b = with_layout(8 + 72 * list.size());
  Writer out(b);
  write_extents(out, list);
  return b;
}

Result<std::vector<Extent>> decode_extents(BytesView bytes) {
  Reader in(bytes);
  TRYV(check_layout(in));
  std::vector<Extent> list;
  if (!read_extents(in, list) || !in.at_end()) return corrupt("extents");
  return list;
}

Bytes encode(const std::vector<Xattr>& list) {
  Bytes b = with_layout(64);
  Writer out(b);
  write_xattrs(out, list);
  return b;
}

Result<std::vector<Xattr>> decode_xattrs(BytesView bytes) {
  Reader in(bytes);
  TRYV(check_layout(in));
  std::vector<Xattr> list;
  if (!read_xattrs(in, list) || !in.at_end()) return corrupt("extended attributes");
  return list;
}

// inode | name | map version u64 | extended attributes
Bytes encode(const Tombstone& t) {
  Bytes b = with_layout(200 + t.name.size());
  Writer out(b);
  write_inode(out, t.inode);
  out.string(t.name);
  out.u64(t.map_version);
  write_xattrs(out, t.xattrs);
  return b;
}

Result<Tombstone> decode_tombstone(BytesView bytes) {
  Reader in(bytes);
  TRYV(check_layout(in));
  Result<Tombstone> t(std::in_place);
  bool ok = read_inode(in, t->inode);
  if (ok) {
    t->name = in.string();
    t->map_version = in.u64();
    ok = read_xattrs(in, t->xattrs) && in.at_end() && valid_name(t->name) && t->inode.nlink == 0;
  }
  if (!ok) return corrupt("tombstone");
  return t;
}

// moved_to u64, and when that is 0: newer u64 | size | count | ( chunk | extents )* | runs
Bytes encode(const Displaced& d) {
  Bytes b = with_layout(32 + 96 * d.here.size());
  Writer out(b);
  out.u64(d.moved_to);
  if (d.moved_to != 0) return b;
  out.u64(d.newer);
  out.varint(d.size);
  out.varint(d.here.size());
  for (const Displaced::Chunk& c : d.here) {
    out.varint(c.chunk);
    write_extents(out, c.extents);
  }
  write_runs(out, d.elsewhere);
  return b;
}

Result<Displaced> decode_displaced(BytesView bytes) {
  Reader in(bytes);
  TRYV(check_layout(in));
  Result<Displaced> d(std::in_place);
  d->moved_to = in.u64();
  if (in.ok() && d->moved_to == 0) {
    d->newer = in.u64();
    d->size = in.varint();
    if (d->size > kSizeMax) in.fail();
    size_t n = in.count(2);
    d->here.resize(n);
    for (size_t i = 0; i < n && in.ok(); ++i) {
      Displaced::Chunk& c = d->here[i];
      c.chunk = in.varint();
      if (!read_extents(in, c.extents) || c.chunk > kSizeMax / kChunk || (i > 0 && d->here[i - 1].chunk >= c.chunk) ||
          (!c.extents.empty() && c.extents.front().offset / kChunk != c.chunk))
        in.fail();
    }
    if (in.ok()) read_runs(in, d->elsewhere);
  }
  if (!in.at_end()) return corrupt("displaced version");
  return d;
}

Bytes encode(const Bitmap& bitmap) {
  Bytes b = with_layout(1 + kBlock / 8);
  Writer out(b);
  for (uint64_t word : bitmap.words) out.u64(word);
  return b;
}

Result<Bitmap> decode_bitmap(BytesView bytes) {
  Reader in(bytes);
  TRYV(check_layout(in));
  Bitmap bitmap;
  for (uint64_t& word : bitmap.words) word = in.u64();
  if (!in.at_end()) return corrupt("bitmap");
  return bitmap;
}

Bytes encode_number(uint64_t number) {
  Bytes b = with_layout(11);
  Writer(b).varint(number);
  return b;
}

Result<uint64_t> decode_number(BytesView bytes) {
  Reader in(bytes);
  TRYV(check_layout(in));
  uint64_t number = in.varint();
  if (!in.at_end()) return corrupt("number");
  return number;
}

}  // namespace coffer::model
