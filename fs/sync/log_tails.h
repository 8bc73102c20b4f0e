// What is known of every log: how far it is applied here, who writes it, and what its author had seen.
//
// Rows (all keys clear): "St" log 16              -> tail: version u8 = 3, then LogTail's fields in order (2: without the
//                                                  last one; 1: without the last three)
//                        "Sr" log 16 number BE 8  -> version u8 = 1 | hash 32 | stamp u64: a record that is applied here
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/rows.h"
#include "fs/sync/record.h"

namespace coffer {

// A log up to its newest record that is applied here.
struct LogTail {
  // How far the log's author has quoted another log.
  struct Seen {
    uint64_t number = 0, stamp = 0;
    bool operator==(const Seen&) const = default;
  };

  LogId log;
  uint64_t number = 0;
  Hash hash;
  uint64_t stamp = 0, first_stamp = 0;  // of the newest and the first record
  DeviceId device;
  PublicKey key;  // the device's, by the certificate in the first record
  std::string name;
  WallTime when;
  bool closed = false;             // by its own closing record
  std::optional<LogId> successor;  // the log that names this one as its predecessor
  std::map<LogId, Seen> seen;
  WallTime opened;  // of its first record; 0: not known, since the row is of version 1
  // Whose word made the device a member, as its certificate has it (crypto/keys.h): the last one vouches for it, the one
  // before for that one, and so on; nobody when the volume's signing key did. Whoever revokes one of them has to void
  // what it has vouched for since.
  std::vector<DeviceId> vouchers;
  // The record that the successor names. When the machine was copied or restored, the log may go on beyond it, and then who
  // quotes the successor need not know that.
  Seen succeeded;
  bool revoked = false;  // nothing that counts comes from its author any more; not in the row

  void set_author(const DeviceCertificate& certificate);
  LogHead head() const { return {log, number, hash}; }
  bool open() const { return !closed && !successor; }
  // Something may come from its author that was made without knowing what others made since.
  bool waited_for(const DeviceId& ours, WallTime silent) const {
    return open() && !revoked && device != ours && when >= silent;
  }
  bool operator==(const LogTail&) const = default;
};

Bytes encode(const LogTail& tail);
Result<LogTail> decode_tail(const LogId& log, BytesView row);

// What the order needs to know of one applied record.
struct RecordMark {
  Hash hash;
  uint64_t stamp = 0;
};

// Whether rows of logs that came with a checkpoint are whole: each log has its tail and a mark of every record up to it.
// Returns the greatest stamp and the number of records. kCorrupt, kTooNew.
struct LogExtent {
  uint64_t stamp = 0, records = 0;
};
Result<LogExtent> check_log_rows(const std::vector<Row>& tails, const std::vector<Row>& marks);

// Looks things up by log; what the verifier works on.
class TailView {
 public:
  virtual ~TailView() = default;
  virtual std::optional<LogTail> find(const LogId& log) const = 0;
  // nullopt: not applied here.
  virtual Result<std::optional<RecordMark>> mark(const LogId& log, uint64_t number) const = 0;
};

// Thread-safe. Rows are read through `read_row`, without a lock held. Changes go through TailBatch.
class LogTails : public TailView {
 public:
  using ReadRow = std::function<Result<std::optional<Bytes>>(const RowKey&)>;
  explicit LogTails(ReadRow read_row) : read_row_(std::move(read_row)) {}

  static constexpr char kTailPrefix[] = "St";
  static constexpr char kMarkPrefix[] = "Sr";
  static RowKey tail_key(const LogId& log);
  // The log and number of a mark's key; nullopt: it is none.
  static std::optional<std::pair<LogId, uint64_t>> parse_mark_key(std::string_view key);
  static Result<RecordMark> decode_mark(BytesView value);
  // Takes what rows_with_prefix(kTailPrefix) gave.
  Result<void> load(const std::vector<Row>& rows);

  std::optional<LogTail> find(const LogId& log) const override;
  Result<std::optional<RecordMark>> mark(const LogId& log, uint64_t number) const override;
  std::vector<LogTail> all() const;

  // Marks the logs of revoked devices; to be called again after records were added.
  void set_revoked(const std::set<LogId>& logs);
  // The heads that a record of a log with `seen` has to quote: those that moved. `opening`: all that no successor knows whole.
  std::vector<LogTail> to_quote(const LogId& own, const std::map<LogId, LogTail::Seen>& seen, bool opening) const;

  // All logs of other devices that are open, and wrote something since `silent` by their author's clock, have quoted
  // everything up to this stamp: of these nothing can come that sorts at or before it, nor refers to what was before it.
  // (What comes from others all the same gets its place by a Replayer.) 0: nothing is known to be so. `ours` is not asked.
  uint64_t stable_stamp(const DeviceId& ours, WallTime silent) const;
  // The names of the devices that keep it from being greater.
  std::set<std::string> waited_for(const DeviceId& ours, WallTime silent) const;

 private:
  friend class TailBatch;

  const ReadRow read_row_;
  mutable Mutex mutex_{Rank::kSync};
  std::map<LogId, LogTail> tails_ GUARDED_BY(mutex_);
};

// Records that are about to be applied, on top of what is. Not thread-safe.
class TailBatch : public TailView {
 public:
  explicit TailBatch(LogTails& base) : base_(base) {}

  std::optional<LogTail> find(const LogId& log) const override;
  Result<std::optional<RecordMark>> mark(const LogId& log, uint64_t number) const override;

  // Counts a verified record as applied. `stamps` of what it quotes come from this view.
  Result<void> add(const OpenedRecord& opened);

  // As LogTails says it, once this is committed.
  uint64_t stable_stamp(const DeviceId& ours, WallTime silent) const;
  // Whether the author of this log's newest record knew every record of others up to this stamp.
  Result<bool> knows_all(const LogId& log, uint64_t stamp) const;

  std::vector<RowPut> rows() const;  // to be written in the same step as the records
  void commit();                     // after that step
  bool empty() const { return marks_.empty(); }

 private:
  LogTails& base_;
  std::map<LogId, LogTail> tails_;
  std::map<std::pair<LogId, uint64_t>, RecordMark> marks_;
};

}  // namespace coffer
