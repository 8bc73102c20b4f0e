// Archives of records: the object from whoever runs the store. Its index has a hash, which anybody can make.
#include "crypto/hash.h"
#include "fs/sync/record_archive.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {
namespace {

const ObjectId kArchive;

void open(BytesView object) {
  (void)archive_index_size(object);
  auto index = decode_archive_index(kArchive, object);
  if (!index) return;
  require(!index->records.empty() && index->object_size <= kArchiveMax, "an archive has records, and an end");
  std::vector<std::pair<RecordName, Bytes>> records;
  for (const ArchivedRecord& record : index->records) {
    require(record.offset + record.size <= index->object_size, "a record ends with the object, or before");
    require(index->find(record.name) == &record, "a record is found by its name");
    records.emplace_back(record.name, Bytes(record.size % 100));
  }
  ArchiveIndex again = must(decode_archive_index(kArchive, make_archive(kArchive, records)));
  require(again.records.size() == records.size(), "an archive comes back");
  for (const auto& [name, bytes] : records) require(again.find(name)->is(bytes), "a record comes back");
}

}  // namespace

// what u8: 0, an object; else an index.
void run(BytesView input) {
  Input in(input);
  if (in.byte() == 0) return open(in.rest());
  const BytesView index = in.rest();
  Bytes object;
  Writer out(object);
  out.raw(as_bytes("coffarch"));
  out.u16(kArchiveVersion);
  out.id(kArchive);
  out.u32(static_cast<uint32_t>(index.size()));
  out.raw(index);
  out.id(blake2b(object));
  open(object);
}

}  // namespace coffer::fuzz
