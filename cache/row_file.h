// Sealed rows in LMDB: the one place that calls it. Internal to this layer.
#pragma once

#include <lmdb.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/rows.h"
#include "cache/row_codec.h"
#include "cache/table.h"
#include "crypto/keys.h"

namespace coffer {

// One row to write; what it points to outlives the write.
struct RowWrite {
  std::string stored_key;
  const std::string* logical_key = nullptr;
  const Bytes* value = nullptr;  // null: remove
};

// Thread-safe; one thread writes at a time. Owns the environment.
class RowFile {
 public:
  // As Table::open().
  static Result<std::unique_ptr<RowFile>> open(const std::string& dir, const VolumeId& volume, const LocalKeys& keys);
  ~RowFile();

  // A view of all that was committed when it was made. Not thread-safe; short-lived, since it keeps LMDB from using pages
  // again. Goes back to a pool: making one costs no system call.
  class Snapshot {
   public:
    Snapshot(Snapshot&& o) noexcept;
    Snapshot& operator=(Snapshot&&) = delete;
    ~Snapshot();

    Result<std::optional<Bytes>> get(const RowKey& key);
    // Walks stored keys: the first at or after `key`, then the next ones. False at the end.
    Result<bool> seek(std::string_view key);
    Result<bool> step();
    // The place of the walk. Valid until it moves on, or the snapshot goes.
    std::string_view key() const { return key_; }
    // nullopt: the row's logical key has a hidden part.
    Result<std::optional<Bytes>> clear_value() const;

   private:
    friend class RowFile;
    Snapshot(const RowFile& file, MDB_txn* txn, MDB_cursor* cursor) : file_(&file), txn_(txn), cursor_(cursor) {}
    Result<bool> move(MDB_cursor_op op, MDB_val key);

    const RowFile* file_;
    MDB_txn* txn_;
    MDB_cursor* cursor_;
    std::string_view key_;
    BytesView sealed_;
  };
  Result<Snapshot> snapshot() const;

  // All of `rows` (ascending stored keys) and the new committed lsn in one synced transaction.
  Result<void> write(const std::vector<RowWrite>& rows, Lsn lsn);
  // As of open().
  Lsn first_committed_lsn() const { return committed_; }

 private:
  struct Idle {
    MDB_txn* txn;
    MDB_cursor* cursor;
  };

  RowFile(const VolumeId& volume, const LocalKeys& keys) : volume_(volume), keys_(keys) {}
  Result<void> start(const std::string& dir);
  Result<void> read_meta(MDB_txn* txn);
  Result<void> write_meta(MDB_txn* txn);
  Result<void> write_row(MDB_cursor* cursor, const RowWrite& row);

  // Constant after open().
  const VolumeId volume_;
  const LocalKeys& keys_;
  MDB_env* env_ = nullptr;
  MDB_dbi rows_ = 0, meta_ = 0;
  Lsn committed_ = 0;

  mutable Mutex mutex_{Rank::kLeaf};
  mutable std::vector<Idle> idle_ GUARDED_BY(mutex_);  // reset transactions
};

}  // namespace coffer
