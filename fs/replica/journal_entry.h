// One journal entry: the row puts of one atomic step, and the frames that they name for the first time.
#pragma once

#include <span>
#include <vector>

#include "base/rows.h"
#include "fs/model/types.h"

namespace coffer {

struct JournalEntry {
  std::vector<RowPut> puts;
  std::vector<model::Extent> frames;  // replay stops before an entry whose frames did not survive
};

// layout: version u8 = 1 | count varint | count x ( clear varint, key bytes, present u8, value bytes if present )
//         | count varint | count x ( pack 16, offset u32, length u32, frame length u32 )
Bytes encode_journal_entry(std::span<const RowPut> puts, std::span<const model::Extent> frames);
Result<JournalEntry> decode_journal_entry(BytesView payload);

}  // namespace coffer
