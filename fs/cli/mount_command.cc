#include <dirent.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/log.h"
#include "fs/cli/commands.h"
#include "fs/cli/confinement.h"
#include "fs/cli/control_client.h"
#include "fs/cli/daemon_start.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/log_file.h"
#include "fs/cli/mount_options.h"
#include "fs/cli/mount_table.h"
#include "fs/cli/mounted_drive.h"
#include "fs/cli/open_drive.h"
#include "fs/cli/registry.h"
#include "fs/cli/target.h"
#include "fs/fuse/dead_mount.h"
#include "fs/fuse/mount_points.h"

namespace coffer::cli {
namespace {

bool is_empty_directory(const std::string& path) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  if (!dir) return true;
  while (const dirent* entry = ::readdir(dir.get()))
    if (std::string_view(entry->d_name) != "." && std::string_view(entry->d_name) != "..") return false;
  return true;
}

// What can be said against mounting here without knowing the volume.
Outcome<std::string> check_mount_point(const Target& target) {
  const std::string& asked = target.settings.directory;
  if (asked.empty())
    return give_up(Exit::kUsage, "no DIR to mount on was given", "Give one, or set directory in config.toml.");
  TRY(std::string path, resolve_path(asked));
  if (is_dead_mount(path)) {
    TRYV(clear_dead_mount(path));
    std::fprintf(stderr, "coffer: cleared what a coffer that died had left mounted on %s\n", path.c_str());
  }
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) {
    const int error = errno;
    Failure failure(errno_error(path, error));
    if (error == ENOENT) failure.todo = "Make the directory first: mkdir -p " + path;
    return give_up(failure);
  }
  if (!S_ISDIR(st.st_mode)) return give_up(Exit::kUsage, path + " is not a directory");
  std::string store = target.canonical.starts_with("file://") ? target.canonical.substr(7) : "";
  if (!store.empty() && (is_within(path, store) || is_within(store, path)))
    return give_up(Exit::kUsage, "the mount point " + path + " and the store " + store + " lie in each other");
  if (is_within(target.state_root, path))
    return give_up(Exit::kUsage, "the state directory " + target.state_root + " lies in the mount point " + path,
                   "Name another place with --state-dir.");
  if (::access("/dev/fuse", F_OK) != 0)
    return give_up(Exit::kNoFuse, "this system has no /dev/fuse",
                   "Load the fuse module (modprobe fuse); in a container, pass the device in.");
  return path;
}

MountPlace mount_place(const MountFlags& flags, const Target& target, const std::string& path) {
  return {path, target.settings.store, flags.allow_other, flags.read_only, flags.fuse_options};
}

MountOptions mount_options(const MountFlags& flags, const Target& target, const std::string& path,
                           const std::string& state_directory) {
  MountOptions options;
  options.place = mount_place(flags, target, path);
  options.state_directory = state_directory;
  options.own_files = ::geteuid() != 0 || flags.uid || flags.gid;
  options.uid = flags.uid.value_or(::geteuid());
  options.gid = flags.gid.value_or(::getegid());
  return options;
}

Outcome<std::unique_ptr<Mount>> make_mount(OpenDrive& drive, MountOptions options) {
  std::string where = options.place.directory;
  auto mount = Mount::mount(*drive.replica, *drive.synchronizer, std::move(options));
  if (mount) return std::move(*mount);
  Failure failure(mount.error());
  if (mount.error().code() == Code::kUnsupported) {
    failure.exit = Exit::kNoFuse;
    failure.todo = "coffer needs /dev/fuse and, for ordinary users, fusermount3 (Debian's package fuse3).";
  } else if (mount.error().code() == Code::kDenied) {
    failure.todo = "The directory must be yours; allow_other needs user_allow_other in /etc/fuse.conf.";
  }
  return give_up(failure.in("cannot mount on " + where));
}

// The kernel's affair alone: the daemon that serves the mount need not know.
Outcome<void> remount(const Target& target, const MountFlags& flags) {
  TRY(std::string path, resolve_path(target.settings.directory));
  TRYV(fuse::remount_directory(path, flags.read_only));
  return {};
}

// From here on the daemon gets by with what it serves: its state, the store, and what says where that is.
Outcome<Confinement> confine_daemon(const Target& target, const std::string& state_directory) {
  TRY(StoreNeeds store, store_needs(target.store));
  std::string registry = registry_directory(::geteuid());
  if (auto made = make_directories(registry); !made) log_line(LogLevel::kWarning, made.error().what());
  Needs needs{std::move(store.write), std::move(store.read), store.programs};
  needs.write.insert(needs.write.end(), {state_directory, std::move(registry)});
  return confine(needs);
}

// Done while the process still has all that its user may do: passphrase commands and keyrings need it. Its threads end
// with it.
Outcome<UnlockedVolume> unlock_first(const Target& target) {
  Interrupt interrupt;
  TRY(OpenDrive remote, open_remote(target));
  return unlock_volume(target, *remote.store, interrupt.token());
}

// How malloc treats a process that serves for weeks. Buffers of a mebibyte come and go with each write, and of 16 with each
// upload: they are kept, where malloc would map and unmap each, and the kernel would have to clear their pages every time. One
// arena, since few threads work at once, and what one frees is what another one needs next.
void prepare_memory() {
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
  ::mallopt(M_TOP_PAD, 1 << 20);
  ::mallopt(M_ARENA_MAX, 1);
}

// What the process that serves the mount does: the child, or with -f the only one.
Outcome<void> serve_mount(const Target& target, const MountFlags& flags, const std::string& path, DaemonStart* daemon) {
  prepare_memory();
  TRY(auto started, start_mounter(mount_place(flags, target, path)));
  std::shared_ptr<Mounter> mounter = std::move(started);
  SignalFd signals;
  TRY(UnlockedVolume volume, unlock_first(target));
  TRY(Confinement confinement, confine_daemon(target, volume.directory.path()));
  auto interrupt = std::make_unique<Interrupt>();
  TRY(OpenDrive drive, open_remote(target));
  const std::string directory = volume.directory.path();
  TRY(SpaceLimits limits, usual_space_limits(directory));
  limits.cache = target.settings.cache_size.value_or(limits.cache);
  limits.free = target.settings.free_space.value_or(limits.free);
  auto unlocked = std::make_unique<UnlockedVolume>(std::move(volume));
  drive.slots = std::make_unique<DirectorySlots>(unlocked->directory);
  TRYV(open_local(drive, std::move(unlocked), limits, interrupt->token()));

  MountOptions options = mount_options(flags, target, path, directory);
  options.mounter = mounter;
  auto waits = std::make_shared<RemoteWaits>();
  if (flags.fsync_remote)
    options.remote_sync = [waits, s = drive.synchronizer.get()] { return s->sync(waits->token(), {}); };
  TRY(auto mount, make_mount(drive, std::move(options)));
  interrupt.reset();  // from here on a signal means an orderly unmount

  Fd log;
  if (daemon != nullptr) {
    TRY(log, open_log(directory));
  }
  MountedDrive mounted(std::move(drive), std::move(mount), waits,
                       {path, target.settings.store, daemon != nullptr, confinement});
  TRYV(mounted.announce());
  if (daemon != nullptr) daemon->ready(log);  // whoever waits for the mount may ask for its status at once
  return mounted.run(signals);
}

}  // namespace

Outcome<int> run_mount(const Arguments& arguments) {
  TRY(Target target, resolve_target(arguments));
  MountFlags flags;
  VolumeSettings already_taken;
  TRYV(parse_mount_options(target.settings.mount_options, flags, already_taken));
  if (flags.remount) {
    TRYV(remount(target, flags));
    return 0;
  }
  TRY(std::string path, check_mount_point(target));
  // (What another mount shows there is no such thing.)
  if (!on_a_mount(path) && !is_empty_directory(path))
    std::fprintf(stderr, "coffer: note: %s is not empty; what is in it is hidden while the volume is mounted\n",
                 path.c_str());
  if (arguments.foreground) {
    TRYV(serve_mount(target, flags, path, nullptr));
    return 0;
  }
  DaemonStart daemon;
  TRY(std::optional<int> parent, daemon.fork());
  if (parent) return *parent;
  TRYV(serve_mount(target, flags, path, &daemon));
  return 0;
}

}  // namespace coffer::cli
