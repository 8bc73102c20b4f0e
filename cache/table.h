// The replica's rows on disk: LMDB with sealed values, behind an in-memory part that answers what LMDB has not got yet.
//
// A batch of puts becomes visible at once in memory (apply), and is written to LMDB later in large transactions (freeze,
// then commit_frozen, by one background thread), so nobody waits for an LMDB commit. What makes a batch durable before
// that is the journal; the lsn (log sequence number) ties the two: LMDB remembers the lsn up to which it holds everything.
//
// On disk: key = clear part || PRF128(whole logical key) if there is a hidden part; value = sealed(logical key || value,
// both varint-prefixed || zero padding to a multiple of 32), associated data kRow with the stored key. A database `meta`
// holds format version, committed lsn and volume id (sealed, so that it also tells whether the keys are the right ones).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/row_changes.h"
#include "base/rows.h"
#include "crypto/keys.h"

namespace coffer {

using Lsn = uint64_t;  // numbers journal entries from 1

inline constexpr size_t kMaxStoredKey = 511;  // LMDB's limit; a hidden part counts 16

// Thread-safe. Reads run in parallel and see every batch whose apply() has returned; they hold no LMDB read transaction
// when they return, and wait neither for a commit nor, while they read the disk, keep anyone waiting. A next() that runs
// while batches are applied may see a part of them. apply() is called by one thread at a time, with increasing lsn;
// commit_frozen() too. Owns the LMDB environment, which one process may have open once.
class Table : public ReadRows {
 public:
  // Opens or makes the LMDB environment in directory `dir` (which exists). kTooNew: made by a later format; kCorrupt: not
  // this volume's, or damaged. `keys` outlives the table. Durable when it returns.
  static Result<std::unique_ptr<Table>> open(const std::string& dir, const VolumeId& volume, const LocalKeys& keys);
  ~Table() override;

  Result<std::optional<Bytes>> get(const RowKey& key) const override;
  Result<std::optional<Row>> next(std::string_view prefix, std::string_view after) const override;

  // Makes the puts of one journal entry visible, later puts of a key over earlier ones. Memory only: microseconds. A stored
  // key has at most 511 bytes (kMaxStoredKey); a longer one is a bug and stops the program.
  void apply(std::span<const RowPut> puts, Lsn lsn);
  // Likewise, of many changes, in a time that does not depend on how many (while few are waiting to be committed).
  // `weight` is what weigh() says of them, which looks at each: ahead of the moment.
  void apply(RowChanges changes, size_t weight, Lsn lsn);
  static size_t weigh(const RowChanges& changes);

  // Moves what was applied so far aside for committing; returns its last lsn, or nullopt when there is nothing (or an
  // earlier frozen part is not committed yet: that one's lsn is returned again, the oldest of several).
  std::optional<Lsn> freeze();
  // Writes the oldest frozen part in one synced LMDB transaction. The caller has made the journal durable up to its lsn. On
  // failure (kNoSpace, kIo) the frozen part stays visible and a later call tries again. Ok when nothing is frozen.
  Result<void> commit_frozen();

  Lsn committed_lsn() const;         // everything up to here is in LMDB
  size_t uncommitted_bytes() const;  // approximate memory held by rows that LMDB has not got
  size_t uncommitted_small() const;  // of these, what did not come as many changes at once

 private:
  struct Impl;
  explicit Table(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace coffer
