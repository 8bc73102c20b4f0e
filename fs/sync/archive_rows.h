// What a device notes of archives of records (record_archive.h).
//
// Rows (keys clear): "Sh" archive 16 -> version u8 = 1 | the archive's beginning, up to where the records begin
//                    "Si" archive 16 -> version u8 = 1 | since i64: seen in the store, beside objects of the same records, at
//                                       this look by the collector and at each one since
#pragma once

#include <string_view>

#include "base/clock.h"
#include "base/ids.h"
#include "base/rows.h"
#include "fs/replica/replica.h"
#include "fs/sync/archived_logs.h"

namespace coffer {

inline constexpr char kArchiveSeenPrefix[] = "Si";
RowKey archive_seen_key(const ObjectId& archive);
Result<ObjectId> parse_archive_seen_key(std::string_view key);
Bytes encode_archive_seen(WallTime since);
Result<WallTime> decode_archive_seen(BytesView row);

// Borrows the replica.
ArchivedLogs::Memory remember_archives(Replica& replica);

}  // namespace coffer
