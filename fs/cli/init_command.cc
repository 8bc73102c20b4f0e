#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/thread.h"
#include "fs/cli/commands.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/open_drive.h"
#include "fs/cli/progress.h"
#include "fs/cli/secret_input.h"
#include "fs/cli/stoppable_store.h"
#include "fs/cli/target.h"

namespace coffer::cli {
namespace {

KdfCost kdf_cost() {
  const char* asked = std::getenv("COFFER_TEST_KDF");
  if (asked == nullptr || std::strcmp(asked, "fast") != 0) return {};
  std::fputs("coffer: warning: COFFER_TEST_KDF=fast makes the passphrase easy to guess; only for tests\n", stderr);
  return {8 * 1024, 1};
}

// A new file that only we may read. Never replaces one: it could be the only key to another volume.
Outcome<Fd> make_key_file(const std::string& path) {
  auto file = open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (file) return std::move(*file);
  if (file.error().code() == Code::kExists)
    return give_up(Exit::kUsage, path + " is there already", "Name a file that does not exist.");
  return give_up(Failure(file.error()).in("recovery key file"));
}

Outcome<void> write_key(const Fd& fd, const Secret& text) {
  Secret line(text.size() + 1);
  std::memcpy(line.data().data(), text.view().data(), text.size());
  line.data()[text.size()] = '\n';
  BytesView rest = line.view();
  while (!rest.empty()) {
    ssize_t n = ::write(fd.get(), rest.data(), rest.size());
    if (n < 0) return give_up(Failure(errno_error("recovery key", errno)));
    rest = rest.subspan(static_cast<size_t>(n));
  }
  return {};
}

Outcome<void> show_key(const Secret& text) {
  std::fputs(
      "\nThe recovery key. It opens the volume when the passphrase is forgotten, and is shown this once.\n"
      "Write it down, or print it, and keep it where no computer is:\n\n    ",
      stdout);
  std::fflush(stdout);
  Fd terminal(::dup(STDOUT_FILENO));
  TRYV(write_key(terminal, text));
  std::fputs("\n", stdout);
  return {};
}

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
    view.show({p.done_bytes, p.total_bytes, p.waiting_changes, p.rate, true, ""});
  });
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
  bool on_terminal = ::isatty(STDOUT_FILENO) != 0;
  if (!arguments.no_recovery_key && key_path.empty() && !on_terminal)
    return give_up(Exit::kUsage, "stdout is no terminal to show the recovery key on",
                   "Give --recovery-key-file FILE, or --no-recovery-key.");
  if (arguments.no_recovery_key && !key_path.empty())
    return give_up(Exit::kUsage, "--no-recovery-key and --recovery-key-file exclude each other");

  Interrupt interrupt;
  TRY(OpenDrive drive, open_remote(target));
  StoppableStore store(*drive.store, interrupt.token());
  TRYV(refuse_existing(store));
  VolumeSettings passphrase_settings = target.settings;
  passphrase_settings.recovery_key_file.clear();
  TRY(Secret passphrase, get_passphrase(passphrase_settings, true));

  std::optional<RecoveryKey> recovery;
  Fd key_file;
  if (!arguments.no_recovery_key) recovery.emplace(RecoveryKey::generate());
  if (!key_path.empty()) {
    TRY(key_file, make_key_file(key_path));
    // Kept before the volume exists: no crash leaves a volume whose key nobody has.
    TRYV(write_key(key_file, recovery->text()));
    if (::fsync(key_file.get()) != 0) return give_up(Failure(errno_error(key_path, errno)));
  }
  auto secrets = create_volume(store, passphrase, recovery ? &*recovery : nullptr, kdf_cost());
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
  if (recovery && key_path.empty()) TRYV(show_key(recovery->text()));
  if (!key_path.empty())
    std::printf("The recovery key is in %s: move it to a place that is not this machine.\n", key_path.c_str());
  if (!recovery) std::printf("There is no recovery key: whoever forgets the passphrase has lost the volume.\n");
  std::printf("Next: coffer mount %s DIR\n", arguments.operands[0].c_str());
  return {};
}

}  // namespace coffer::cli
