// What a volume is made of: inodes, directory entries, extents, extended attributes; and how their rows are encoded.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "cache/frame.h"

namespace coffer::model {

// An inode number is the same on every device: the upper 40 bits are random per log, the lower 24 count. Seen by
// applications as st_ino.
using Ino = uint64_t;
inline constexpr Ino kRootIno = 1;

// A content version: random, fresh for every change to a file's contents.
using Version = uint64_t;

inline constexpr size_t kNameMax = 255;     // bytes
inline constexpr size_t kTargetMax = 4095;  // bytes of a symlink
inline constexpr uint32_t kLinkMax = 65000;
inline constexpr uint64_t kSizeMax = (1ull << 63) - 1;
inline constexpr size_t kXattrValueMax = 64 << 10;
inline constexpr size_t kXattrTotalMax = 256 << 10;  // names and values of one inode together
inline constexpr uint64_t kChunk = 1 << 20;          // a row of extents covers this much of a file
inline constexpr uint64_t kBlock = 1024;             // chunks whose presence one B row holds
inline constexpr uint64_t kFirstCookie = 3;          // 0 to 2 are left for the start, "." and ".."

enum class FileType : uint8_t {
  kRegular = 1,
  kDirectory = 2,
  kSymlink = 3,
  kFifo = 4,
  kSocket = 5,
  kCharDevice = 6,
  kBlockDevice = 7,
};

// A range of a file that (part of) one frame holds. What no extent covers reads as zeros.
struct Extent {
  uint64_t offset = 0;        // in the file
  uint32_t length = 0;        // bytes, at least 1
  uint32_t skip = 0;          // where the range starts in the frame's plaintext
  uint32_t frame_length = 0;  // the frame's plaintext bytes; skip + length <= frame_length <= kFrameMax
  FrameRef frame;

  uint64_t end() const { return offset + length; }
  bool operator==(const Extent&) const = default;
};

// `count` chunks (or blocks) from `first` on.
struct Run {
  uint64_t first = 0, count = 0;
  uint64_t end() const { return first + count; }
  bool operator==(const Run&) const = default;
};

struct Inode {
  FileType type = FileType::kRegular;
  uint32_t mode = 0;  // permission bits, 07777
  uint32_t uid = 0, gid = 0;
  uint64_t rdev = 0;
  uint32_t nlink = 0;  // 0: unlinked and still open here
  WallTime atime, mtime, ctime, btime;
  uint64_t size = 0;    // regular files; the target's length for symlinks; 0 for directories
  Version version = 0;  // of the contents (regular files); 0 for others, whose contents never change
  Ino parent = 0;       // home entry: the directory and cookie of the first link; for a directory its only one
  uint64_t cookie = 0;
  uint64_t next_cookie = 0;  // directories: the next entry's; never goes back
  bool has_xattrs = false;
  std::string target;          // symlinks
  std::optional<Extent> only;  // the whole extent map when it is one extent that starts at 0; else chunk rows hold it
  // Which chunk rows there are, so that holes cost nothing: runs of chunks while they are few, or (`blocks`) runs of
  // blocks of kBlock chunks, each with a B row that says which of its chunks have rows. Sorted, apart.
  std::vector<Run> chunks;
  bool blocks = false;
  Ino origin = 0;  // of a conflict copy: the file whose contents went two ways; through copies of copies, the first

  bool is_directory() const { return type == FileType::kDirectory; }
  bool is_regular() const { return type == FileType::kRegular; }
  bool operator==(const Inode&) const = default;
};

struct Entry {
  std::string name;
  Ino ino = 0;
  FileType type = FileType::kRegular;
  bool operator==(const Entry&) const = default;
};

struct Xattr {
  std::string name;
  Bytes value;
  bool operator==(const Xattr&) const = default;
};

// What a removed inode was, so that a change made elsewhere can bring it back. `inode` has the attributes as everybody
// knew them, nlink 0, and `parent`, the directory where it was `name`.
struct Tombstone {
  Inode inode;  // version and size: those that everybody knew
  std::string name;
  Version map_version = 0;  // the version whose extents the rows and inode.only / inode.chunks hold (unless the inode's
                            // own row is still there, because it is open here: then that one's)
  std::vector<Xattr> xattrs;
  bool operator==(const Tombstone&) const = default;
};

// What became of a version of a file's contents that is current no more. Either a newer version took its place, and
// these are the chunks that differ from it as they were; or it lives on as the contents of another file.
struct Displaced {
  struct Chunk {
    uint64_t chunk = 0;
    std::vector<Extent> extents;
    bool operator==(const Chunk&) const = default;
  };
  Ino moved_to = 0;  // not 0: lives on there, and the rest is unused
  Version newer = 0;
  uint64_t size = 0;
  std::vector<Chunk> here;     // chunks that are held here, by number; or
  std::vector<Run> elsewhere;  // chunks that W rows hold
  bool operator==(const Displaced&) const = default;
};

// Which chunks of a block have rows.
struct Bitmap {
  std::array<uint64_t, kBlock / 64> words{};
  bool operator==(const Bitmap&) const = default;
};

// 1..255 bytes, no '/', no NUL, not "." or "..".
bool valid_name(std::string_view name);
// 1..255 bytes, no NUL.
bool valid_xattr_name(std::string_view name);

// Row values. Decoding checks everything that a later use relies on; kCorrupt otherwise. Each starts with a layout
// version byte, now 1; a greater one is kTooNew.
Bytes encode(const Inode&);
Result<Inode> decode_inode(BytesView);
Bytes encode(const Entry&);
Result<Entry> decode_entry(BytesView);
Bytes encode(const std::vector<Extent>&);  // of one chunk: sorted, disjoint
Result<std::vector<Extent>> decode_extents(BytesView);
Bytes encode(const std::vector<Xattr>&);  // sorted by name
Result<std::vector<Xattr>> decode_xattrs(BytesView);
Bytes encode(const Tombstone&);
Result<Tombstone> decode_tombstone(BytesView);
Bytes encode(const Displaced&);
Result<Displaced> decode_displaced(BytesView);
Bytes encode(const Bitmap&);
Result<Bitmap> decode_bitmap(BytesView);
Bytes encode_number(uint64_t);
Result<uint64_t> decode_number(BytesView);

}  // namespace coffer::model
