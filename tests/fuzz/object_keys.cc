// The names of objects, as a LIST gives them.
#include "fs/sync/object_keys.h"

#include "remote/object_store.h"
#include "tests/fuzz/fuzz.h"

void coffer::fuzz::run(BytesView input) {
  std::string_view key = as_string(input);
  if (auto record = parse_record_key(key)) require(record->key() == key, "a record has one key");
  if (auto record = parse_hint_key(key)) require(record->hint() == key, "a record has one hint");
  if (auto id = parse_archive_key(key)) require(archive_key(*id) == key, "an archive has one key");
  if (auto log = parse_log_prefix(key)) require(log_prefix(*log) == key, "a log has one prefix");
  if (auto id = parse_pack_key(key)) require(pack_key(*id) == key, "a pack has one key");
  if (auto name = parse_slot_key(key))
    require((name->removal      ? slot_removal_key(name->slot)
             : name->revocation ? revocation_key(name->slot)
                                : slot_key(name->slot)) == key,
            "a slot has one name");
  if (auto epoch = parse_epoch_hint(key)) require(epoch_hint(*epoch) == key, "an epoch has one hint");
  if (auto name = parse_pair_key(key))
    require((name->answer ? pair_answer_key(name->request) : pair_request_key(name->request)) == key,
            "a request has one name, and its answer has");
  if (auto name = parse_checkpoint_hint(key)) require(name->hint() == key, "a checkpoint has one hint");
}
