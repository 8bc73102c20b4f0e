#include "fs/fuse/attributes.h"

#include <algorithm>

namespace coffer::fuse {

namespace {

constexpr int64_t kNanosPerSecond = 1'000'000'000;
constexpr uint64_t kBlockBytes = 4096;

// Bytes of storage as near as the inode alone tells. Never 0 for a file with a size: tar takes a file without blocks for
// one hole and would skip data that is not sealed yet. Fewer than the size is only a hint to look for holes.
uint64_t stored_bytes(const model::Inode& inode) {
  if (!inode.is_regular() || inode.size == 0) return 0;
  uint64_t covered = 0;
  if (inode.only) covered = inode.only->length;
  uint64_t unit = inode.blocks ? model::kChunk * model::kBlock : model::kChunk;
  for (const model::Run& run : inode.chunks) {
    if (run.first > inode.size / unit) break;
    uint64_t from = run.first * unit;
    uint64_t room = inode.size - from;
    covered += run.count > room / unit ? room : run.count * unit;
  }
  return std::clamp<uint64_t>(covered, 1, inode.size);
}

}  // namespace

mode_t type_bits(model::FileType type) {
  switch (type) {
    case model::FileType::kRegular:
      return S_IFREG;
    case model::FileType::kDirectory:
      return S_IFDIR;
    case model::FileType::kSymlink:
      return S_IFLNK;
    case model::FileType::kFifo:
      return S_IFIFO;
    case model::FileType::kSocket:
      return S_IFSOCK;
    case model::FileType::kCharDevice:
      return S_IFCHR;
    case model::FileType::kBlockDevice:
      return S_IFBLK;
  }
  return 0;
}

std::optional<model::FileType> type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case 0:
    case S_IFREG:
      return model::FileType::kRegular;
    case S_IFDIR:
      return model::FileType::kDirectory;
    case S_IFLNK:
      return model::FileType::kSymlink;
    case S_IFIFO:
      return model::FileType::kFifo;
    case S_IFSOCK:
      return model::FileType::kSocket;
    case S_IFCHR:
      return model::FileType::kCharDevice;
    case S_IFBLK:
      return model::FileType::kBlockDevice;
    default:
      return std::nullopt;
  }
}

timespec to_timespec(WallTime t) {
  timespec out{t.ns / kNanosPerSecond, t.ns % kNanosPerSecond};
  if (out.tv_nsec < 0) {
    out.tv_nsec += kNanosPerSecond;
    --out.tv_sec;
  }
  return out;
}

WallTime to_wall_time(timespec t) {
  constexpr int64_t kMost = INT64_MAX / kNanosPerSecond - 1;
  if (t.tv_sec > kMost) return {INT64_MAX};
  if (t.tv_sec < -kMost) return {INT64_MIN};
  return {t.tv_sec * kNanosPerSecond + t.tv_nsec};
}

struct stat to_stat(model::Ino ino, const model::Inode& inode, const MountOptions& options) {
  struct stat st {};
  st.st_ino = ino;
  st.st_mode = type_bits(inode.type) | inode.mode;
  st.st_nlink = inode.nlink;
  st.st_uid = options.own_files ? options.uid : inode.uid;
  st.st_gid = options.own_files ? options.gid : inode.gid;
  st.st_rdev = inode.rdev;
  st.st_size = static_cast<off_t>(inode.size);
  st.st_blksize = kBlockBytes;
  st.st_blocks = static_cast<blkcnt_t>((stored_bytes(inode) + kBlockBytes - 1) / kBlockBytes * (kBlockBytes / 512));
  st.st_atim = to_timespec(inode.atime);
  st.st_mtim = to_timespec(inode.mtime);
  st.st_ctim = to_timespec(inode.ctime);
  return st;
}

}  // namespace coffer::fuse
