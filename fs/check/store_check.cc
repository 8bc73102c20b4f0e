#include "fs/check/store_check.h"

#include <algorithm>

#include "fs/check/archive_check.h"
#include "fs/check/checkpoint_check.h"
#include "fs/check/data_check.h"
#include "fs/check/log_check.h"
#include "fs/check/paths.h"
#include "fs/sync/key_slots.h"
#include "fs/sync/object_keys.h"

namespace coffer {
namespace {

void check_head(CheckContext& c, const Result<Bytes>& object) {
  constexpr char kTodo[] =
      "Without it no device can join. `coffer check --repair` on a device that has mounted the volume puts it back.";
  auto report = [&](Trouble trouble, const std::string& why) {
    c.report({trouble, "head", kVolumeKey, "the volume's head " + why, kTodo, {}});
  };
  if (!object) return report(Trouble::kMissing, "is not there");
  auto head = decode_volume_head(*object);
  if (head && head->volume == c.volume && head->signing_public == c.volume_signing) return;
  if (head) return report(Trouble::kExchanged, "is that of another volume, or was changed");
  const Bytes whole = encode(VolumeHead{c.volume, c.volume_signing});
  if (head.error().code() == Code::kTooNew) return report(Trouble::kTooNew, "is refused: " + head.error().what());
  if (object->size() < whole.size() && std::equal(object->begin(), object->end(), whole.begin()))
    return report(Trouble::kCutOff, "is cut off: " + std::to_string(object->size()) + " of " +
                                        std::to_string(whole.size()) + " bytes are there");
  report(Trouble::kDamaged, "is refused: " + head.error().what());
}

// A slot or a removal, by the name under which it lies.
class SlotCheck {
 public:
  SlotCheck(CheckContext& context, const Remembered& remembered)
      : c_(context), head_{context.volume, context.volume_signing}, remembered_(remembered) {}

  Result<void> run() {
    for (const auto& [key, size] : c_.objects) {
      auto name = parse_slot_key(key);
      if (!name) continue;
      TRYV(name->removal      ? check_removal(key, *name)
           : name->revocation ? check_revocation(key, *name)
                              : check_slot(key, *name));
    }
    c_.revocations.add_all(objects_, c_.volume, c_.volume_signing);
    c_.revocations.add_all(remembered_.slots, c_.volume, c_.volume_signing);
    if (std::ranges::none_of(counting_slots(head_, objects_),
                             [](const CountingSlot& s) { return opens_for_people(s.header.kind); }))
      c_.report(
          {Trouble::kMissing,
           "slot",
           kSlotPrefix,
           "there is no key slot that a person can open",
           "Nobody can open the volume anew. `coffer check --repair` on a device that has mounted it puts its copies "
           "back.",
           {}});
    for (const Bytes& kept : join_slots(head_, objects_, remembered_.slots)) {
      auto key = slot_object_key(head_, kept);
      if (!key || std::ranges::find(objects_, kept) != objects_.end() || bad_.contains(*key)) continue;
      report(Trouble::kMissing, *key, "was seen by this device, and is not there any more");
    }
    return {};
  }

 private:
  void report(Trouble trouble, const std::string& key, const std::string& why) {
    bool removal = key.ends_with(".removed"), revocation = key.ends_with(".revoked");
    bad_.insert(key);
    if (revocation)
      return c_.report({trouble,
                        "revocation",
                        key,
                        "the revocation of a device, " + key.substr(sizeof kSlotPrefix - 1, 8) + "..., " + why,
                        "A device that was revoked may count again for who has not seen the revocation. `coffer check "
                        "--repair` on a device that has seen it puts it back; `coffer device revoke` makes another.",
                        {}});
    c_.report(
        {trouble,
         removal ? "removal" : "slot",
         key,
         (removal ? "the removal of key slot " : "key slot ") + key.substr(sizeof kSlotPrefix - 1, 8) + "... " + why,
         removal ? "A slot that was removed may count again for who has not seen the removal. `coffer check --repair` "
                   "on a device that has seen it puts it back."
                 : "Who has its passphrase or key cannot open the volume with it on a new device. `coffer check "
                   "--repair` on a device that has mounted the volume puts its copy back; else make a new one with "
                   "`coffer key add`.",
         {}});
  }
  Result<std::optional<Bytes>> get(const std::string& key, size_t limit) {
    return c_.get(key, limit, [&](const Error& e) {
      report(e.code() == Code::kNotFound ? Trouble::kMissing : Trouble::kDamaged, key, "cannot be read: " + e.what());
    });
  }
  Result<void> check_slot(const std::string& key, const SlotName& name) {
    TRY(std::optional<Bytes> object, get(key, kMaxSlotSize));
    if (!object) return {};
    auto header = verify_slot(*object, c_.volume, c_.volume_signing);
    if (!header && header.error().code() == Code::kUnsupported) header = parse_slot_header(*object);  // of version 1
    if (header && header->id == name.slot) {
      objects_.push_back(std::move(*object));
      return {};
    }
    if (header)
      report(Trouble::kExchanged, key, "is not there: the object is slot " + header->id.str());
    else
      refuse(key, *object, header.error());
    return {};
  }
  void refuse(const std::string& key, const Bytes& object, const Error& error) {
    if (error.code() == Code::kTooNew)
      report(Trouble::kTooNew, key, "is refused: " + error.what());
    else if (is_cut_off(object))
      report(Trouble::kCutOff, key, "is cut off: " + std::to_string(object.size()) + " bytes are there");
    else
      report(Trouble::kDamaged, key, "is refused: " + error.what());
  }
  // Whether it is the beginning of a copy that this device has.
  bool is_cut_off(const Bytes& object) const {
    return std::ranges::any_of(remembered_.slots, [&](const Bytes& kept) {
      return object.size() < kept.size() && std::equal(object.begin(), object.end(), kept.begin());
    });
  }
  Result<void> check_removal(const std::string& key, const SlotName& name) {
    TRY(std::optional<Bytes> object, get(key, kMaxRemovalSize));
    if (!object) return {};
    auto slot = verify_slot_removal(*object, c_.volume, c_.volume_signing);
    if (slot && *slot == name.slot)
      objects_.push_back(std::move(*object));
    else if (slot)
      report(Trouble::kExchanged, key, "is not there: the object removes slot " + slot->str());
    else
      refuse(key, *object, slot.error());
    return {};
  }

  Result<void> check_revocation(const std::string& key, const SlotName& name) {
    TRY(std::optional<Bytes> object, get(key, kMaxRevocationSize));
    if (!object) return {};
    auto revocation = verify_revocation(*object, c_.volume, c_.volume_signing);
    if (revocation && revocation->id == name.slot)
      objects_.push_back(std::move(*object));
    else if (revocation)
      report(Trouble::kExchanged, key, "is not there: the object is revocation " + revocation->id.str());
    else
      refuse(key, *object, revocation.error());
    return {};
  }

  CheckContext& c_;
  const VolumeHead head_;
  const Remembered& remembered_;
  std::vector<Bytes> objects_;
  std::set<std::string> bad_;
};

// The newest record of a log that goes on should be announced, or others see it late.
void check_hints(CheckContext& c, const LogTails& tails) {
  std::map<LogId, uint64_t> hinted;
  for (const auto& [key, size] : c.objects) {
    auto hint = parse_hint_key(key);
    if (hint) hinted[hint->log] = std::max(hinted[hint->log], hint->number);
    if (hint && !c.has(hint->key()))
      if (auto tail = tails.find(hint->log); tail && tail->number >= hint->number)
        c.report({Trouble::kStale, "hint", key, "a hint names a record that is not there", "It does no harm.", {}});
  }
  for (const LogTail& tail : tails.all()) {
    if (!tail.open() || hinted[tail.log] > tail.number) continue;  // what comes after it is damaged
    for (auto it = c.objects.lower_bound(log_prefix(tail.log)); it != c.objects.end(); ++it) {
      auto name = parse_record_key(it->first);
      if (!name || name->log != tail.log) break;
      // It may have come after the list.
      if (name->number == tail.number && !c.has(name->hint()) && !c.store.get(name->hint(), 4096, c.options.stop))
        c.report(
            {Trouble::kMissing,
             "hint",
             name->hint(),
             "no hint names the newest record of " + tail.name + "'s log",
             "Others see that record up to an hour late. `coffer check --repair`, and that device when it is mounted, "
             "put it back.",
             {}});
    }
  }
}

// What this device has seen of the logs.
void check_seen(CheckContext& c, const Remembered& remembered, const LogTails& tails) {
  for (const LogTail& seen : remembered.tails) {
    auto there = tails.find(seen.log);
    if (there && there->number >= seen.number) continue;
    std::string key = log_prefix(seen.log) + std::to_string(seen.number);
    c.report(
        {Trouble::kMissing,
         "record",
         key,
         "record " + std::to_string(seen.number) + " of " + seen.name + "'s log " + seen.log.str().substr(0, 8) +
             "... was applied on this device, and cannot be had from the store" +
             (there ? " (" + std::to_string(there->number) + " is the last that can)" : ""),
         "Somebody removed it, or the store went back to an earlier state, or something before it is damaged. This "
         "device has what it did; a new one would not see it.",
         {}});
  }
}

void check_unneeded(CheckContext& c, const CheckpointCheck& checkpoints, const DataCheck& data) {
  uint64_t count = 0, bytes = 0, pairing = 0;
  for (const auto& [key, size] : c.objects) {
    if (parse_pair_key(key)) {
      ++pairing;
      continue;
    }
    if (parse_record_key(key) || parse_hint_key(key) || parse_checkpoint_hint(key) || parse_slot_key(key) ||
        parse_epoch_hint(key) || parse_archive_key(key) || key == kVolumeKey)
      continue;
    if (!parse_pack_key(key)) {
      c.report({Trouble::kForeign,
                "object",
                key,
                "the object has a name that coffer does not give",
                "It belongs to somebody else, and is left alone.",
                {}});
    } else if (!checkpoints.needed().contains(key) && !data.needed().contains(key)) {
      ++count;
      bytes += size;
    }
  }
  if (pairing > 0)
    c.report({Trouble::kUnneeded,
              "object",
              kPairPrefix,
              std::to_string(pairing) + (pairing == 1 ? " object" : " objects") + " of devices that ask to be let in",
              "`coffer gc`, and `coffer device add`, remove what is a day old.",
              {}});
  if (count > 0)
    c.report({Trouble::kUnneeded,
              "object",
              "obj/",
              std::to_string(count) + " objects of " + std::to_string(bytes) +
                  " bytes hold nothing that the newest state needs",
              "Earlier contents of files, uploads that were cut short, or what another device is just writing.",
              {}});
}

// Damage of a record: which files have bytes in it, or wait for it.
void add_paths(std::vector<Damage>& damages, const LogCheck& logs, const DataCheck& data, Replica& state) {
  for (Damage& damage : damages) {
    if (damage.thing != "record") continue;
    std::set<std::string> paths;
    for (Ino ino : data.files_in(damage.object))
      if (auto path = path_of(state, ino)) paths.insert(*path);
    if (auto held = logs.held_back().find(damage.object); held != logs.held_back().end())
      paths.insert(held->second.begin(), held->second.end());
    for (const std::string& path : paths) {
      if (damage.paths.size() < kPathsTold)
        damage.paths.push_back(path);
      else
        ++damage.more_paths;
    }
  }
}

}  // namespace

uint64_t CheckOutcome::faults() const {
  return static_cast<uint64_t>(std::ranges::count_if(damages, &Damage::is_fault));
}

Result<CheckOutcome> check_store(ObjectStore& store, const VolumeSecrets& secrets, const Remembered& remembered,
                                 Replica& scratch, CheckOptions options) {
  CheckContext c(store, secrets, std::move(options));
  TRYV(c.list());
  auto head = store.get(kVolumeKey, 4096, c.options.stop);
  if (!head && head.error().retryable()) return fail(head.error());
  check_head(c, head);
  TRYV(SlotCheck(c, remembered).run());
  CheckpointCheck checkpoints(c);
  TRYV(checkpoints.run());
  LogCheck logs(c, scratch);
  TRYV(logs.run(checkpoints.take_newest()));
  TRYV(check_archives(c, logs.good()));
  if (logs.all_applied()) check_hints(c, logs.tails());
  check_seen(c, remembered, logs.tails());
  TRY(auto unsound, scratch.find_faults());
  for (const std::string& fault : unsound)
    c.report({Trouble::kForged,
              "object",
              "",
              "the state that the records add up to is unsound: " + fault,
              "This should never be: please tell the maintainers.",
              {}});
  DataCheck data(c, scratch);
  TRYV(data.survey(logs.good()));
  TRYV(data.read_packs());
  check_unneeded(c, checkpoints, data);

  CheckOutcome out;
  TRY(out.old_keys, find_old_keys(c, data.needed(), checkpoints.needed()));
  out.damages = c.take_damages();
  add_paths(out.damages, logs, data, scratch);
  out.objects = c.objects.size() - c.in_archives;
  for (const auto& [key, size] : c.objects) out.object_bytes += size;
  out.object_bytes -= c.bytes_in_archives;
  out.records = logs.records();
  out.checkpoints = checkpoints.sound();
  out.packs = data.packs();
  out.packs_read = data.packs_read();
  out.bytes_read = data.bytes_read();
  out.files = data.files();
  return out;
}

}  // namespace coffer
