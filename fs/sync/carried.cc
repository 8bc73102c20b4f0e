#include "fs/sync/carried.h"

#include <map>

#include "crypto/hash.h"
#include "fs/sync/object_keys.h"

namespace coffer {

Result<void> visit_carried(const OpenedRecord& opened, BytesView object,
                           const std::function<Result<void>(const FrameRef&, BytesView)>& visit) {
  std::map<ObjectId, const RecordPack*> carried;
  for (const RecordPack& pack : opened.record.packs)
    if (pack.carried) carried.emplace(pack.id, &pack);
  if (carried.empty()) return {};
  return model::visit_extents(opened.record.changes, [&](const model::Extent& extent) -> Result<void> {
    const FrameRef& ref = extent.frame;
    auto it = carried.find(ref.pack);
    if (it == carried.end()) return {};
    const RecordPack& pack = *it->second;
    if (ref.offset < pack.first || uint64_t{ref.offset} + ref.length > pack.first + pack.length)
      return fail(Code::kCorrupt, "it refers to bytes that it does not carry");
    BytesView sealed = object.subspan(opened.carried_at + pack.at + (ref.offset - pack.first), ref.length);
    if (blake2b(sealed) != ref.hash) return fail(Code::kCorrupt, "it carries bytes that do not verify");
    return visit(ref, sealed);
  });
}

Result<void> keep_carried(const OpenedRecord& opened, BytesView object, PackStore& packs) {
  return visit_carried(opened, object,
                       [&packs](const FrameRef& ref, BytesView sealed) { return packs.store_frame(ref, sealed); });
}

std::vector<std::pair<ObjectId, PackPlace>> places_of(const OpenedRecord& opened, const std::string& key) {
  std::vector<std::pair<ObjectId, PackPlace>> out;
  for (const RecordPack& pack : opened.record.packs) {
    if (pack.carried)
      out.emplace_back(pack.id, PackPlace{key, opened.carried_at + pack.at - pack.first, pack.first + pack.length});
    else
      out.emplace_back(pack.id, PackPlace{pack_key(pack.id), 0, pack.size});
  }
  return out;
}

}  // namespace coffer
