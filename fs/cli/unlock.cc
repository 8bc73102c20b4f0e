#include "fs/cli/unlock.h"

#include <unistd.h>

#include <cstdio>

#include "crypto/kept_key.h"
#include "fs/cli/key_keeper.h"
#include "fs/cli/secret_input.h"
#include "remote/stoppable_store.h"

namespace coffer::cli {
namespace {

constexpr size_t kDeviceNameMax = 64;

// The secrets that were kept outside, when they are there, and open what is here.
std::optional<VolumeSecrets> secrets_from_keeper(KeyKeeper& keeper, const VolumeDirectory& directory,
                                                 const KeptSlots& known) {
  auto say = [&](const std::string& why) {
    std::fprintf(stderr, "coffer: %s\n", why.c_str());
    return std::nullopt;
  };
  auto text = keeper.find(directory.volume());
  if (!text) return say(text.error().what);
  if (!*text) return std::nullopt;
  auto secrets = decode_kept_key((*text)->view());
  auto identity = directory.identity();
  if (!identity || !*identity) return std::nullopt;  // becoming a member takes more than is kept
  auto useless = [&] {
    return say("the key in " + keeper.name() + " does not open this volume, or not any more; it is ignored");
  };
  if (!secrets || secrets->epoch_keys.empty()) return useless();
  LocalKeys local(secrets->epoch_keys.begin()->second, directory.salt());
  auto opened = open_identity(**identity, directory.volume(), local);
  if (secrets->epoch_keys.begin()->first != 1 || !opened)
    return say("the key in " + keeper.name() + " is not of this state directory; it is ignored");
  // Epochs that have begun since come by this device's own slot.
  const bool fresh = take_device_slots(known.head, known.slots, opened->key, secrets->epoch_keys) > 0;
  if (!secrets_are_current(known.head, known.slots, *secrets)) return useless();
  if (fresh)
    if (auto kept = keeper.keep(directory.volume(), encode_kept_key(*secrets)); !kept) (void)say(kept.error().what);
  return std::move(*secrets);
}

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
  TRY(Secret passphrase, get_passphrase(settings));
  opener.passphrase_.emplace(std::move(passphrase));
  return opener;
}

Outcome<OpenedVolume> Opener::open(const VolumeHead& head, const std::vector<Bytes>& slots) const {
  auto opened = passphrase_ ? open_volume(head, slots, *passphrase_) : open_volume(head, slots, *recovery_);
  if (opened) return std::move(*opened);
  if (opened.error().code() == Code::kDenied)
    return give_up(Exit::kWrongPassphrase,
                   passphrase_ ? "wrong passphrase" : "this recovery key does not open the volume",
                   passphrase_ ? "Try again; whoever kept the recovery key can use --recovery-key-file." : "");
  if (opened.error().code() == Code::kCorrupt)
    return give_up(Exit::kDamaged, "the volume's key slots are damaged: " + opened.error().what(),
                   "A device that has mounted it before still can, and 'coffer check --repair' there puts them back.");
  return give_up(Failure(opened.error()).in("unlock"));
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
  TRY(auto known, directory.kept());
  if (sealed) {
    auto opened = open_identity(*sealed, directory.volume(), *local);
    if (!opened) {
      Failure failure = Failure(opened.error()).in(directory.path() + "/identity");
      failure.todo = advice_for_damage(directory.path());
      return give_up(failure);
    }
    identity.emplace(std::move(*opened));
    if (known) take_device_slots(known->head, known->slots, identity->key, secrets.epoch_keys);
  } else {
    TRY(DeviceIdentity made, join(secrets, device_name(target.settings.device_name)));
    TRYV(directory.put_identity(seal_identity(made, directory.volume(), *local)));
    identity.emplace(std::move(made));
  }
  secrets.signing_secret.reset();
  return UnlockedVolume{std::move(directory), std::move(secrets), std::move(*identity), std::move(local)};
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
    slots = kept->slots;
  } else {
    if (!head) {
      TRY(head, find_volume(store));
    }
    if (head->volume != *known)
      return give_up(Exit::kNotAVolume, store.describe() + " now holds another volume than before",
                     "If that is meant, use another --state-dir for it.");
    TRY(slots, find_slots(store));
    if (kept) slots = join_slots(*head, slots, kept->slots);
  }
  const VolumeSettings& settings = target.settings;
  std::unique_ptr<KeyKeeper> keeper;
  if (!settings.keep_key.empty() && settings.recovery_key_file.empty()) keeper = make_key_keeper(settings.keep_key);
  std::optional<VolumeSecrets> secrets;
  if (keeper && from_kept) secrets = secrets_from_keeper(*keeper, directory, *kept);
  if (secrets) keeper.reset();  // it has them
  if (!secrets) {
    TRY(Opener opener, Opener::get(settings));
    auto opened = opener.open(*head, slots);
    if (!opened && opened.error().exit == Exit::kWrongPassphrase && from_kept) {
      // The passphrase may have been changed elsewhere since the copies were made.
      auto shown = read_slots(store);
      if (!shown) return give_up(opened.error());
      slots = join_slots(*head, *shown, slots);
      opened = opener.open(*head, slots);
      from_kept = false;
    }
    if (!opened) return give_up(opened.error());
    secrets = std::move(opened->secrets);
  }
  if (!from_kept) TRYV(directory.keep(*head, slots));
  Secret to_keep = keeper ? encode_kept_key(*secrets) : Secret();
  TRY(UnlockedVolume volume, enter_volume(target, std::move(directory), std::move(*secrets)));
  TRYV(remember_volume(target.state_root, target.canonical, *known));
  if (keeper) {
    auto done = keeper->keep(*known, to_keep);
    if (!done)
      std::fprintf(stderr, "coffer: warning: the key is not kept: %s\n        %s\n", done.error().what.c_str(),
                   done.error().todo.c_str());
  }
  return volume;
}

}  // namespace coffer::cli
