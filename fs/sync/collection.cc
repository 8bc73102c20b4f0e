#include "fs/sync/collection.h"

#include "base/bytes.h"

namespace coffer {

namespace {

constexpr uint8_t kRowVersion = 1, kSumsVersion = 2;
constexpr size_t kPrefix = sizeof kDeadPrefix - 1;

}  // namespace

RowKey dead_object_key(const ObjectId& id) { return clear_key(kDeadPrefix + std::string(as_string(id.view()))); }

Result<ObjectId> parse_dead_object_key(std::string_view key) {
  if (key.size() != kPrefix + ObjectId::kSize || !key.starts_with(kDeadPrefix))
    return fail(Code::kCorrupt, "the row of a dead object has a wrong key");
  return ObjectId::from(as_bytes(key.substr(kPrefix)));
}

Bytes encode(const DeadObject& object) {
  Bytes out;
  Writer w(out);
  w.u8(kRowVersion);
  w.u8(static_cast<uint8_t>(object.kind));
  w.u64(object.bytes);
  w.u64(static_cast<uint64_t>(object.since.ns));
  return out;
}

Result<DeadObject> decode_dead_object(BytesView row) {
  Reader in(row);
  if (in.u8() > kRowVersion) return fail(Code::kTooNew, "the row of a dead object was written by a later coffer");
  DeadObject out;
  const uint8_t kind = in.u8();
  out.bytes = in.u64();
  out.since.ns = static_cast<int64_t>(in.u64());
  if (!in.at_end() || kind < 1 || kind > 3) return fail(Code::kCorrupt, "the row of a dead object is damaged");
  out.kind = static_cast<DeadObject::Kind>(kind);
  return out;
}

RowKey collection_key() { return clear_key("Sl"); }

Bytes encode(const Collection& collection) {
  Bytes out;
  Writer w(out);
  w.u8(kSumsVersion);
  w.u64(static_cast<uint64_t>(collection.when.ns));
  for (const Collection::Sum* sum : {&collection.live, &collection.freed, &collection.waiting, &collection.unknown,
                                     &collection.archived, &collection.single}) {
    w.u64(sum->objects);
    w.u64(sum->bytes);
  }
  return out;
}

Result<Collection> decode_collection(BytesView row) {
  Reader in(row);
  const uint8_t version = in.u8();
  if (version > kSumsVersion) return fail(Code::kTooNew, "what the last collection did was written by a later coffer");
  Collection out;
  out.when.ns = static_cast<int64_t>(in.u64());
  for (Collection::Sum* sum : {&out.live, &out.freed, &out.waiting, &out.unknown, &out.archived, &out.single}) {
    if (version < 2 && (sum == &out.archived || sum == &out.single)) continue;
    sum->objects = in.u64();
    sum->bytes = in.u64();
  }
  if (!in.at_end()) return fail(Code::kCorrupt, "the row of the last collection is damaged");
  return out;
}

}  // namespace coffer
