#include "fs/cli/open_drive.h"

#include <unistd.h>

#include "remote/open_store.h"

namespace coffer::cli {

Outcome<OpenDrive> open_remote(const Target& target) {
  OpenDrive drive;
  drive.meter = std::make_shared<TransferMeter>();
  TRY(drive.store, open_store(target.store, drive.meter));
  // Another program may carry the files of a directory, and take its time.
  if (!target.store.url.starts_with("s3:") && !target.store.url.starts_with("webdav"))
    drive.sync.missing_after = std::chrono::hours(24);
  drive.sync.silent_after = target.settings.silent_after.value_or(drive.sync.silent_after);
  return drive;
}

Outcome<void> open_local(OpenDrive& drive, std::unique_ptr<UnlockedVolume> volume, const SpaceLimits& limits,
                         std::stop_token stop) {
  drive.volume = std::move(volume);
  UnlockedVolume& v = *drive.volume;
  Replica::Keys keys{v.directory.volume(), std::make_unique<KeyRing>(v.secrets.epoch_keys), std::move(v.local)};
  Replica::Options options;
  options.device_name = v.identity.name;
  options.root_uid = ::geteuid();
  options.root_gid = ::getegid();
  options.space = limits;
  auto replica = Replica::open(v.directory.replica_path(), std::move(keys), options);
  if (!replica) {
    Failure failure = Failure(replica.error()).in(v.directory.replica_path());
    if (failure.exit == Exit::kDamaged) failure.todo = advice_for_damage(v.directory.path());
    return give_up(failure);
  }
  drive.replica = std::move(*replica);
  drive.sync.slot_copies = drive.slots.get();
  drive.synchronizer = std::make_unique<Synchronizer>(*drive.replica, *drive.store, v.identity, v.secrets, drive.sync);
  TRYV(drive.synchronizer->start());
  TRY(bool has_root, drive.replica->has_root());
  if (!has_root) {
    if (auto loaded = drive.synchronizer->load_first(stop); !loaded) return give_up(Failure(loaded.error()));
    TRY(has_root, drive.replica->has_root());
    // Nobody has published anything yet: coffer init was cut short, and we finish what it began.
    if (!has_root) TRYV(drive.replica->make_root());
  }
  return {};
}

Outcome<void> load_all(OpenDrive& drive, std::stop_token stop) {
  if (auto loaded = drive.synchronizer->load_rest(stop); !loaded) return give_up(Failure(loaded.error()));
  return {};
}

Outcome<void> unlock_and_open_local(OpenDrive& drive, const Target& target, std::stop_token stop) {
  TRY(UnlockedVolume volume, unlock_volume(target, *drive.store, stop));
  TRY(SpaceLimits limits, usual_space_limits(volume.directory.path()));
  TRYV(open_local(drive, std::make_unique<UnlockedVolume>(std::move(volume)), limits, stop));
  return load_all(drive, stop);
}

}  // namespace coffer::cli
