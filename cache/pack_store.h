// Pack files: the sealed bytes of many frames, exactly as they are uploaded, kept afterwards as read cache.
//
// Pack object of `size` bytes = frames | random padding | sealed index | sealed trailer, where
//   index   = AEAD( version u8 = 1 | count varint | count x IndexEntry | zero padding ), kPackIndex, place = its offset
//   entry   = frame offset varint | frame length varint | frame hash 32 | inode varint | offset varint | length varint
//             | version varint | parent varint | name, varint-prefixed
//   trailer = the last 56 bytes: AEAD( epoch u32 | index offset u32 | index length u32 | zero u32 ), kPackIndex,
//             place = 2^64 - 1
// `size` is padded_size(): the padding makes up the difference. A pack that a record carries inside has only frames.
// Between frames there may be gaps, of any content, where an append failed; no index names them.
//
// A pack is of one epoch, frames, index and trailer: that which was the newest when it was begun. Nothing outside of the
// trailer says which; a reader tries the keys that there are, the newest first. What opens is not trusted for that: the hash
// of a frame is in a signed record.
//
// Local files `<dir>/<first 2 hex digits>/<id hex>`, or `<dir>/new/<id hex>` until finish() has completed them. Ranges
// that are not here are holes (a sealed frame never starts with 24 zero bytes, so a hole is told from a frame without
// any map).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "cache/frame.h"
#include "crypto/key_ring.h"

namespace coffer {

inline constexpr size_t kPackTarget = 16 << 20;  // a pack is full when its frames reach this
inline constexpr size_t kFetchGrid = 64 << 10;   // ranged reads are widened to multiples of this
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

// A frame whose bytes are with the kernel, but were not made durable in their pack.
struct RecentFrame {
  ObjectId pack;
  uint32_t offset = 0;
  Bytes sealed;
};
inline constexpr size_t kRecentMost = 64 << 10;  // bytes of such frames that are kept at hand

// Thread-safe. One pack is open for appending at any time; reads and appends run in parallel, and no append or read
// waits for a sync. Owns its directory and the descriptors into it; `keys` outlive the store.
class PackStore {
 public:
  // `dir` exists or is made. Packs that a former run left unfinished stay readable and can be finished; nothing is appended
  // to them, and the first sync() makes them durable too, so that what a replayed journal refers to is as durable as the
  // replayed entries will be.
  static Result<std::unique_ptr<PackStore>> open(const std::string& dir, const VolumeId& volume, const KeyRing& keys);
  ~PackStore();

  enum class Use {
    kAtOnce,     // the journal may name the frame as soon as it is appended
    kAfterSync,  // nothing names it before a sync() that began later, or use_unsynced()
  };
  // Seals `plain` (1..kFrameMax bytes) at the end of the open pack, making one when there is none, it is full, or it is not
  // of the newest epoch. The bytes are with the kernel when it returns, not durable: sync() makes them. kNoSpace, kIo:
  // nothing was appended, and it may be tried again. kInvalid: another size of `plain`.
  Result<FrameRef> append(BytesView plain, Use use = Use::kAtOnce);
  // To be called before the journal names, after all, frames for use after a sync that no sync() covers yet.
  void use_unsynced();
  // Durable: everything whose append() returned before the call. Callers that arrive together share the fdatasync.
  // After a failure of fdatasync every further sync fails: what the disk holds is unknown.
  Result<void> sync();
  // The frames for use at once that were appended since the last sync() or take_recent(), for who makes them durable elsewhere:
  // it serves as a sync() of all that the journal may name, provided that after a crash they are given to restore() before
  // anything else, and that sync() comes before that other place forgets them. It waits for nothing. nullopt: they are more than
  // kRecentMost bytes, or something else has to be made durable; then only sync() serves.
  std::optional<std::vector<RecentFrame>> take_recent();
  // Puts the bytes back where they were, if they are not there, in a pack that a former run left unfinished; not durable.
  // True: something was written. Other packs are durable, or nobody wants them any more.
  Result<bool> restore(const RecentFrame& frame);
  // Bytes appended since the last sync, to bound what an fsync may have to wait for.
  size_t unsynced_bytes() const;
  uint64_t syncs() const;  // fdatasync calls so far

  // No more frames go into the packs that are open now; appends that had begun are complete when it returns. Returns
  // the ids of all packs of this run that were closed since the last rotate(), oldest first; empty ones are not closed.
  std::vector<ObjectId> rotate();

  // Opens the frame into `plain` (its exact plaintext length). kNotFound: these bytes are not here (no file, or a
  // hole): fetch them. kCorrupt: they are here and do not open; the caller may drop() and fetch them, unless
  // has_hash(). `plain` is then zeroed or untouched. kInvalid: no frame has such a length. The hash is not checked for local
  // reads (AEAD is); it is checked where bytes arrive from a store.
  Result<void> read(const FrameRef& ref, MutableBytes plain) const;
  // Whether the bytes that are here have the hash of the frame: what does not open then was sealed so. Errors as of read().
  Result<bool> has_hash(const FrameRef& ref) const;
  // Of which epoch a frame with so much plaintext is; errors as of read().
  Result<Epoch> epoch_of(const FrameRef& ref, uint32_t plain_length) const;
  // Keeps fetched bytes of a pack; offset is a multiple of kFetchGrid. The caller has verified what it will use. Not
  // durable; on failure (kNoSpace, kIo) the range is not here. kInvalid: the pack is open for appending.
  Result<void> store_range(const ObjectId& pack, uint64_t offset, BytesView sealed);
  // Keeps one fetched frame, at its place. The caller has checked its hash: what is stored this way need not be hashed
  // again by read(). Not durable; on failure (kNoSpace, kIo) the frame is not here. kInvalid: the pack is open for
  // appending, or `sealed` is not ref.length bytes.
  Result<void> store_frame(const FrameRef& ref, BytesView sealed);
  // Punches the range out again (eviction, or a range that does not open). kInvalid: the pack is unfinished, what it
  // holds is nowhere else. Ok when there is no such pack.
  Result<void> drop_range(const ObjectId& pack, uint64_t offset, uint64_t length);

  // Frees at least `bytes` of the disk if that is possible: of finished packs for which `may_go` says yes, the least
  // recently used ranges first, and files in which nothing is left. What was used is known by the mebibyte and in memory
  // only; what former runs left counts as older, by the times of its file. Readers may run: they find a hole. Returns
  // what became free. One caller at a time; `may_go` is called with no lock held, once for a pack.
  uint64_t evict(uint64_t bytes, const std::function<bool(const ObjectId&)>& may_go);

  // Completes a closed pack for upload: gaps filled, padding, index, trailer, fdatasync, durable name. Returns its size.
  // Frames that `index` does not name stay where they are. A pack that was finished already, also in a former run, keeps
  // its bytes when its index has every frame of `index`; kInvalid when it does not, or when the pack is open. kNotFound;
  // kNoSpace and kIo: may be tried again, also with another index. kBusy: another thread is finishing it.
  Result<uint64_t> finish(const ObjectId& pack, const std::vector<IndexEntry>& index);
  // The first `length` bytes of a local pack (for upload, or to carry it inside a record); kNotFound, also when a part
  // of them is a hole; kRange.
  Result<Bytes> bytes(const ObjectId& pack, uint64_t length) const;
  // Size of the frames part of a pack that is still unfinished, or of the file otherwise; kNotFound. (Of a pack whose
  // finish a crash interrupted it may include some of the padding.)
  Result<uint64_t> size(const ObjectId& pack) const;
  // Forgets a pack's file; ok when there is none. Readers that are inside a read finish unharmed.
  Result<void> remove(const ObjectId& pack);
  // Every pack that has a file here.
  Result<std::vector<ObjectId>> local_packs() const;
  // There is a file, which finish() has not completed.
  bool is_unfinished(const ObjectId& pack) const;
  // Bytes of frames in packs that no rotate() has returned yet.
  uint64_t unrotated_bytes() const;
  // Disk blocks of all pack files, in bytes. Asks the file system about those that changed since the last call.
  uint64_t disk_bytes() const;

 private:
  struct Impl;
  Result<void> store_at(const ObjectId& pack, uint64_t offset, BytesView sealed);
  explicit PackStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Reads an index out of the whole bytes of a pack object; for check, rebuild and tests. kCorrupt, kTooNew.
Result<std::vector<IndexEntry>> read_pack_index(BytesView pack_bytes, const ObjectId& pack, const VolumeId& volume,
                                                const EpochKeys& keys);
Result<std::vector<IndexEntry>> read_pack_index(BytesView pack_bytes, const ObjectId& pack, const VolumeId& volume,
                                                const KeyRing& keys);

}  // namespace coffer
