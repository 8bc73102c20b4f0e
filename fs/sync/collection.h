// What collecting works with: objects that nobody needs any more, since when, and what was done about it.
//
// Rows (keys clear): "Sg" object 16 -> version u8 = 1 | kind u8 | bytes u64 | since i64: an object that is dead (DeadObject)
//                    "Sl"           -> version u8 = 2 | when i64 | live, freed, waiting, unknown, archived, single, each:
//                                      objects u64 | bytes u64 (1: without the last two)
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/rows.h"

namespace coffer {

// An object that was found dead, and at every look since; or one that belonged to a checkpoint, and may be in the newest
// ones still.
struct DeadObject {
  enum class Kind : uint8_t { kPack = 1, kSegment = 2, kRoot = 3 };
  Kind kind = Kind::kPack;
  uint64_t bytes = 0;
  WallTime since;  // by this machine's clock
  bool operator==(const DeadObject&) const = default;
};

inline constexpr char kDeadPrefix[] = "Sg";
RowKey dead_object_key(const ObjectId& id);
Result<ObjectId> parse_dead_object_key(std::string_view key);
Bytes encode(const DeadObject& object);
Result<DeadObject> decode_dead_object(BytesView row);

struct Collection {
  struct Sum {
    uint64_t objects = 0, bytes = 0;
    void add(uint64_t size) { ++objects, bytes += size; }
    bool operator==(const Sum&) const = default;
  };
  WallTime when;
  Sum live;      // packs that are objects of their own, and that files refer to
  Sum freed;     // deleted; of a dry run: that would have been
  Sum waiting;   // dead, and not for long enough
  Sum archived;  // records that were put into archives (archiver.h)
  Sum single;    // objects of records that were deleted, since archives hold them
  Sum unknown;   // only when the objects were listed: neither packs of any record nor of a checkpoint that is known
  bool operator==(const Collection&) const = default;
};

RowKey collection_key();
Bytes encode(const Collection& collection);
Result<Collection> decode_collection(BytesView row);

}  // namespace coffer
