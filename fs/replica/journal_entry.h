// One journal entry: the row puts of one atomic step, and the frames that they name for the first time; or the bytes of frames
// that are durable in the journal and not yet in their pack.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/rows.h"
#include "cache/pack_store.h"
#include "fs/model/types.h"

namespace coffer {

struct JournalEntry {
  std::vector<RowPut> puts;
  std::vector<model::Extent> frames;  // replay stops before an entry whose frames did not survive
  std::vector<RecentFrame> recent;    // given back to their packs before the replay
};

// Row puts in the form that an entry has them in: of many, made ahead of the entry.
class EncodedPuts {
 public:
  void add(std::string_view key, size_t clear, const std::optional<Bytes>& value);
  void add(std::span<const RowPut> puts);
  size_t count() const { return count_; }
  BytesView bytes() const { return bytes_; }

 private:
  size_t count_ = 0;
  Bytes bytes_;
};

// layout: version u8 = 1, or 2 with recent frames | count varint | count x ( clear varint, key bytes, present u8, value bytes if present )
//         | count varint | count x ( pack 16, offset u32, length u32, frame length u32 )
//         | with version 2: count varint | count x ( pack 16, offset u32, sealed bytes )
Bytes encode_journal_entry(std::span<const RowPut> puts, std::span<const model::Extent> frames,
                           std::span<const RecentFrame> recent = {});
// What comes before and after the encoded puts of an entry that has nothing else.
Bytes journal_entry_head(size_t puts);
Bytes journal_entry_tail();
Result<JournalEntry> decode_journal_entry(BytesView payload);

}  // namespace coffer
