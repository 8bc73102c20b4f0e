#include <unistd.h>

#include <cstdio>
#include <optional>

#include "base/thread.h"
#include "fs/cli/commands.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/kdf_cost.h"
#include "fs/cli/open_drive.h"
#include "fs/cli/progress.h"
#include "fs/cli/recovery_key_output.h"
#include "fs/cli/secret_input.h"
#include "fs/cli/target.h"
#include "remote/stoppable_store.h"

namespace coffer::cli {
namespace {

Outcome<void> refuse_existing(ObjectStore& store) {
  auto head = read_volume_head(store);
  if (!head && head.error().code() == Code::kNotFound) return {};
  if (head || head.error().code() == Code::kCorrupt || head.error().code() == Code::kTooNew)
    return give_up(Exit::kBusy,
                   store.describe() + (head ? " holds a coffer volume" : " has an object 'coffer'") + " already",
                   "If it is a volume, coffer mount mounts it; for a new one choose another place.");
  return give_up(Failure(head.error()));
}

// This machine becomes the first device, and publishes the root directory.
Outcome<void> publish_root(const Target& target, OpenDrive& drive, const VolumeHead& head, VolumeSecrets secrets,
                           bool quiet, std::stop_token stop) {
  StoppableStore store(*drive.store, stop);
  TRY(VolumeDirectory directory, VolumeDirectory::open(target.state_root, head.volume));
  TRY(auto slots, find_slots(store));
  TRYV(directory.keep(head, slots));
  TRY(UnlockedVolume volume, enter_volume(target, std::move(directory), std::move(secrets)));
  TRYV(remember_volume(target.state_root, target.canonical, head.volume));
  TRYV(open_local(drive, std::make_unique<UnlockedVolume>(std::move(volume)), {}, stop));
  ProgressView view = ProgressView::on_stderr(quiet);
  auto synced = drive.synchronizer->sync(stop, [&](const SyncProgress& p) {
    view.show({p.done_bytes, p.total_bytes, p.waiting_files, p.rate, true, ""});
  });
  view.clear();
  drive.synchronizer->stop(synced.has_value());
  TRYV(drive.replica->close());
  TRYV(synced);
  return {};
}

}  // namespace

Outcome<void> run_init(const Arguments& arguments) {
  TRY(Target target, resolve_target(arguments));
  target.store.create = true;
  const std::string key_path = target.settings.recovery_key_file;
  if (arguments.no_recovery_key && !key_path.empty())
    return give_up(Exit::kUsage, "--no-recovery-key and --recovery-key-file exclude each other");
  if (!arguments.no_recovery_key) {
    if (auto can = can_hand_over(key_path); !can)
      return give_up(can.error().exit, can.error().what, "Give --recovery-key-file FILE, or --no-recovery-key.");
  }

  TRYV(check_state_root(target.state_root));

  Interrupt interrupt;
  TRY(OpenDrive drive, open_remote(target));
  StoppableStore store(*drive.store, interrupt.token());
  TRYV(refuse_existing(store));
  const VolumeSettings& settings = target.settings;
  TRY(Secret passphrase,
      get_new_passphrase(settings.passphrase_file, settings.passphrase_command, arguments.key.weak_passphrase));

  std::optional<RecoveryKey> recovery;
  if (!arguments.no_recovery_key) {
    recovery.emplace(RecoveryKey::generate());
    // Before the volume exists: no crash leaves a volume whose key nobody has.
    if (auto handed = hand_over(*recovery, key_path); !handed) return give_up(handed.error().in("no volume was made"));
  }
  const SlotNote note{"", Clock::system().wall(), device_name(settings.device_name)};
  auto secrets = create_volume(store, passphrase, recovery ? &*recovery : nullptr, kdf_cost(), note);
  if (!secrets) {
    if (!key_path.empty()) ::unlink(key_path.c_str());
    if (secrets.error().code() == Code::kExists) TRYV(refuse_existing(store));
    return give_up(Failure(secrets.error()));
  }
  TRY(VolumeHead head, find_volume(store));
  auto published = publish_root(target, drive, head, std::move(*secrets), arguments.quiet, interrupt.token());
  std::printf("Made volume %s in %s.\n", head.volume.str().c_str(), drive.store->describe().c_str());
  if (!published)
    std::fprintf(stderr,
                 "coffer: warning: its root directory is not in the store yet (%s); the first mount puts it there\n",
                 published.error().what.c_str());
  if (!key_path.empty())
    std::printf("The recovery key is in %s: move it to a place that is not this machine.\n", key_path.c_str());
  if (!recovery) std::printf("There is no recovery key: whoever forgets the passphrase has lost the volume.\n");
  std::printf("Next: coffer mount %s DIR\n", arguments.operands[0].c_str());
  return {};
}

}  // namespace coffer::cli
