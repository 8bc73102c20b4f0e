#include "fs/check/replica_check.h"

#include <map>
#include <set>

#include "fs/check/paths.h"

namespace coffer {
namespace {

std::string pack_file(const std::string& directory, const ObjectId& pack) {
  const std::string id = pack.str();
  return directory + "/packs/" + id.substr(0, 2) + "/" + id;
}

}  // namespace

Result<ReplicaFindings> check_replica(Replica& replica, const std::string& directory, bool drop,
                                      const std::stop_token& stop) {
  ReplicaFindings out;
  auto faults = replica.find_faults();
  if (!faults && faults.error().code() != Code::kCorrupt) return fail(faults.error());
  if (!faults) {
    out.damages.push_back(unreadable_replica(directory, faults.error()));
    return out;
  }
  for (const std::string& fault : *faults)
    out.damages.push_back({Trouble::kDamaged,
                           "replica",
                           directory,
                           "the state on this device is unsound: " + fault,
                           unreadable_replica(directory, Error(Code::kCorrupt, "")).todo,
                           {}});
  struct Bad {
    std::set<Ino> files;
    std::vector<FrameRef> frames;
  };
  std::map<ObjectId, Bad> bad;
  Bytes plain;
  auto look = [&](Ino ino, std::span<const model::Extent> extents) -> Result<void> {
    for (const model::Extent& e : extents) {
      plain.resize(e.frame_length);
      auto read = replica.packs().read(e.frame, plain);
      if (read || read.error().code() == Code::kCorrupt) ++out.frames;
      if (read || read.error().code() == Code::kNotFound) continue;
      if (read.error().code() != Code::kCorrupt) return fail(read.error());
      bad[e.frame.pack].files.insert(ino);
      bad[e.frame.pack].frames.push_back(e.frame);
    }
    return {};
  };
  TRYV(visit_files(replica, stop, look, &out.files));
  for (const auto& [pack, b] : bad) {
    TRY(auto place, replica.place_of(pack));
    Damage damage{Trouble::kDamaged,
                  "replica",
                  pack_file(directory, pack),
                  std::to_string(b.frames.size()) + " frames of a pack that is kept on this device do not open",
                  {},
                  {}};
    if (!place)
      damage.todo = "The store has not got them yet: what was written there is lost. The disk may be failing.";
    else if (!drop)
      damage.todo =
          "The store has them: with `coffer check --repair`, or when the file is read, they are fetched again.";
    for (Ino ino : b.files)
      if (auto path = path_of(replica, ino)) damage.paths.push_back(*path);
    if (damage.paths.size() > kPathsTold) {
      damage.more_paths = damage.paths.size() - kPathsTold;
      damage.paths.resize(kPathsTold);
    }
    if (place && drop) {
      for (const FrameRef& frame : b.frames) TRYV(replica.packs().drop_range(pack, frame.offset, frame.length));
      damage.repaired = "They were dropped, and are fetched again when somebody reads them.";
    }
    out.damages.push_back(std::move(damage));
  }
  return out;
}

Result<std::vector<LogTail>> seen_tails(Replica& replica, const DeviceId& own) {
  std::vector<LogTail> out;
  TRY(auto rows, replica.rows_with_prefix(LogTails::kTailPrefix));
  for (const Row& row : rows) {
    const size_t prefix = std::string_view(LogTails::kTailPrefix).size();
    if (row.key.size() != prefix + LogId::kSize) continue;
    TRY(LogTail tail, decode_tail(LogId::from(as_bytes(std::string_view(row.key).substr(prefix))), row.value));
    if (tail.device == own && tail.open()) --tail.number;
    if (tail.number > 0) out.push_back(std::move(tail));
  }
  return out;
}

Damage unreadable_replica(const std::string& directory, const Error& error) {
  return {
      Trouble::kDamaged,
      "replica",
      directory,
      "the replica on this device is damaged: " + error.what(),
      "What the store has is safe. Look at the disk; then move the volume's part of the state directory away and mount "
      "again: all that is in the store comes back. What was not uploaded yet is in that directory only.",
      {}};
}

}  // namespace coffer
