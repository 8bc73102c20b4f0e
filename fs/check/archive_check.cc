#include "fs/check/archive_check.h"

#include "fs/sync/object_keys.h"
#include "fs/sync/record.h"

namespace coffer {

namespace {

constexpr char kTodo[] =
    "The records in it of which nothing else is in the store are told as missing or damaged, each by itself; a device "
    "that still has one puts it back (`coffer check --repair`). Ask whoever runs the store for the object.";

}  // namespace

Result<void> check_archives(CheckContext& c, const std::set<std::string>& good) {
  for (const auto& [key, size] : c.objects) {
    auto id = parse_archive_key(key);
    if (!id) continue;
    auto report = [&](Trouble trouble, const std::string& why) {
      c.report({trouble, "archive", key, "the archive of records " + id->str().substr(0, 8) + "... " + why, kTodo, {}});
    };
    TRY(std::optional<Bytes> object, c.get(key, kArchiveMax, [&](const Error& e) {
      report(e.code() == Code::kNotFound ? Trouble::kMissing : Trouble::kDamaged, "cannot be read: " + e.what());
    }));
    if (!object) continue;
    auto needed = archive_index_size(*object);
    auto index = decode_archive_index(*id, *object);
    if (!index) {
      const bool cut = needed ? object->size() < *needed : needed.error().code() == Code::kUnavailable;
      report(index.error().code() == Code::kTooNew ? Trouble::kTooNew
             : cut                                 ? Trouble::kCutOff
                                                   : Trouble::kDamaged,
             "is refused: " + index.error().what());
      continue;
    }
    if (object->size() != index->object_size) {
      report(object->size() < index->object_size ? Trouble::kCutOff : Trouble::kDamaged,
             "has " + std::to_string(object->size()) + " bytes instead of " + std::to_string(index->object_size));
      continue;
    }
    size_t bad = 0, elsewhere = 0;
    for (const ArchivedRecord& record : index->records) {
      const BytesView bytes = BytesView(*object).subspan(record.offset, record.size);
      if (record.is(bytes) && open_record(bytes, c.volume, record.name.log, record.name.number, c.keys())) continue;
      ++bad;
      if (good.contains(record.name.key())) ++elsewhere;
    }
    if (bad > 0)
      report(elsewhere == bad ? Trouble::kUnneeded : Trouble::kDamaged,
             "has " + std::to_string(bad) + " records of " + std::to_string(index->records.size()) +
                 " that do not open" + (elsewhere == bad ? ", and that are to be had elsewhere" : ""));
  }
  return {};
}

}  // namespace coffer
