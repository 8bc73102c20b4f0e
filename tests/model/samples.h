// One value of every structure, with all that it can hold.
#pragma once

#include "fs/model/change_set.h"
#include "fs/model/history.h"
#include "fs/model/types.h"

namespace coffer::model {

inline FrameRef sample_frame(uint8_t n, uint32_t offset = 4096) {
  FrameRef f;
  f.pack.bytes.fill(static_cast<uint8_t>(0xa0 + n / 4));
  f.offset = offset;
  f.length = 1000;
  f.hash.bytes.fill(n);
  return f;
}

inline Extent sample_extent(uint64_t offset, uint32_t length, uint8_t n) {
  Extent e;
  e.offset = offset;
  e.length = e.frame_length = length;
  e.frame = sample_frame(n, 4096 + 1000u * n);
  return e;
}

inline Inode sample_file() {
  Inode i;
  i.type = FileType::kRegular;
  i.mode = 0644;
  i.uid = 1000;
  i.gid = 1000;
  i.nlink = 1;
  i.mtime = {1'700'000'000'123'456'789};
  i.ctime = {1'700'000'001'123'456'789};
  i.atime = {1'700'000'000'123'456'789};
  i.btime = {1'699'000'000'000'000'000};
  i.size = 1234;
  i.version = 0x1122334455667788;
  i.parent = 0x8877665544332211;
  i.cookie = 17;
  i.only = sample_extent(0, 1234, 5);
  return i;
}

inline Inode sample_large_file() {
  Inode i = sample_file();
  i.only.reset();
  i.size = 5ull << 40;
  i.has_xattrs = true;
  i.chunks = {{0, 3}, {7, 1}, {5ull << 10, 100}};
  i.origin = 0x77;
  return i;
}

inline Inode sample_directory() {
  Inode i;
  i.type = FileType::kDirectory;
  i.mode = 02755;
  i.nlink = 5;
  i.mtime = i.ctime = i.atime = i.btime = {-5};
  i.parent = kRootIno;
  i.cookie = 3;
  i.next_cookie = 1000;
  return i;
}

inline Inode sample_symlink() {
  Inode i = sample_directory();
  i.type = FileType::kSymlink;
  i.next_cookie = 0;
  i.nlink = 1;
  i.mode = 0777;
  i.target = "../where";
  i.size = i.target.size();
  return i;
}

inline Inode sample_device() {
  Inode i = sample_directory();
  i.type = FileType::kBlockDevice;
  i.mode = 0600;
  i.next_cookie = 0;
  i.nlink = 1;
  i.rdev = 0x801;
  return i;
}

// Neighbours in one pack, a hole, two parts of one frame, another pack.
inline std::vector<Extent> sample_extents() {
  std::vector<Extent> list{sample_extent(kChunk, 1000, 1), sample_extent(kChunk + 1000, 500, 2)};
  Extent left = sample_extent(kChunk + 5000, 4000, 3);
  left.length = 100;
  Extent right = left;
  right.offset += 300;
  right.skip = 300;
  right.length = 3700;
  list.push_back(left);
  list.push_back(right);
  list.push_back(sample_extent(2 * kChunk - 10, 10, 9));
  return list;
}

inline std::vector<Xattr> sample_xattrs() { return {{"user.a", {1, 2, 3}}, {"user.b", {}}}; }

inline Tombstone sample_tombstone() {
  Tombstone t;
  t.inode = sample_file();
  t.inode.nlink = 0;
  t.inode.cookie = 0;
  t.name = "gone";
  t.map_version = 0x99;
  t.xattrs = sample_xattrs();
  return t;
}

inline Displaced sample_displaced() {
  Displaced d;
  d.newer = 0x4242;
  d.size = 3 * kChunk;
  d.here = {{0, {}}, {1, sample_extents()}};
  d.elsewhere = {{5, 2}, {9, 1}};
  return d;
}

inline HistoryEntry sample_history() { return {RowKey{"E12345678abcdefgh", 17}, Bytes{1, 2, 3}}; }

// Parts of a frame and whole ones, which follow each other or do not, in two files.
inline std::vector<Move> sample_moves() {
  std::vector<Move> out;
  auto add = [&out](Ino ino, uint64_t offset, uint32_t length, uint8_t from, uint8_t to) {
    Extent e = sample_extent(offset, length, to);
    ObjectId pack = e.frame.pack;
    pack.bytes[1] ^= from;
    out.push_back({ino, pack, from * 5000u, e});
    return &out.back();
  };
  add(0x1000002, 0, 1000, 1, 1);
  Move* part = add(0x1000002, 1000, 500, 1, 4);
  part->to.skip = 100;
  part->to.frame_length = 900;
  Move* next = add(0x1000002, 5000, 700, 2, 5);
  next->to.frame.pack = part->to.frame.pack;
  next->to.frame.offset = part->to.frame.offset + part->to.frame.length;
  add(0x1000009, 10, 64, 2, 6);
  return out;
}

inline ChangeSet sample_changes() {
  ChangeSet set;
  InodeChange made;
  made.ino = 0x1000001;
  made.kind = InodeChange::Kind::kMade;
  made.mode = 0644, made.uid = 1000, made.gid = 100;
  made.mtime = WallTime{1'700'000'000'000'000'000};
  made.ctime = made.atime = made.btime = made.mtime;
  made.origin = 0x1000;
  ContentChange content;
  content.version = 0xabcdef;
  content.size = 3'000'000;
  for (const Extent& e : sample_extents()) content.pieces.push_back({e.offset, e.length, e});
  made.content = content;
  made.xattrs = {{"user.k", Bytes{7}}};
  set.inodes.push_back(made);

  InodeChange link;
  link.ino = 0x1000002;
  link.kind = InodeChange::Kind::kMade;
  link.type = FileType::kSymlink;
  link.mode = 0777, link.uid = 0, link.gid = 0;
  link.mtime = WallTime{5};
  link.ctime = WallTime{6};
  link.atime = WallTime{-7};
  link.btime = WallTime{0};
  link.target = "there";
  set.inodes.push_back(link);

  InodeChange changed;
  changed.ino = 0x2000000;
  changed.mode = 0600;
  changed.ctime = WallTime{1'700'000'000'000'000'001};
  changed.content = ContentChange{0x55, 0x66, 70'000, {{0, 4096, std::nullopt}, {65536, 1234, std::nullopt}}};
  changed.content->pieces[1].extent = sample_extent(65536, 1234, 7);
  changed.xattrs = {{"user.gone", std::nullopt}};
  set.inodes.push_back(changed);

  InodeChange removed;
  removed.ino = 0xff00000000000001;
  removed.kind = InodeChange::Kind::kRemoved;
  removed.type = FileType::kRegular;
  removed.removed_version = 0x31;
  set.inodes.push_back(removed);

  set.entries = {{kRootIno, "made", 0, 0x1000001, FileType::kRegular},
                 {kRootIno, "link", 0xff00000000000001, 0x1000002, FileType::kSymlink},
                 {0x2000, "old", 0x2000000, 0, FileType::kRegular}};
  return set;
}

}  // namespace coffer::model
