// Archives: many records in one object log/archive/<id>, byte for byte as they lie in the store one by one.
//
//     0  "coffarch" 8
//     8  version u16 = 1
//    10  the archive's id 16
//    26  length of the index u32
//    30  index
//        BLAKE2b-256 of all before
//        the records, one after the other
// index, by log and number, both rising:
//   count varint | count x ( log 16 | count varint
//                            | count x ( number varint, from the one before, the first from 0 | tag u64
//                                        | check u64: of BLAKE2b-256 of the record as it is, the first 8 bytes
//                                        | offset varint, from the first record's first byte | size varint ) )
//
// An archive is no more than a place: who reads a record from it checks it as if it lay by itself, and what the index
// tells, the names of the objects told the store before. So nothing of it is sealed once more, and the hashes are only
// there to tell damage.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "fs/sync/object_keys.h"

namespace coffer {

inline constexpr uint16_t kArchiveVersion = 1;
inline constexpr size_t kArchiveMax = 64 << 20;        // of the object; larger ones are passed over
inline constexpr size_t kArchiveIndexMax = 1 << 20;    // of its index; as many as there can be records of 4 KiB
inline constexpr size_t kArchivedRecordMax = 1 << 20;  // larger ones are not worth it
inline constexpr size_t kArchiveFirstRead = 64 << 10;  // bytes that hold the index of most

struct ArchivedRecord {
  RecordName name;
  uint64_t check = 0;
  uint64_t offset = 0, size = 0;  // in the object
  bool is(BytesView bytes) const;
  bool operator==(const ArchivedRecord&) const = default;
};

struct ArchiveIndex {
  std::vector<ArchivedRecord> records;  // by name
  uint64_t object_size = 0;

  const ArchivedRecord* find(const RecordName& name) const;
};

// The records lie in it in the order in which they are given; no log and number twice.
Bytes make_archive(const ObjectId& archive, std::span<const std::pair<RecordName, Bytes>> records);
// How many bytes the object's beginning has to have for decode_archive_index. kUnavailable: more than are given here are
// needed to know; kCorrupt, kTooNew.
Result<size_t> archive_index_size(BytesView beginning);
// kCorrupt, also when it is another archive; kTooNew.
Result<ArchiveIndex> decode_archive_index(const ObjectId& archive, BytesView beginning);

}  // namespace coffer
