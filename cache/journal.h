// The journal: every change to rows is appended here, sealed, before LMDB has it; fsync makes it durable by a group
// sync.
//
// Directory of files `<first lsn, 16 hex digits>`, preallocated (default 64 MiB). File: header block, then blocks, each
// at a multiple of 4096, zeros in between:
//   header  magic "coffjrnl" 8 | version u16 = 1 | file id 16 | first lsn u64
//   block   length of sealed u32 (0: end) | check u32 | sealed( first lsn u64 | durable lsn u64 | count u32
//           | count x (length varint, payload) )
// Associated data: kJournalBlock, file id, offset of the block in the file. `check` is the first 4 bytes of
// BLAKE2b(file id | offset u64 | length u32): it only saves trying to open what never was a block. An entry larger than
// a block (64 KiB of payload) has a block of its own. Blocks are aligned so that no write touches a disk sector that an
// earlier sync made durable, and so that blocks can be found behind a damaged one.
//
// `durable lsn` is the lsn up to which entries were durable when the block was sealed. It tells damage from a torn
// tail: a crash may lose any of the blocks that were not synced and keep later ones; but if a block that is intact says
// that a block which is not was durable, the disk has lost something. A file may also hold blocks of a former life
// under another id (files are reused, overwriting being cheaper to sync than filling): those do not open. Where a file
// starts, it supersedes all blocks of earlier files from that lsn on. In the same way an entry whose frames are gone is
// told from one whose frames never were durable.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "cache/table.h"
#include "crypto/keys.h"

namespace coffer {

// Thread-safe. Owns its directory; `keys` outlives it. A file that was not released stays for the next run.
class Journal {
 public:
  struct Options {
    size_t file_size = 64 << 20;
    size_t block_payload = 64 << 10;
    // Called by a sync between choosing what it will make durable and writing the journal: makes durable whatever the
    // entries so far refer to (the packs), or returns it as an entry, not empty, which this sync makes durable with the
    // others. Called with no lock held, by one thread at a time; its failure fails that sync, and the next one tries again.
    std::function<Result<Bytes>()> before_sync;
  };

  static Result<std::unique_ptr<Journal>> open(const std::string& dir, const VolumeId& volume, const LocalKeys& keys,
                                               Options options);
  ~Journal();

  // Calls `entry` for each entry with an lsn greater than `after`, in order; once, before the first append. Ends, ok,
  // at the end of what was written, at a torn tail, or when `entry` returns false ("names something that did not
  // survive"); what follows is then cut off for good, durably, and its lsns are used again. kCorrupt, naming file and
  // offset: an entry beyond `after` is gone, or was refused, that was durable; nothing is changed. kTooNew: a later
  // format. Entries that are given out are durable only after the next sync(): a killed process may have left them with
  // the kernel only.
  // An error of `entry` ends the replay with that error, and nothing is changed: nothing was found out about the entry.
  using Entry = std::function<Result<bool>(Lsn, BytesView)>;
  Result<void> replay(Lsn after, const Entry& entry);
  // The same entries, and nothing is changed; `entry` of a replay under way may call it.
  Result<void> peek(Lsn after, const Entry& entry) const;

  // Queues an entry; its number. Visible to a crash only after flush (kill) or sync (power loss). Does no I/O.
  Lsn append(BytesView payload) { return append(std::span(&payload, 1)); }
  Lsn append(std::span<const BytesView> payload);  // in parts
  // Hands queued entries to the kernel, no fdatasync: after it they survive kill -9. On kNoSpace and kIo entries stay
  // queued, in order, and the next flush or sync tries again. Does not wait for a sync under way.
  Result<void> flush();
  // Returns when all entries up to `lsn` are durable. Callers that arrive together share one fdatasync. After a failure
  // of fdatasync the journal is broken for good and every further sync fails: what the disk holds is unknown. Other
  // failures (kNoSpace, those of before_sync) leave the entries queued or written, and may be tried again.
  Result<void> sync(Lsn lsn);
  // LMDB holds everything up to `lsn` durably: files that only hold such entries are removed, save the one that is
  // being written. Not durable: a crash may bring them back, for replay to skip.
  Result<void> release(Lsn lsn);

  Lsn last_lsn() const;
  Lsn durable_lsn() const;
  size_t queued_bytes() const;
  uint64_t syncs() const;  // fdatasync calls so far

 private:
  struct Impl;
  explicit Journal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace coffer
