#include "fs/sync/record_archive.h"

#include <algorithm>
#include <optional>

#include "crypto/hash.h"

namespace coffer {

namespace {

constexpr char kMagic[] = "coffarch";
constexpr size_t kIdAt = 8 + 2;
constexpr size_t kHeader = 8 + 2 + ObjectId::kSize + 4;
constexpr size_t kEntryMin = 1 + 8 + 8 + 1 + 1, kLogMin = LogId::kSize + 1 + kEntryMin;

uint64_t check_of(BytesView record) { return Reader(blake2b(record).view()).u64(); }

std::unexpected<Error> damaged() { return fail(Code::kCorrupt, "the archive of records is damaged"); }

}  // namespace

bool ArchivedRecord::is(BytesView bytes) const { return bytes.size() == size && check_of(bytes) == check; }

const ArchivedRecord* ArchiveIndex::find(const RecordName& name) const {
  auto it = std::ranges::lower_bound(records, name, {}, &ArchivedRecord::name);
  return it != records.end() && it->name == name ? &*it : nullptr;
}

Bytes make_archive(const ObjectId& archive, std::span<const std::pair<RecordName, Bytes>> records) {
  std::vector<ArchivedRecord> entries;
  uint64_t offset = 0;
  for (const auto& [name, bytes] : records) {
    entries.push_back({name, check_of(bytes), offset, bytes.size()});
    offset += bytes.size();
  }
  std::ranges::sort(entries, {}, &ArchivedRecord::name);
  std::vector<std::span<const ArchivedRecord>> logs;
  for (size_t first = 0, end = 0; first < entries.size(); first = end) {
    while (end < entries.size() && entries[end].name.log == entries[first].name.log) ++end;
    logs.push_back(std::span(entries).subspan(first, end - first));
  }
  Bytes index;
  Writer w(index);
  w.varint(logs.size());
  for (std::span<const ArchivedRecord> log : logs) {
    w.id(log.front().name.log);
    w.varint(log.size());
    uint64_t before = 0;
    for (const ArchivedRecord& entry : log) {
      w.varint(entry.name.number - std::exchange(before, entry.name.number));
      w.u64(entry.name.tag);
      w.u64(entry.check);
      w.varint(entry.offset);
      w.varint(entry.size);
    }
  }
  Bytes out;
  out.reserve(kHeader + index.size() + Hash::kSize + offset);
  Writer o(out);
  o.raw(as_bytes(kMagic));
  o.u16(kArchiveVersion);
  o.id(archive);
  o.u32(static_cast<uint32_t>(index.size()));
  o.raw(index);
  o.id(blake2b(out));
  for (const auto& [name, bytes] : records) o.raw(bytes);
  return out;
}

Result<size_t> archive_index_size(BytesView beginning) {
  Reader in(beginning);
  const BytesView magic = in.raw(sizeof kMagic - 1);
  const uint16_t version = in.u16();
  in.raw(ObjectId::kSize);
  const uint32_t length = in.u32();
  if (!in.ok()) return fail(Code::kUnavailable, "the archive of records is not wholly there");
  if (as_string(magic) != kMagic) return damaged();
  if (version != kArchiveVersion)
    return fail(Code::kTooNew,
                "the archive of records has version " + std::to_string(version) + ": written by a later coffer");
  if (length > kArchiveIndexMax) return damaged();
  return kHeader + length + Hash::kSize;
}

Result<ArchiveIndex> decode_archive_index(const ObjectId& archive, BytesView beginning) {
  TRY(size_t size, archive_index_size(beginning));
  if (beginning.size() < size) return damaged();
  const BytesView hashed = beginning.first(size - Hash::kSize);
  if (blake2b(hashed) != Hash::from(beginning.subspan(hashed.size(), Hash::kSize))) return damaged();
  if (ObjectId::from(beginning.subspan(kIdAt, ObjectId::kSize)) != archive)
    return fail(Code::kCorrupt, "another archive of records lies in its place");
  Reader in(hashed.subspan(kHeader));
  ArchiveIndex out;
  out.object_size = size;
  const size_t logs = in.count(kLogMin);
  std::optional<LogId> former;
  uint64_t sizes = 0;
  for (size_t i = 0; i < logs && in.ok(); ++i) {
    const LogId log = in.id<LogId>();
    const size_t count = in.count(kEntryMin);
    if (count == 0 || (former && log <= *former)) in.fail();
    former = log;
    uint64_t number = 0;
    for (size_t k = 0; k < count && in.ok(); ++k) {
      const uint64_t step = in.varint();
      ArchivedRecord entry;
      entry.name.log = log;
      entry.name.number = number += step;
      entry.name.tag = in.u64();
      entry.check = in.u64();
      entry.offset = in.varint();
      entry.size = in.varint();
      if (step == 0 || number < step || entry.size > kArchivedRecordMax || entry.offset > kArchiveMax) in.fail();
      entry.offset += size;
      out.object_size = std::max(out.object_size, entry.offset + entry.size);
      sizes += entry.size;
      out.records.push_back(entry);
    }
  }
  if (!in.at_end() || out.records.empty() || out.object_size > kArchiveMax) return damaged();
  if (sizes != out.object_size - size) return damaged();  // one lies behind the other, and there is nothing else
  return out;
}

}  // namespace coffer
