#include "fs/sync/archive_rows.h"

namespace coffer {

namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kPrefix = sizeof kArchiveSeenPrefix - 1;

RowKey beginning_key(const ObjectId& archive) { return clear_key("Sh" + std::string(as_string(archive.view()))); }

}  // namespace

RowKey archive_seen_key(const ObjectId& archive) {
  return clear_key(kArchiveSeenPrefix + std::string(as_string(archive.view())));
}

Result<ObjectId> parse_archive_seen_key(std::string_view key) {
  if (key.size() != kPrefix + ObjectId::kSize || !key.starts_with(kArchiveSeenPrefix))
    return fail(Code::kCorrupt, "the row of an archive has a wrong key");
  return ObjectId::from(as_bytes(key.substr(kPrefix)));
}

Bytes encode_archive_seen(WallTime since) {
  Bytes out;
  Writer w(out);
  w.u8(kVersion);
  w.u64(static_cast<uint64_t>(since.ns));
  return out;
}

Result<WallTime> decode_archive_seen(BytesView row) {
  Reader in(row);
  if (in.u8() > kVersion) return fail(Code::kTooNew, "the row of an archive was written by a later coffer");
  const WallTime since{static_cast<int64_t>(in.u64())};
  if (!in.at_end()) return fail(Code::kCorrupt, "the row of an archive is damaged");
  return since;
}

ArchivedLogs::Memory remember_archives(Replica& replica) {
  ArchivedLogs::Memory out;
  out.find = [&replica](const ObjectId& archive) -> std::optional<Bytes> {
    auto row = replica.get_row(beginning_key(archive));
    if (!row || !*row || (*row)->empty() || (*row)->front() != kVersion) return std::nullopt;
    return Bytes((*row)->begin() + 1, (*row)->end());
  };
  out.keep = [&replica](const ObjectId& archive, BytesView beginning) {
    Bytes value;
    Writer w(value);
    w.u8(kVersion);
    w.raw(beginning);
    const RowPut row{beginning_key(archive), std::move(value)};
    (void)replica.put_rows(std::span(&row, 1), false);
  };
  out.forget = [&replica](const ObjectId& archive) {
    const RowPut row{beginning_key(archive), std::nullopt};
    (void)replica.put_rows(std::span(&row, 1), false);
  };
  return out;
}

}  // namespace coffer
