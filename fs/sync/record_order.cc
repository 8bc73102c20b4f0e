#include "fs/sync/record_order.h"

namespace coffer {

Result<std::vector<RecordPlace>> applied_places(Replica& replica) {
  std::vector<RecordPlace> out;
  TRY(auto marks, replica.rows_with_prefix(LogTails::kMarkPrefix));
  out.reserve(marks.size());
  for (const Row& row : marks) {
    auto place = LogTails::parse_mark_key(row.key);
    if (!place) return fail(Code::kCorrupt, "the row of a record has a wrong key");
    TRY(RecordMark mark, LogTails::decode_mark(row.value));
    out.push_back({mark.stamp, place->first, place->second, mark.hash});
  }
  return out;
}

OrderedRecord ordered(const OpenedRecord& opened, model::ChangeSet changes, const std::optional<LogTail>& author) {
  return {opened.record.stamp,
          opened.log,
          opened.number,
          {opened.hash, author ? author->name : std::string(), opened.record.when},
          std::move(changes)};
}

}  // namespace coffer
