#include <keyutils.h>

#include <cerrno>

#include "fs/cli/key_keeper.h"

namespace coffer::cli {
namespace {

constexpr char kType[] = "user";
// The user's processes may read it wherever they were started: a service has another session than a login.
constexpr key_perm_t kPermissions = KEY_POS_ALL | KEY_USR_VIEW | KEY_USR_READ | KEY_USR_SEARCH;

std::string description(const VolumeId& volume) { return "coffer:" + volume.str(); }

std::unexpected<Failure> trouble(const char* what, int error) {
  return give_up(Failure(errno_error(what, error)).in("the kernel keyring"));
}

class KernelKeyring : public KeyKeeper {
 public:
  Outcome<void> keep(const VolumeId& volume, const Secret& text) override {
    // First into the process's own keyring: only there are we sure to possess it, and so may say who may read it.
    key_serial_t key =
        ::add_key(kType, description(volume).c_str(), text.view().data(), text.size(), KEY_SPEC_PROCESS_KEYRING);
    if (key < 0) return trouble("add_key", errno);
    bool kept = keyctl_setperm(key, kPermissions) == 0 && keyctl_link(key, KEY_SPEC_USER_KEYRING) == 0;
    int error = errno;
    keyctl_unlink(key, KEY_SPEC_PROCESS_KEYRING);
    if (!kept) return trouble("keyctl", error);
    return {};
  }

  Outcome<std::optional<Secret>> find(const VolumeId& volume) override {
    TRY(std::optional<key_serial_t> key, search(volume));
    if (!key) return std::nullopt;
    long size = keyctl_read(*key, nullptr, 0);
    if (size < 0) return trouble("keyctl_read", errno);
    Secret text(static_cast<size_t>(size));
    long got = keyctl_read(*key, reinterpret_cast<char*>(text.data().data()), text.size());
    if (got != size) return trouble("keyctl_read", got < 0 ? errno : EAGAIN);
    return text;
  }

  Outcome<bool> forget(const VolumeId& volume) override {
    TRY(std::optional<key_serial_t> key, search(volume));
    if (!key) return false;
    if (keyctl_unlink(*key, KEY_SPEC_USER_KEYRING) != 0) return trouble("keyctl_unlink", errno);
    return true;
  }

  std::string name() const override { return "the kernel keyring"; }

 private:
  Outcome<std::optional<key_serial_t>> search(const VolumeId& volume) {
    long key = keyctl_search(KEY_SPEC_USER_KEYRING, kType, description(volume).c_str(), 0);
    if (key >= 0) return static_cast<key_serial_t>(key);
    if (errno == ENOKEY || errno == EKEYEXPIRED || errno == EKEYREVOKED) return std::nullopt;
    return trouble("keyctl_search", errno);
  }
};

}  // namespace

std::unique_ptr<KeyKeeper> make_kernel_keyring() { return std::make_unique<KernelKeyring>(); }

}  // namespace coffer::cli
