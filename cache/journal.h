// The journal: every change to rows is appended here, sealed, before LMDB has it; fsync makes it durable by a group sync.
//
// Directory of files `<first lsn, 16 hex digits>`, preallocated (default 64 MiB). File: header block, then blocks:
//   header  magic "coffjrnl" 8 | version u16 | file id 16 | first lsn u64
//   block   length of sealed u32 (0: end) | sealed( first lsn u64 | count u32 | count x (length varint, payload) )
// Associated data: kJournalBlock, file id, offset of the block in the file. An entry larger than a block (64 KiB of
// payload) has a block of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "cache/table.h"
#include "crypto/keys.h"

namespace coffer {

// Thread-safe.
class Journal {
 public:
  struct Options {
    size_t file_size = 64 << 20;
    size_t block_payload = 64 << 10;
    // Called by a sync between choosing what it will make durable and writing the journal: makes durable whatever the
    // entries so far refer to (the packs).
    std::function<Result<void>()> before_sync;
  };

  static Result<std::unique_ptr<Journal>> open(const std::string& dir, const VolumeId& volume, const LocalKeys& keys,
                                               Options options);
  ~Journal();

  // Calls `entry` for each entry with an lsn greater than `after`, in order; once, before the first append. Ends, ok, at
  // the end of what was written, at a torn last block, or when `entry` returns false ("names something that did not
  // survive"); what follows is then cut off for good. kCorrupt: a block that does not open is followed by one that does:
  // damage, not a crash; nothing is changed. kTooNew: a later format.
  Result<void> replay(Lsn after, const std::function<bool(Lsn, BytesView)>& entry);

  // Queues an entry; its number. Visible to a crash only after flush (kill) or sync (power loss). Does no I/O.
  Lsn append(BytesView payload);
  // Hands queued entries to the kernel, no fdatasync: after it they survive kill -9.
  Result<void> flush();
  // Returns when all entries up to `lsn` are durable. Callers that arrive together share one fdatasync. After a failure
  // of fdatasync the journal is broken for good and every further sync fails: what the disk holds is unknown.
  Result<void> sync(Lsn lsn);
  // LMDB holds everything up to `lsn` durably: files that only hold such entries are removed.
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
