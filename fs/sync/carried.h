// Packs that a record names, and frames that it carries inside.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cache/pack_store.h"
#include "fs/replica/replica.h"
#include "fs/sync/record.h"

namespace coffer {

// Calls `visit` with each frame that `opened` carries and refers to, after checking it against its extent. kCorrupt: one is
// not what the record says.
Result<void> visit_carried(const OpenedRecord& opened, BytesView object,
                           const std::function<Result<void>(const FrameRef&, BytesView)>& visit);
// Keeps the frames that `opened` carries on this machine, after checking each against its extent. kCorrupt: one is not
// what the record says.
Result<void> keep_carried(const OpenedRecord& opened, BytesView object, PackStore& packs);
// Where the packs of a record are.
std::vector<std::pair<ObjectId, PackPlace>> places_of(const OpenedRecord& opened, const std::string& key);

}  // namespace coffer
