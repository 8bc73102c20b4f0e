#include "fs/cli/unlock.h"

#include <unistd.h>

#include "fs/cli/secret_input.h"
#include "fs/cli/stoppable_store.h"

namespace coffer::cli {
namespace {

constexpr size_t kDeviceNameMax = 64;

}  // namespace

Outcome<Opener> Opener::get(const VolumeSettings& settings) {
  Opener opener;
  if (!settings.recovery_key_file.empty()) {
    TRY(Secret text, secret_from_file(settings.recovery_key_file));
    auto key = RecoveryKey::parse(as_string(text.view()));
    if (!key)
      return give_up(Exit::kWrongPassphrase, settings.recovery_key_file + ": " + key.error().what(),
                     "It must hold the recovery key as coffer init showed it.");
    opener.recovery_.emplace(std::move(*key));
    return opener;
  }
  TRY(Secret passphrase, get_passphrase(settings, false));
  opener.passphrase_.emplace(std::move(passphrase));
  return opener;
}

Outcome<VolumeSecrets> Opener::open(const VolumeHead& head, const std::vector<Bytes>& slots) const {
  auto secrets = passphrase_ ? unlock(head, slots, *passphrase_) : unlock(head, slots, *recovery_);
  if (secrets) return std::move(*secrets);
  if (secrets.error().code() == Code::kDenied)
    return give_up(Exit::kWrongPassphrase,
                   passphrase_ ? "wrong passphrase" : "this recovery key does not open the volume",
                   passphrase_ ? "Try again; whoever kept the recovery key can use --recovery-key-file." : "");
  return give_up(Failure(secrets.error()).in("unlock"));
}

Outcome<VolumeHead> find_volume(ObjectStore& store) {
  auto head = read_volume_head(store);
  if (head) return *head;
  if (head.error().code() == Code::kNotFound)
    return give_up(Exit::kNotAVolume, store.describe() + " is not a coffer volume",
                   "Check the address; coffer init makes a volume there.");
  // Its first object is that of another program, or cut short: what is under it may still be a volume.
  if (head.error().code() == Code::kCorrupt)
    return give_up(Exit::kNotAVolume, head.error().what(),
                   "Check the address. If it was a volume, a device that has mounted it still can.");
  return give_up(Failure(head.error()));
}

Outcome<std::vector<Bytes>> find_slots(ObjectStore& store) {
  auto slots = read_slots(store);
  if (slots) return std::move(*slots);
  if (slots.error().code() == Code::kNotFound)
    return give_up(Exit::kDamaged, store.describe() + " has a volume without key slots",
                   "Somebody removed them. A device that has mounted it before still can.");
  return give_up(Failure(slots.error()));
}

std::string device_name(const std::string& asked) {
  std::string name = asked;
  char host[256] = {};
  if (name.empty() && ::gethostname(host, sizeof host - 1) == 0) name = host;
  if (name.empty()) name = "device";
  if (name.size() > kDeviceNameMax) name.resize(kDeviceNameMax);
  // It becomes part of file names and of what other devices print.
  for (char& c : name) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
    if (!plain) c = '_';
  }
  return name;
}

Outcome<UnlockedVolume> enter_volume(const Target& target, VolumeDirectory directory, VolumeSecrets secrets) {
  auto first_key = secrets.epoch_keys.find(1);
  if (first_key == secrets.epoch_keys.end())
    return give_up(Exit::kDamaged, "the key slot lacks the volume's first key");
  auto local = std::make_unique<LocalKeys>(first_key->second, directory.salt());
  TRY(auto sealed, directory.identity());
  std::optional<DeviceIdentity> identity;
  if (sealed) {
    auto opened = open_identity(*sealed, directory.volume(), *local);
    if (!opened) return give_up(Failure(opened.error()).in(directory.path() + "/identity"));
    identity.emplace(std::move(*opened));
  } else {
    TRY(DeviceIdentity made, join(secrets, device_name(target.settings.device_name)));
    TRYV(directory.put_identity(seal_identity(made, directory.volume(), *local)));
    identity.emplace(std::move(made));
  }
  secrets.signing_secret.reset();
  return UnlockedVolume{std::move(directory), std::move(secrets), std::move(*identity), std::move(local), false};
}

Outcome<UnlockedVolume> unlock_volume(const Target& target, ObjectStore& remote, std::stop_token stop) {
  StoppableStore store(remote, stop);
  std::optional<VolumeId> known = remembered_volume(target.state_root, target.canonical);
  std::optional<VolumeHead> head;
  if (!known || !VolumeDirectory::exists(target.state_root, *known)) {
    TRY(head, find_volume(store));
    known = head->volume;
  }
  TRY(VolumeDirectory directory, VolumeDirectory::open(target.state_root, *known));
  TRY(auto kept, directory.kept());

  std::vector<Bytes> slots;
  bool from_kept = kept.has_value() && !head;
  if (from_kept) {
    head = kept->head;
    slots = std::move(kept->slots);
  } else {
    if (!head) {
      TRY(head, find_volume(store));
    }
    if (head->volume != *known)
      return give_up(Exit::kNotAVolume, store.describe() + " now holds another volume than before",
                     "If that is meant, use another --state-dir for it.");
    TRY(slots, find_slots(store));
  }
  TRY(Opener opener, Opener::get(target.settings));
  auto secrets = opener.open(*head, slots);
  if (!secrets && secrets.error().exit == Exit::kWrongPassphrase && from_kept) {
    // The passphrase may have been changed elsewhere since the copies were made.
    auto newer = read_slots(store);
    if (!newer || *newer == slots) return give_up(secrets.error());
    slots = std::move(*newer);
    secrets = opener.open(*head, slots);
    from_kept = false;
  }
  if (!secrets) return give_up(secrets.error());
  if (!from_kept) TRYV(directory.keep(*head, slots));
  TRY(UnlockedVolume volume, enter_volume(target, std::move(directory), std::move(*secrets)));
  TRYV(remember_volume(target.state_root, target.canonical, *known));
  volume.from_kept = from_kept;
  return volume;
}

}  // namespace coffer::cli
