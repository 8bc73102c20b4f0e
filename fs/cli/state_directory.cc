#include "fs/cli/state_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <memory>

#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/slot.h"
#include "fs/cli/config.h"
#include "fs/cli/mount_table.h"
#include "fs/sync/revocation.h"

namespace coffer::cli {
namespace {

constexpr int kFinishingWaitSeconds = 20;
constexpr size_t kSaltSize = 32;
constexpr size_t kIdentityMax = 1 << 20;
constexpr size_t kRoomForVolume = 1 << 20;  // what a new volume takes at least: journal, table, an empty root directory

std::string store_file(const std::string& root, const std::string& canonical_store) {
  return root + "/stores/" + blake2b(as_bytes(canonical_store)).str();
}

std::string directory_of(const std::string& root, const VolumeId& volume) { return root + "/" + volume.str(); }

// nullopt when there is no such file.
Outcome<std::optional<Bytes>> read_optional(const std::string& path, size_t limit) {
  auto content = read_file(path, limit);
  if (content) return std::optional(std::move(*content));
  if (content.error().code() == Code::kNotFound) return std::nullopt;
  return give_up(Failure(content.error()));
}

std::unexpected<Failure> cannot_write(const Error& error) {
  Failure failure = Failure(error).in("cannot write to the state directory");
  if (failure.exit == Exit::kPermission) failure.todo = "Name a place where you may write with --state-dir.";
  return give_up(std::move(failure));
}

Outcome<void> make_directory(const std::string& path) {
  auto made = make_directories(path);
  if (!made) return cannot_write(made.error());
  return {};
}

Outcome<void> write_durably(const std::string& path, BytesView content) {
  auto written = write_file_durably(path, content);
  if (!written) return cannot_write(written.error());
  return {};
}

struct Holder {
  std::string pid, mount_point;
};

Holder read_holder(const Fd& lock) {
  char text[4352] = {};
  ssize_t n = ::pread(lock.get(), text, sizeof text - 1, 0);
  std::string all(text, n > 0 ? static_cast<size_t>(n) : 0);
  size_t line = all.find('\n');
  if (line == std::string::npos) return {all, ""};
  std::string place = all.substr(line + 1);
  if (!place.empty() && place.back() == '\n') place.pop_back();
  return {all.substr(0, line), place};
}

// umount(8) returns before the process that served the mount has heard of it.
bool is_mounted(const std::string& place) {
  auto mounts = read_mounts();
  return !mounts || std::ranges::any_of(*mounts, [&](const MountEntry& m) { return m.mount_point == place; });
}

Outcome<void> take_lock(const Fd& lock) {
  for (int waited = 0;; ++waited) {
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return {};
    if (errno != EWOULDBLOCK) return give_up(Failure(errno_error("flock", errno)));
    Holder holder = read_holder(lock);
    bool finishing = holder.mount_point.empty() || !is_mounted(holder.mount_point);
    if (finishing && waited < kFinishingWaitSeconds * 10) {
      timespec pause{0, 100'000'000};
      ::nanosleep(&pause, nullptr);
      continue;
    }
    if (finishing)
      return give_up(Exit::kBusy, "this volume is in use by pid " + holder.pid + " on this machine",
                     "Wait until it is done, or use another --state-dir to be another device.");
    return give_up(Exit::kBusy, "already mounted by pid " + holder.pid + " on " + holder.mount_point,
                   "Use it there, or unmount it first: coffer unmount " + holder.mount_point);
  }
}

Outcome<void> check_version(const std::string& path) {
  TRY(auto version, read_optional(path + "/version", 64));
  if (!version) return {};
  std::string_view text = as_string(*version);
  unsigned number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || (end != text.data() + text.size() && *end != '\n') || number == 0)
    return give_up(Exit::kDamaged, path + "/version is damaged", advice_for_damage(path));
  if (number > kStateVersion)
    return give_up(Exit::kUnsupported,
                   path + " was made by a newer coffer (layout " + std::to_string(number) + "; this one knows " +
                       std::to_string(kStateVersion) + ")",
                   "Install that newer coffer; this one leaves the directory as it is.");
  return {};
}

}  // namespace

std::string state_root(const std::string& asked) {
  if (!asked.empty()) return asked;
  if (const char* base = std::getenv("XDG_STATE_HOME"); base != nullptr && *base == '/')
    return std::string(base) + "/coffer";
  return home_directory() + "/.local/state/coffer";
}

Outcome<void> check_state_root(const std::string& root) {
  TRYV(make_directory(root));
  const std::string probe = root + "/probe." + std::to_string(::getpid());
  auto written = write_durably(probe, Bytes(kRoomForVolume));
  ::unlink(probe.c_str());
  ::unlink((probe + ".new").c_str());
  return written;
}

std::string advice_for_damage(const std::string& directory) {
  return "Move " + directory +
         " away: coffer makes a new one from the store. Keep it: what was not in the store yet is in there only.";
}

std::optional<VolumeId> remembered_volume(const std::string& root, const std::string& canonical_store) {
  auto text = read_file(store_file(root, canonical_store), 256);
  if (!text) return std::nullopt;
  auto id = unhex(as_string(*text).substr(0, 2 * VolumeId::kSize));
  if (!id || id->size() != VolumeId::kSize) return std::nullopt;
  return VolumeId::from(*id);
}

Outcome<void> remember_volume(const std::string& root, const std::string& canonical_store, const VolumeId& volume) {
  if (remembered_volume(root, canonical_store) == volume) return {};
  TRYV(make_directory(root + "/stores"));
  TRYV(write_durably(store_file(root, canonical_store), as_bytes(volume.str() + "\n")));
  return {};
}

Outcome<std::optional<KeptSlots>> kept_slots(const std::string& root, const VolumeId& volume) {
  const std::string path = directory_of(root, volume);
  TRY(auto head, read_optional(path + "/head", 4096));
  if (!head) return std::nullopt;
  KeptSlots kept;
  auto decoded = decode_volume_head(*head);
  if (!decoded) return give_up(Failure(decoded.error()).in(path + "/head"));
  kept.head = *decoded;
  if (kept.head.volume != volume)
    return give_up(Exit::kDamaged, path + " belongs to another volume (" + kept.head.volume.str() + ")",
                   advice_for_damage(path));
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir((path + "/slots").c_str()), ::closedir);
  if (!dir) return give_up(Failure(errno_error(path + "/slots", errno)));
  while (const dirent* entry = ::readdir(dir.get())) {
    std::string name = entry->d_name;
    if (name.starts_with('.') || name.ends_with(".new")) continue;
    TRY(auto slot, read_optional(path + "/slots/" + name, kMaxRevocationSize));
    if (slot) kept.slots.push_back(std::move(*slot));
  }
  if (kept.slots.empty()) return std::nullopt;
  return kept;
}

Outcome<void> keep_slots(const std::string& root, const VolumeHead& head, const std::vector<Bytes>& slots) {
  const std::string path = directory_of(root, head.volume);
  std::vector<std::string> names;
  for (const Bytes& slot : slots) {
    names.push_back(blake2b(slot).str());
    std::string file = path + "/slots/" + names.back();
    if (::access(file.c_str(), F_OK) != 0) TRYV(write_durably(file, slot));
  }
  Bytes encoded = encode(head);
  TRY(auto before, read_optional(path + "/head", 4096));
  if (before != encoded) TRYV(write_durably(path + "/head", encoded));
  // Only now do slots go that the store no longer has: whatever happens, one whole set is here.
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir((path + "/slots").c_str()), ::closedir);
  if (!dir) return give_up(Failure(errno_error(path + "/slots", errno)));
  while (const dirent* entry = ::readdir(dir.get())) {
    std::string name = entry->d_name;
    if (name.starts_with('.') || std::find(names.begin(), names.end(), name) != names.end()) continue;
    ::unlink((path + "/slots/" + name).c_str());
  }
  return {};
}

Outcome<std::optional<KeptIdentity>> kept_identity(const std::string& root, const VolumeId& volume) {
  const std::string path = directory_of(root, volume);
  TRY(auto salt, read_optional(path + "/salt", 4096));
  TRY(auto sealed, read_optional(path + "/identity", kIdentityMax));
  if (!salt || salt->size() != kSaltSize || !sealed) return std::nullopt;
  return KeptIdentity{std::move(*salt), std::move(*sealed)};
}

bool VolumeDirectory::exists(const std::string& root, const VolumeId& volume) {
  return ::access((directory_of(root, volume) + "/salt").c_str(), F_OK) == 0;
}

Outcome<VolumeDirectory> VolumeDirectory::open(const std::string& root, const VolumeId& volume) {
  VolumeDirectory d;
  d.root_ = root;
  d.path_ = directory_of(root, volume);
  d.volume_ = volume;
  TRYV(make_directory(d.path_ + "/slots"));
  TRYV(check_version(d.path_));
  auto lock = open_file(d.path_ + "/lock", O_RDWR | O_CREAT);
  if (!lock) return cannot_write(lock.error());
  d.lock_ = std::move(*lock);
  TRYV(take_lock(d.lock_));
  d.announce("");
  TRY(auto salt, read_optional(d.path_ + "/salt", 4096));
  if (salt && salt->size() != kSaltSize)
    return give_up(Exit::kDamaged, d.path_ + "/salt is damaged", advice_for_damage(d.path_));
  if (!salt) {
    salt.emplace(kSaltSize);
    random_bytes(*salt);
    TRYV(write_durably(d.path_ + "/version", as_bytes(std::to_string(kStateVersion) + "\n")));
    TRYV(write_durably(d.path_ + "/salt", *salt));
  }
  d.salt_ = std::move(*salt);
  TRYV(make_directory(d.replica_path()));
  return d;
}

Outcome<std::optional<Bytes>> VolumeDirectory::identity() const {
  return read_optional(path_ + "/identity", kIdentityMax);
}

Outcome<void> VolumeDirectory::put_identity(BytesView sealed) {
  TRYV(write_durably(path_ + "/identity", sealed));
  return {};
}

void VolumeDirectory::announce(const std::string& mount_point) {
  std::string text = std::to_string(::getpid()) + "\n" + mount_point + (mount_point.empty() ? "" : "\n");
  // Only a message for people: when it does not work, the lock still does.
  if (::ftruncate(lock_.get(), 0) == 0) (void)write_at(lock_, as_bytes(text), 0);
}

}  // namespace coffer::cli
