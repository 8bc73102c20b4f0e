#include "fs/sync/key_slots.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/failpoint.h"
#include "fs/sync/object_keys.h"

namespace coffer {
namespace {

// What is planted there by somebody else costs a GET each, not more than so many.
constexpr size_t kMaxSlots = 256;
constexpr size_t kMaxRemovals = 512;
constexpr size_t kMaxRevocations = 64;
constexpr int kListAttempts = 4;

std::set<ObjectId> removed_slots(const VolumeHead& head, const std::vector<Bytes>& objects) {
  std::set<ObjectId> removed;
  for (const Bytes& object : objects) {
    if (!is_slot_removal(object)) continue;
    if (auto slot = verify_slot_removal(object, head.volume, head.signing_public)) removed.insert(*slot);
  }
  return removed;
}

// Opens the first slot of `kind` that `open` opens and that is of this volume; and those that were sealed anew to the same key
// by devices that began an epoch at the same moment, of which each knows its own.
template <typename Open>
Result<OpenedVolume> open_with(const VolumeHead& head, const std::vector<Bytes>& objects, SlotKind kind,
                               const std::string& denied, Open&& open) {
  std::optional<Error> trouble;
  std::optional<OpenedVolume> opened;
  PublicKey opened_with;
  bool any = false;
  for (const CountingSlot& slot : counting_slots(head, objects)) {
    if (slot.header.kind != kind || (opened && slot.header.slot_public != opened_with)) continue;
    any = true;
    Result<VolumeSecrets> secrets = open(slot.object);
    if (secrets) {
      if (secrets->volume == head.volume && secrets->signing_public == head.signing_public) {
        if (!opened) {
          opened = OpenedVolume{std::move(*secrets), slot.header.id};
          opened_with = slot.header.slot_public;
        } else {
          opened->secrets.epoch_keys.merge(secrets->epoch_keys);
        }
        continue;
      }
      trouble = Error(Code::kCorrupt,
                      "a key slot belongs to another volume than the object 'coffer' says: one of the "
                      "two was replaced in the store");
    } else if (secrets.error().code() != Code::kDenied) {
      trouble = secrets.error();
    }
  }
  if (opened) return std::move(*opened);
  if (trouble) return fail(*trouble);
  if (any) return fail(Code::kDenied, denied);
  // What does not count may have been the slot that is looked for.
  for (const Bytes& object : objects) {
    if (is_slot_removal(object) || is_revocation(object)) continue;
    auto header = verify_slot(object, head.volume, head.signing_public);
    if (!header && header.error().code() != Code::kUnsupported) return fail(header.error());
  }
  return fail(Code::kDenied, "the volume has no key slot of this kind");
}

// Whether the store has a slot that a member made, and that a person can open.
bool leaves_a_way_in(const VolumeHead& head, const std::vector<Bytes>& from_store, const std::set<ObjectId>& removed) {
  return std::ranges::any_of(from_store, [&](const Bytes& object) {
    auto header = verify_slot(object, head.volume, head.signing_public);
    return header && opens_for_people(header->kind) && !removed.contains(header->id);
  });
}

Result<std::vector<Bytes>> read_listed_slots(ObjectStore& store, bool& vanished) {
  TRY(std::vector<ObjectInfo> found, store.list(kSlotPrefix));
  std::set<ObjectId> slots, removals, revocations;
  for (const ObjectInfo& info : found)
    if (auto name = parse_slot_key(info.key))
      (name->removal ? removals : name->revocation ? revocations : slots).insert(name->slot);

  std::vector<std::string> wanted;
  for (const ObjectId& id : slots)
    if (wanted.size() < kMaxSlots) wanted.push_back(slot_key(id));
  for (const ObjectId& id : revocations)
    if (wanted.size() < slots.size() + kMaxRevocations) wanted.push_back(revocation_key(id));
  // First those that matter now; the others are to be remembered.
  size_t most = wanted.size() + kMaxRemovals;
  for (bool there : {true, false})
    for (const ObjectId& id : removals)
      if (slots.contains(id) == there && wanted.size() < most) wanted.push_back(slot_removal_key(id));

  std::vector<Bytes> objects;
  for (const std::string& key : wanted) {
    const SlotName name = *parse_slot_key(key);
    auto object = store.get(key, name.removal ? kMaxRemovalSize : name.revocation ? kMaxRevocationSize : kMaxSlotSize);
    if (object) {
      objects.push_back(std::move(*object));
    } else if (object.error().code() == Code::kNotFound) {
      vanished = true;
    } else if (object.error().code() != Code::kTooLarge) {
      return fail(object.error());
    }
  }
  return objects;
}

}  // namespace

bool opens_for_people(SlotKind kind) { return kind == SlotKind::kPassphrase || kind == SlotKind::kRecoveryKey; }

std::optional<std::string> slot_object_key(const VolumeHead& head, const Bytes& object) {
  if (is_slot_removal(object)) {
    auto slot = verify_slot_removal(object, head.volume, head.signing_public);
    return slot ? std::optional(slot_removal_key(*slot)) : std::nullopt;
  }
  if (is_revocation(object)) {
    auto revocation = verify_revocation(object, head.volume, head.signing_public);
    return revocation ? std::optional(revocation_key(revocation->id)) : std::nullopt;
  }
  auto header = parse_slot_header(object);
  return header ? std::optional(slot_key(header->id)) : std::nullopt;
}

Result<std::vector<Bytes>> read_slots(ObjectStore& store) {
  for (int attempt = 1;; ++attempt) {
    bool vanished = false;
    TRY(std::vector<Bytes> objects, read_listed_slots(store, vanished));
    // While somebody rotates, what is listed goes, and what replaces it was put after the list.
    if (vanished && attempt < kListAttempts) continue;
    bool any_slot = std::ranges::any_of(
        objects, [](const Bytes& object) { return !is_slot_removal(object) && !is_revocation(object); });
    if (!any_slot) return fail(Code::kNotFound, store.describe() + " has no key slots: the volume cannot be opened");
    return objects;
  }
}

std::vector<CountingSlot> counting_slots(const VolumeHead& head, const std::vector<Bytes>& objects) {
  std::vector<CountingSlot> all;
  std::set<ObjectId> seen;
  for (const Bytes& object : objects) {
    if (is_slot_removal(object) || is_revocation(object)) continue;
    auto header = verify_slot(object, head.volume, head.signing_public);
    bool stated = header.has_value();
    if (!header && header.error().code() == Code::kUnsupported) header = parse_slot_header(object);
    if (header && (!stated || seen.insert(header->id).second)) all.push_back({*header, object, stated});
  }
  const std::set<ObjectId> removed = removed_slots(head, objects);
  auto counts = [&](const CountingSlot& s) { return !removed.contains(s.header.id); };
  bool way_in =
      std::ranges::any_of(all, [&](const CountingSlot& s) { return opens_for_people(s.header.kind) && counts(s); });
  if (way_in) std::erase_if(all, [&](const CountingSlot& s) { return !counts(s); });
  return all;
}

std::vector<Bytes> join_slots(const VolumeHead& head, const std::vector<Bytes>& from_store,
                              const std::vector<Bytes>& kept) {
  std::vector<Bytes> all = from_store;
  for (const Bytes& object : kept)
    if (is_slot_removal(object) || is_revocation(object) || verify_slot(object, head.volume, head.signing_public))
      all.push_back(object);
  std::vector<Bytes> joined;
  for (const Bytes& object : all) {
    bool known = std::ranges::find(joined, object) != joined.end();
    if (!known && (verify_slot_removal(object, head.volume, head.signing_public) ||
                   verify_revocation(object, head.volume, head.signing_public)))
      joined.push_back(object);
  }
  for (CountingSlot& slot : counting_slots(head, all)) joined.push_back(std::move(slot.object));
  return joined;
}

Result<std::vector<std::string>> put_back_slots(ObjectStore& store, const VolumeHead& head,
                                                const std::vector<Bytes>& joined,
                                                const std::vector<Bytes>& from_store) {
  std::vector<std::string> back;
  for (const Bytes& object : joined) {
    auto key = slot_object_key(head, object);
    if (!key || std::ranges::find(from_store, object) != from_store.end()) continue;
    if (auto there = store.get(*key, object.size()); there && *there == object) continue;
    // Somebody has removed it, and the listing did not show that yet: it is not missed.
    const SlotName name = *parse_slot_key(*key);
    if (!name.removal && !name.revocation)
      if (auto removal = store.get(slot_removal_key(name.slot), kMaxRemovalSize);
          removal && verify_slot_removal(*removal, head.volume, head.signing_public))
        continue;
    TRYV(store.put(*key, object));
    back.push_back(std::move(*key));
  }
  return back;
}

std::string describe_slot_object(const std::string& key) {
  const auto name = parse_slot_key(key);
  if (!name) return "the object " + key;
  const std::string id = name->slot.str().substr(0, 8) + "...";
  if (name->revocation) return "the revocation " + id + " of a device";
  return (name->removal ? "the removal of key slot " : "key slot ") + id;
}

Result<OpenedVolume> open_volume(const VolumeHead& head, const std::vector<Bytes>& objects, const Secret& passphrase) {
  return open_with(head, objects, SlotKind::kPassphrase, "wrong passphrase",
                   [&](const Bytes& slot) { return open_passphrase_slot(slot, passphrase); });
}

Result<OpenedVolume> open_volume(const VolumeHead& head, const std::vector<Bytes>& objects,
                                 const RecoveryKey& recovery) {
  return open_with(head, objects, SlotKind::kRecoveryKey, "the recovery key is not of this volume",
                   [&](const Bytes& slot) { return open_recovery_slot(slot, recovery); });
}

Result<VolumeSecrets> unlock(const VolumeHead& head, const std::vector<Bytes>& objects, const Secret& passphrase) {
  TRY(OpenedVolume opened, open_volume(head, objects, passphrase));
  return std::move(opened.secrets);
}

Result<VolumeSecrets> unlock(const VolumeHead& head, const std::vector<Bytes>& objects, const RecoveryKey& recovery) {
  TRY(OpenedVolume opened, open_volume(head, objects, recovery));
  return std::move(opened.secrets);
}

size_t take_device_slots(const VolumeHead& head, const std::vector<Bytes>& objects, const SigningKey& device,
                         std::map<Epoch, Secret>& keys) {
  const auto mine = device_slot_key(device.public_key());
  const size_t before = keys.size();
  for (const CountingSlot& slot : counting_slots(head, objects)) {
    if (slot.header.kind != SlotKind::kDevice || !slot.stated || slot.header.slot_public != mine) continue;
    if (auto opened = open_device_slot(slot.object, device, head.volume, head.signing_public))
      keys.merge(opened->epoch_keys);
  }
  return keys.size() - before;
}

bool secrets_are_current(const VolumeHead& head, const std::vector<Bytes>& objects, const VolumeSecrets& secrets) {
  if (secrets.volume != head.volume || secrets.signing_public != head.signing_public || secrets.epoch_keys.empty())
    return false;
  bool any_stated = false, newest_fits = false;
  for (const CountingSlot& slot : counting_slots(head, objects)) {
    if (!slot.stated) continue;
    any_stated = true;
    auto note = read_slot_note(slot.object, secrets);
    if (!note) return false;  // of a newer epoch, or under another key
    newest_fits |= slot.header.epoch == secrets.epoch_keys.rbegin()->first;
  }
  return newest_fits || !any_stated;
}

Result<void> add_slot(ObjectStore& store, BytesView slot,
                      const std::function<Result<VolumeSecrets>(BytesView object)>& open) {
  TRY(SlotHeader header, parse_slot_header(slot));
  const std::string key = slot_key(header.id);
  TRYV(store.put(key, slot));
  auto back = store.get(key, kMaxSlotSize);
  auto opened = back ? open(*back) : Result<VolumeSecrets>(fail(back.error()));
  if (opened) return {};
  (void)store.remove(key);
  return fail(opened.error().in("the new key slot does not open when it is read back from the store"));
}

Result<void> remove_slot(ObjectStore& store, const VolumeHead& head, const VolumeSecrets& secrets,
                         const std::vector<Bytes>& kept, const ObjectId& slot) {
  if (!secrets.signing_secret) return fail(Code::kInvalid, "removing a key slot needs the volume's signing key");
  TRY(std::vector<Bytes> before, read_slots(store));
  const std::vector<CountingSlot> counting = counting_slots(head, join_slots(head, before, kept));
  auto target = std::ranges::find(counting, slot, [](const CountingSlot& s) { return s.header.id; });
  if (target == counting.end()) return fail(Code::kNotFound, "no key slot of this id counts");
  std::set<ObjectId> going{slot}, put;
  // A new epoch that begins at the same moment has sealed it anew, under another id.
  auto add_others_of_key = [&](const std::vector<CountingSlot>& slots) {
    for (const CountingSlot& other : slots)
      if (other.stated && other.header.slot_public == target->header.slot_public) going.insert(other.header.id);
  };
  add_others_of_key(counting);
  const std::set<ObjectId> forgotten = removed_slots(head, kept);
  auto way_in_without_it = [&](const std::vector<Bytes>& objects) {
    std::set<ObjectId> removed = removed_slots(head, objects);
    removed.insert(forgotten.begin(), forgotten.end());
    removed.insert(going.begin(), going.end());
    return leaves_a_way_in(head, objects, removed);
  };
  if (!way_in_without_it(before))
    return fail(Code::kNotPermitted, "without this key slot nobody could open the volume any more");

  std::vector<Bytes> after;
  while (put != going) {
    for (const ObjectId& id : going)
      if (put.insert(id).second)
        TRYV(store.put(slot_removal_key(id), make_slot_removal(head.volume, *secrets.signing_secret, id)));
    TRYV(failpoint("key_slot_removal_put"));
    // Whoever removes the others at the same moment has put his removal before he looks, too: one of the two sees both.
    TRY(after, read_slots(store));
    if (!way_in_without_it(after)) {
      if (!target->stated)
        return fail(Code::kBusy, "another device removed all the other key slots at the same moment");
      TRY(Bytes again, rewrap_slot(secrets, target->object));
      TRY(SlotHeader header, parse_slot_header(again));
      TRYV(store.put(slot_key(header.id), again));
      return fail(Code::kBusy, "another device removed all the other key slots at the same moment");
    }
    add_others_of_key(counting_slots(head, after));
  }
  // And what somebody who was cut off here has left.
  std::set<ObjectId> gone = removed_slots(head, after);
  gone.insert(going.begin(), going.end());
  for (const Bytes& object : after)
    if (auto header = parse_slot_header(object); header && gone.contains(header->id))
      TRYV(store.remove(slot_key(header->id)));
  return {};
}

}  // namespace coffer
