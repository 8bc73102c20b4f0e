// Pack files: the sealed bytes of many frames, exactly as they are uploaded, kept afterwards as read cache.
//
// Pack object of `size` bytes = frames | random padding | sealed index | sealed trailer, where
//   index   = AEAD( version u8 = 1 | count varint | count x IndexEntry | zero padding ), kPackIndex, place = its offset
//   trailer = the last 56 bytes: AEAD( epoch u32 | index offset u32 | index length u32 | zero u32 ), kPackIndex,
//             place = 2^64 - 1
// `size` is padded_size(): the padding makes up the difference. A pack that a record carries inside has only frames.
//
// Local files `<dir>/<first 2 hex digits>/<id hex>`; ranges that are not here are holes (a sealed frame never starts
// with 24 zero bytes, so a hole is told from a frame without any map).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "cache/frame.h"
#include "crypto/keys.h"

namespace coffer {

inline constexpr size_t kPackTarget = 16 << 20;   // a pack is full when its frames reach this
inline constexpr size_t kFetchGrid = 64 << 10;    // ranged reads are widened to multiples of this
inline constexpr size_t kPackTrailer = 16 + kSealOverhead;

// What a pack's index says of one of its frames: enough to bring a file back from packs alone.
struct IndexEntry {
  FrameRef frame;  // `pack` is implied by the pack
  uint64_t inode = 0;
  uint64_t offset = 0;   // in the file
  uint32_t length = 0;   // plaintext bytes
  uint64_t version = 0;  // content version of the file
  uint64_t parent = 0;   // directory inode when it was written
  std::string name;

  bool operator==(const IndexEntry&) const = default;
};

// Thread-safe. One pack is open for appending at any time; reads and appends run in parallel.
class PackStore {
 public:
  // `dir` exists or is made. `keys_of(epoch)` style lookup is not needed yet: all packs are of `keys`' epoch.
  static Result<std::unique_ptr<PackStore>> open(const std::string& dir, const VolumeId& volume, const EpochKeys& keys);
  ~PackStore();

  // Seals `plain` (1..kFrameMax bytes) at the end of the open pack, making one when there is none or it is full. The
  // bytes are with the kernel when it returns, not durable: sync() makes them. kNoSpace, kIo: nothing was appended.
  Result<FrameRef> append(BytesView plain);
  // Durable: everything appended before the call. Callers that arrive together share the fdatasync.
  Result<void> sync();
  // Bytes appended since the last sync, to bound what an fsync may have to wait for.
  size_t unsynced_bytes() const;
  uint64_t syncs() const;  // fdatasync calls so far

  // No more frames go into the packs that are open now. Returns the ids of all packs that were closed since the last
  // rotate(), oldest first.
  std::vector<ObjectId> rotate();

  // Opens the frame into `plain` (its exact plaintext length). kNotFound: these bytes are not here (no file, or a hole):
  // fetch them. kCorrupt: they are here and do not open or have another hash; the caller may drop() and fetch them.
  // The hash is not checked for local reads (AEAD is); it is checked where bytes arrive from a store.
  Result<void> read(const FrameRef& ref, MutableBytes plain) const;
  // Keeps fetched bytes of a pack; offset is a multiple of kFetchGrid. The caller has verified what it will use.
  Result<void> store_range(const ObjectId& pack, uint64_t offset, BytesView sealed);
  // Punches the range out again (eviction, or a range that does not open).
  Result<void> drop_range(const ObjectId& pack, uint64_t offset, uint64_t length);

  // Completes a closed pack for upload: padding, index, trailer, fdatasync. Returns its size. Idempotent: a pack that was
  // finished already keeps its bytes when `index` covers the same frames.
  Result<uint64_t> finish(const ObjectId& pack, const std::vector<IndexEntry>& index);
  // The first `length` bytes of a local pack (for upload, or to carry it inside a record); kNotFound, kRange.
  Result<Bytes> bytes(const ObjectId& pack, uint64_t length) const;
  // Size of the frames part of a pack that is still unfinished, or of the file otherwise; kNotFound.
  Result<uint64_t> size(const ObjectId& pack) const;
  // Forgets a pack's file; ok when there is none. Readers that are inside a read finish unharmed.
  Result<void> remove(const ObjectId& pack);
  // Every pack that has a file here.
  Result<std::vector<ObjectId>> local_packs() const;
  // Disk blocks of all pack files, in bytes.
  uint64_t disk_bytes() const;

 private:
  struct Impl;
  explicit PackStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Reads an index out of the whole bytes of a pack object; for check, rebuild and tests.
Result<std::vector<IndexEntry>> read_pack_index(BytesView pack_bytes, const ObjectId& pack, const VolumeId& volume,
                                                const EpochKeys& keys);

}  // namespace coffer
