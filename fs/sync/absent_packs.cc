#include "fs/sync/absent_packs.h"

#include "fs/sync/object_keys.h"

namespace coffer {

namespace {
std::string problem_key(const ObjectId& pack) { return "pack " + pack.str(); }
}  // namespace

// A record carries it, or it is an object of its own.
std::string AbsentPacks::describe(const std::string& key) const {
  auto record = parse_record_key(key);
  return record ? c_.describe(record->log, record->number) : "the object " + key;
}

void AbsentPacks::answered(const ObjectId& pack, const std::string& key, bool there) {
  {
    MutexLock lock(mutex_);
    if (there ? packs_.erase(pack) == 0 : !packs_.emplace(pack, Absent{key, c_.clock.monotonic()}).second) return;
  }
  if (!there) return c_.not_here_yet.set(problem_key(pack), describe(key) + ", with contents of files", "");
  c_.not_here_yet.clear(problem_key(pack));
  c_.problems.clear(problem_key(pack));
}

void AbsentPacks::tell() {
  std::map<ObjectId, std::string> missing;
  {
    MutexLock lock(mutex_);
    const Nanos now = c_.clock.monotonic();
    for (const auto& [pack, absent] : packs_)
      if (now - absent.since >= c_.options.missing_after) missing.emplace(pack, absent.key);
  }
  for (const auto& [pack, key] : missing) {
    c_.not_here_yet.clear(problem_key(pack));
    c_.problems.set(
        problem_key(pack), describe(key) + " is not in the store, and contents of files are in it",
        "Those files cannot be read here. `coffer check --repair` on a device that still has the data puts it "
        "back, and `coffer check` names the files; otherwise ask whoever runs the store for the object " +
            key);
  }
}

}  // namespace coffer
