// The replica's rows on disk: LMDB with sealed values, behind an in-memory part that answers what LMDB has not got yet.
//
// A batch of puts becomes visible at once in memory (apply), and is written to LMDB later in large transactions (freeze,
// then commit_frozen, by one background thread), so nobody waits for an LMDB commit. What makes a batch durable before
// that is the journal; the lsn (log sequence number) ties the two: LMDB remembers the lsn up to which it holds everything.
//
// On disk: key = clear part || PRF128(whole logical key) if there is a hidden part; value = sealed(logical key as
// varint-prefixed bytes || value || zero padding to a multiple of 32), associated data kRow with the stored key. A
// database `meta` holds format version, committed lsn and volume id.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/rows.h"
#include "crypto/keys.h"

namespace coffer {

using Lsn = uint64_t;  // numbers journal entries from 1

// Thread-safe. Reads run in parallel and see every batch whose apply() has returned; they hold no LMDB read transaction
// when they return. apply() is called by one thread at a time, with increasing lsn.
class Table : public ReadRows {
 public:
  // Opens or makes the LMDB environment in directory `dir` (which exists). kTooNew: made by a later format; kCorrupt: not
  // this volume's, or damaged. `keys` outlives the table.
  static Result<std::unique_ptr<Table>> open(const std::string& dir, const VolumeId& volume, const LocalKeys& keys);
  ~Table() override;

  Result<std::optional<Bytes>> get(const RowKey& key) const override;
  Result<std::optional<Row>> next(std::string_view prefix, std::string_view after) const override;

  // Makes the puts of one journal entry visible, later puts of a key over earlier ones.
  void apply(std::span<const RowPut> puts, Lsn lsn);

  // Moves what was applied so far aside for committing; returns its last lsn, or nullopt when there is nothing (or an
  // earlier frozen part is not committed yet: that one's lsn is returned again).
  std::optional<Lsn> freeze();
  // Writes the frozen part in one synced LMDB transaction. The caller has made the journal durable up to its lsn. On
  // failure (kNoSpace, kIo) the frozen part stays visible and a later call tries again.
  Result<void> commit_frozen();

  Lsn committed_lsn() const;     // everything up to here is in LMDB
  size_t uncommitted_bytes() const;  // approximate memory held by rows that LMDB has not got

 private:
  struct Impl;
  explicit Table(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace coffer
