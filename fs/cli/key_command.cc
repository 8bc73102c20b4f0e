// coffer key: the slots of a volume, from the store, whether it is mounted or not. Data is never touched, save by
// rotate --rewrite, which a mounted volume does.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/failpoint.h"
#include "fs/cli/commands.h"
#include "fs/cli/control_client.h"
#include "fs/cli/format.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/kdf_cost.h"
#include "fs/cli/key_keeper.h"
#include "fs/cli/mount_table.h"
#include "fs/cli/open_drive.h"
#include "fs/cli/open_keys.h"
#include "fs/cli/progress.h"
#include "fs/cli/recovery_key_output.h"
#include "fs/cli/secret_input.h"
#include "fs/cli/target.h"
#include "fs/cli/unlock.h"
#include "fs/sync/key_rotation.h"

namespace coffer::cli {
namespace {

using nlohmann::json;

const char* kind_name(SlotKind kind) {
  switch (kind) {
    case SlotKind::kPassphrase:
      return "passphrase";
    case SlotKind::kRecoveryKey:
      return "recovery key";
    default:
      return "device";
  }
}

std::string called(const OpenKeys& keys, const CountingSlot& slot) {
  std::string label = keys.note(slot).label;
  return std::string(kind_name(slot.header.kind)) + " " + slot.header.id.str().substr(0, kShortId) +
         (label.empty() ? "" : " (" + label + ")");
}

json slot_json(const OpenKeys& keys, const CountingSlot& slot) {
  SlotNote note = keys.note(slot);
  json out = {{"id", slot.header.id.str()},
              {"kind", kind_name(slot.header.kind)},
              {"stated", slot.stated},
              {"in_store", keys.in_store(slot)},
              {"opened", slot.header.id == keys.opened().slot}};
  if (!slot.stated) return out;
  out["label"] = note.label;
  out["made"] = format_time(note.made);
  out["device"] = note.device;
  return out;
}

void print_slot(const OpenKeys& keys, const CountingSlot& slot, size_t digits) {
  SlotNote note = keys.note(slot);
  std::string made = slot.stated ? format_time(note.made) : "-";
  std::string device = slot.stated ? note.device : "-", label = slot.stated ? note.label : "(by an earlier coffer)";
  std::string remarks = slot.header.id == keys.opened().slot ? "  [opened now]" : "";
  if (!keys.in_store(slot)) remarks += "  [GONE FROM THE STORE]";
  std::printf("%-*s  %-12s  %-20s  %-16s  %s%s\n", static_cast<int>(digits),
              slot.header.id.str().substr(0, digits).c_str(), kind_name(slot.header.kind), made.c_str(), device.c_str(),
              label.c_str(), remarks.c_str());
}

struct NewSecret {
  std::optional<Secret> passphrase;
  std::optional<RecoveryKey> recovery;

  Result<Bytes> make_slot(const VolumeSecrets& secrets, const SlotNote& note) const {
    return passphrase ? make_passphrase_slot(secrets, *passphrase, kdf_cost(), note)
                      : make_recovery_slot(secrets, *recovery, note);
  }
  Result<VolumeSecrets> open(BytesView object) const {
    return passphrase ? open_passphrase_slot(object, *passphrase) : open_recovery_slot(object, *recovery);
  }
};

Outcome<NewSecret> get_new_secret(const KeyArguments& arguments, SlotKind kind) {
  NewSecret made;
  if (kind == SlotKind::kPassphrase) {
    TRY(made.passphrase,
        get_new_passphrase(arguments.new_passphrase_file, arguments.new_passphrase_command, arguments.weak_passphrase));
    return made;
  }
  const std::string file =
      arguments.new_recovery_key_file.empty() ? "" : absolute_path(arguments.new_recovery_key_file);
  if (auto can = can_hand_over(file); !can)
    return give_up(can.error().exit, can.error().what, "Give --new-recovery-key-file FILE.");
  made.recovery.emplace(RecoveryKey::generate());
  TRYV(hand_over(*made.recovery, file));
  return made;
}

Outcome<void> check_new_secret(const KeyArguments& arguments, SlotKind kind) {
  bool passphrase = !arguments.new_passphrase_file.empty() || !arguments.new_passphrase_command.empty();
  if (kind == SlotKind::kPassphrase && !arguments.new_recovery_key_file.empty())
    return give_up(Exit::kUsage, "--new-recovery-key-file is for recovery keys, and this is a passphrase");
  if (kind == SlotKind::kRecoveryKey && passphrase)
    return give_up(Exit::kUsage, "--new-passphrase-file and --new-passphrase-command are for passphrases");
  if (!valid_slot_label(arguments.label))
    return give_up(Exit::kUsage, "--label: at most 64 bytes, without control characters");
  return {};
}

Outcome<void> add_new(OpenKeys& keys, const NewSecret& made, const std::string& label) {
  TRY(Bytes slot, made.make_slot(keys.opened().secrets, keys.note_now(label)));
  return keys.add(slot, [&made](BytesView object) { return made.open(object); });
}

void say_what_remains() {
  std::fputs(
      "What this does not do: the keys of the volume are the same as before. Who knows the old secret, and has a copy "
      "of\n"
      "its slot (as the store may have, and backups of it), can still open the volume and read all that is written to "
      "it.\n"
      "Devices that were let in with it stay in, and open with it while they cannot reach the store. If the secret "
      "has\n"
      "come to others, begin a new epoch with coffer key rotate: what is written from then on has other keys.\n",
      stdout);
}

}  // namespace

Outcome<void> run_key_list(const Arguments& arguments) {
  Interrupt interrupt;
  TRY(OpenKeys keys, OpenKeys::open(arguments, interrupt.token()));
  std::vector<CountingSlot> slots = keys.slots();
  std::ranges::sort(slots, {}, [&keys](const CountingSlot& s) { return std::pair(keys.note(s).made, s.header.id); });
  size_t removals = 0, foreign = 0;
  for (const Bytes& object : keys.shown()) {
    if (is_revocation(object)) {
      foreign += !verify_revocation(object, keys.head().volume, keys.head().signing_public);
    } else if (is_slot_removal(object)) {
      ++(verify_slot_removal(object, keys.head().volume, keys.head().signing_public) ? removals : foreign);
    } else if (auto r = verify_slot(object, keys.head().volume, keys.head().signing_public);
               !r && r.error().code() != Code::kUnsupported) {
      ++foreign;
    }
  }
  if (arguments.json) {
    json all = {
        {"volume", keys.head().volume.str()}, {"slots", json::array()}, {"removals", removals}, {"foreign", foreign}};
    for (const CountingSlot& slot : slots) all["slots"].push_back(slot_json(keys, slot));
    std::puts(all.dump(2, ' ', false, json::error_handler_t::replace).c_str());
    return {};
  }
  size_t digits = kShortId;
  for (const CountingSlot& a : slots)
    for (const CountingSlot& b : slots)
      while (digits < 2 * ObjectId::kSize && a.header.id != b.header.id &&
             a.header.id.str().substr(0, digits) == b.header.id.str().substr(0, digits))
        ++digits;
  std::printf("%-*s  %-12s  %-20s  %-16s  %s\n", static_cast<int>(digits), "ID", "KIND", "MADE", "BY", "LABEL");
  for (const CountingSlot& slot : slots) print_slot(keys, slot, digits);
  if (foreign > 0)
    std::printf("%s that no member of the volume has made; ignored. Somebody has planted or damaged it in the store.\n",
                format_count(foreign, "object", "objects").c_str());
  if (!std::ranges::all_of(slots, [&keys](const CountingSlot& s) { return keys.in_store(s); }))
    std::printf("What is gone from the store is remembered here, and the next mount on this machine puts it back.\n");
  return {};
}

Outcome<void> run_key_add(const Arguments& arguments) {
  const SlotKind kind = arguments.key.recovery_key ? SlotKind::kRecoveryKey : SlotKind::kPassphrase;
  TRYV(check_new_secret(arguments.key, kind));
  Interrupt interrupt;
  TRY(OpenKeys keys, OpenKeys::open(arguments, interrupt.token()));
  TRY(NewSecret made, get_new_secret(arguments.key, kind));
  TRYV(add_new(keys, made, arguments.key.label));
  std::printf("Added a %s. It opens the volume beside what did before.\n", kind_name(kind));
  return {};
}

Outcome<void> run_key_remove(const Arguments& arguments) {
  Interrupt interrupt;
  TRY(OpenKeys keys, OpenKeys::open(arguments, interrupt.token()));
  TRY(CountingSlot slot, keys.find(arguments.operands[1]));
  if (slot.header.kind == SlotKind::kDevice)
    return give_up(Exit::kUsage, "this is the slot of a device, by which it gets new epochs",
                   "coffer key remove is for passphrases and recovery keys.");
  const std::string name = called(keys, slot);
  TRYV(keys.remove(slot.header.id));
  std::printf("Removed the %s.\n", name.c_str());
  if (slot.header.id == keys.opened().slot)
    std::printf("It is what you have just opened the volume with: make sure that you can with another.\n");
  say_what_remains();
  return {};
}

Outcome<void> run_key_change(const Arguments& arguments) {
  Interrupt interrupt;
  TRY(OpenKeys keys, OpenKeys::open(arguments, interrupt.token()));
  TRY(CountingSlot old, arguments.operands.size() > 1 ? keys.find(arguments.operands[1]) : keys.find_opened());
  if (old.header.kind == SlotKind::kDevice) return give_up(Exit::kUsage, "a device's key cannot be changed");
  TRYV(check_new_secret(arguments.key, old.header.kind));
  const std::string name = called(keys, old);
  TRY(NewSecret made, get_new_secret(arguments.key, old.header.kind));
  // The new one first, and only when it has opened what the store gives back does the old one go.
  TRYV(add_new(keys, made, arguments.key.label.empty() ? keys.note(old).label : arguments.key.label));
  TRYV(failpoint("key_change_added"));
  if (auto removed = keys.remove(old.header.id); !removed)
    return give_up(
        removed.error().exit,
        "the new " + std::string(kind_name(old.header.kind)) +
            " opens the volume, but the old one still does, too: " + removed.error().what,
        "Remove it with: coffer key remove " + arguments.operands[0] + " " + old.header.id.str().substr(0, kShortId));
  std::printf("Replaced the %s.\n", name.c_str());
  say_what_remains();
  return {};
}

namespace {

// As the store of what is mounted there; any other operand as it is.
Outcome<Arguments> by_store(Arguments arguments) {
  auto path = resolve_path(arguments.operands[0]);
  if (!path) return arguments;
  TRY(auto mounts, read_mounts());
  const MountEntry* mount = find_coffer_mount(mounts, *path);
  if (mount != nullptr && mount->mount_point == *path) arguments.operands[0] = mount->source;
  return arguments;
}

Outcome<bool> is_rewriting(const FoundMount& mount) {
  TRY(json status, ask(mount, Request{}, {}, {}));
  auto it = status.find("rewriting");
  return it != status.end() && it->is_object() && it->value("phase", "") != "done";
}

Outcome<void> follow_rewriting(const FoundMount& mount, Epoch epoch, bool quiet) {
  ProgressView view = ProgressView::on_stderr(quiet);
  Request request{Request::Op::kRewrite};
  request.epoch = epoch;
  auto done = ask(mount, request, [&view](const ProgressSample& s) { view.show(s); }, {});
  view.clear();
  if (!done && done.error().exit == Exit::kCutShort)
    return give_up(
        Exit::kCutShort, "old data is not all under the new keys yet",
        "The work goes on as long as the volume is mounted here, and again with the next mount. coffer status "
        "says how far it is; this command, given again, goes on watching.");
  if (!done) return give_up(done.error());
  std::fputs(
      "All files are under the new keys now, and so is a new checkpoint. coffer check confirms it.\n"
      "What was there before goes from the store when it has been needless for 30 days (coffer gc --grace 0 at once).\n"
      "What stays under the old keys: records, that is, what was changed when and how files were called, and the\n"
      "contents of small changes, as they were then. And whatever somebody has copied from the store.\n",
      stdout);
  return {};
}

}  // namespace

Outcome<void> run_key_rotate(const Arguments& given) {
  std::optional<FoundMount> mount;
  if (given.key.rewrite) {
    if (!on_a_mount(given.operands[0]))
      return give_up(Exit::kUsage, "--rewrite is done by a mounted volume",
                     "Mount it, and give the directory. coffer key rotate alone needs the store only.");
    TRY(mount, find_mount(given.operands[0]));
    TRY(bool under_way, is_rewriting(*mount));
    if (under_way) {
      std::fputs("Going on with what was asked for before: no other epoch has begun.\n", stdout);
      std::fflush(stdout);
      return follow_rewriting(*mount, 0, given.quiet);
    }
  }
  TRY(Arguments arguments, by_store(given));
  Interrupt interrupt;
  TRY(OpenKeys keys, OpenKeys::open(arguments, interrupt.token()));
  auto rotated = keys.rotate();
  if (!rotated) {
    Failure failure = rotated.error();
    failure.todo = "Whatever opened the volume opens it still. Repeat the command. " + failure.todo;
    return give_up(failure);
  }
  const Rotation& done = *rotated;
  std::printf("A new epoch of the volume's keys has begun. %s and %s have it.\n",
              format_count(done.people, "passphrase or recovery key", "passphrases and recovery keys").c_str(),
              format_count(done.devices, "device", "devices").c_str());
  if (done.left_out > 0)
    std::printf(
        "%s not: made by an earlier coffer, or by a rotation that was cut off. Repeat the command with what opens it,\n"
        "or replace it (coffer key change).\n",
        format_count(done.left_out, "key slot has it", "key slots have it").c_str());
  std::fputs(
      "Devices that are mounted seal with the new keys as soon as they see this, mostly within seconds; others when "
      "they\n"
      "are mounted. A device that has never published anything has to be unmounted, and mounted with the passphrase.\n",
      stdout);
  if (mount) {
    std::fflush(stdout);
    return follow_rewriting(*mount, done.epoch, arguments.quiet);
  }
  std::fputs(
      "What this does not do: what was written before is as it was, and opens with the old keys. Who has those can "
      "still\n"
      "read it, wherever he can get at the store's objects. coffer key rotate --rewrite seals it anew.\n",
      stdout);
  return {};
}

Outcome<void> run_key_forget(const Arguments& arguments) {
  TRY(Target target, resolve_target(arguments));
  std::optional<VolumeId> volume = remembered_volume(target.state_root, target.canonical);
  if (!volume) {
    TRY(OpenDrive drive, open_remote(target));
    TRY(VolumeHead head, find_volume(*drive.store));
    volume = head.volume;
  }
  std::optional<Failure> failed;
  bool any = false;
  for (auto& keeper : {make_kernel_keyring(), make_secret_service()}) {
    auto forgot = keeper->forget(*volume);
    // What is not there keeps nothing.
    if (!forgot && target.settings.keep_key.empty()) continue;
    if (!forgot) failed = forgot.error();
    if (!forgot || !*forgot) continue;
    std::printf("Removed the key from %s.\n", keeper->name().c_str());
    any = true;
  }
  if (failed) return give_up(*failed);
  if (!any) std::printf("No key of this volume is kept in the keyring or the Secret Service.\n");
  return {};
}

}  // namespace coffer::cli
