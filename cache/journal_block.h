// The bytes of a journal file: its header and its blocks (laid out in cache/journal.h). Internal to this layer.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "cache/table.h"
#include "crypto/keys.h"

namespace coffer {

inline constexpr size_t kJournalGrain = 4096;  // header and blocks start at multiples of this

struct JournalHeader {
  ObjectId id;  // random, new for each life of a file
  Lsn first = 0;
};

Bytes encode_journal_header(const JournalHeader& header);  // kJournalGrain bytes
// nullopt: no header, as when a crash came before it was written. kTooNew.
Result<std::optional<JournalHeader>> decode_journal_header(BytesView bytes);

// The first bytes of a block.
inline constexpr size_t kBlockHead = 8;

// Gathers entries where sealing in place wants them. Not thread-safe.
class JournalBlock {
 public:
  JournalBlock(Lsn first, size_t payload_expected);

  void add(BytesView payload) { add(std::span(&payload, 1)); }
  void add(std::span<const BytesView> payload);  // in parts
  // After it there is no more adding, and bytes() is what the file holds at `offset`.
  void seal(const AeadKey& key, const VolumeId& volume, const ObjectId& file, uint64_t offset, Lsn durable);

  Lsn first() const { return first_; }
  Lsn end() const { return first_ + count_; }  // the lsn after its last
  size_t payload() const { return payload_; }  // bytes of entries, with their lengths
  size_t disk_size() const;                    // a multiple of kJournalGrain
  bool sealed() const { return sealed_; }
  BytesView bytes() const { return bytes_; }

 private:
  Lsn first_;
  uint32_t count_ = 0;
  size_t payload_ = 0;
  bool sealed_ = false;
  Bytes bytes_;
};

// A block that was read back.
struct OpenedBlock {
  Lsn first = 0;
  Lsn durable = 0;
  std::vector<BytesView> entries;  // into `plain`
  Bytes plain;
  size_t disk_size = 0;

  Lsn end() const { return first + entries.size(); }
};

// The length of the sealed bytes that follow `head`, or nullopt when no block of that file starts at `offset`.
std::optional<uint32_t> block_length(BytesView head, const ObjectId& file, uint64_t offset);
// nullopt: does not open, or is not what seal() makes.
std::optional<OpenedBlock> open_block(BytesView sealed, const AeadKey& key, const VolumeId& volume,
                                      const ObjectId& file, uint64_t offset);

}  // namespace coffer
