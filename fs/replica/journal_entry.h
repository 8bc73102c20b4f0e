// One journal entry: the row puts of one atomic step, and the frames that they name for the first time; or the bytes of frames
// that are durable in the journal and not yet in their pack.
#pragma once

#include <span>
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

// layout: version u8 = 1, or 2 with recent frames | count varint | count x ( clear varint, key bytes, present u8, value bytes if present )
//         | count varint | count x ( pack 16, offset u32, length u32, frame length u32 )
//         | with version 2: count varint | count x ( pack 16, offset u32, sealed bytes )
Bytes encode_journal_entry(std::span<const RowPut> puts, std::span<const model::Extent> frames,
                           std::span<const RecentFrame> recent = {});
Result<JournalEntry> decode_journal_entry(BytesView payload);

}  // namespace coffer
