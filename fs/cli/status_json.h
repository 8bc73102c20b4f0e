// The state of a mounted volume as JSON (what --json prints), and that JSON for people.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fs/cli/confinement.h"
#include "fs/cli/failure.h"
#include "fs/fuse/mount.h"
#include "fs/replica/replica.h"
#include "fs/sync/synchronizer.h"
#include "remote/object_store.h"

namespace coffer::cli {

nlohmann::json status_json(const SyncStatus& status, WallTime now);
nlohmann::json device_json(const DeviceStatus& device, WallTime now);
nlohmann::json counters_json(const StoreCounters& counters);
nlohmann::json counters_json(const ReplicaCounters& counters);
// Packs on the local disk, and whether that is full.
nlohmann::json cache_json(const ReplicaCounters& counters);
nlohmann::json counters_json(const std::vector<UpcallCount>& counts);
nlohmann::json confinement_json(const Confinement& confinement);
std::string confinement_text(const nlohmann::json& confinement);

nlohmann::json rewriting_json(const std::optional<Rewriting>& rewriting);  // null: it was never asked for
nlohmann::json collection_json(const Collection& collection);
// Says what to do about it.
Failure collect_failure(const Error& error);
std::string collection_text(const nlohmann::json& collection, bool dry_run);

// Fields that are missing or of another type are left out: the daemon may be of another version.
std::string status_text(const nlohmann::json& status);
// A table of what is in status's "devices".
std::string devices_text(const nlohmann::json& devices);

}  // namespace coffer::cli
