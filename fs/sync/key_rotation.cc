#include "fs/sync/key_rotation.h"

#include <algorithm>
#include <set>

#include "base/failpoint.h"
#include "crypto/key_ring.h"
#include "fs/sync/archived_logs.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/parallel.h"
#include "fs/sync/record.h"

namespace coffer {
namespace {

constexpr int kRounds = 5;

using Reopen = std::function<Result<VolumeSecrets>(const std::vector<Bytes>& objects)>;

// One pass over all slots, and what it has to know of the others' for the next.
class Renewal {
 public:
  Renewal(ObjectStore& store, const VolumeHead& head, OpenedVolume& opened, const std::vector<Bytes>& kept)
      : store_(store), head_(head), opened_(opened), kept_(kept) {}

  // Makes the new slots of everybody in memory.
  Result<Rotation> make(const std::vector<Member>& members, const SlotNote& note, const Reopen& reopen, bool again) {
    TRY(std::vector<Bytes> shown, read_slots(store_));
    const std::vector<Bytes> known = join_slots(head_, shown, kept_);
    const std::vector<CountingSlot> counting = counting_slots(head_, known);
    VolumeSecrets& secrets = opened_.secrets;
    auto of_others = [&](const CountingSlot& s) {
      return s.header.epoch && !secrets.epoch_keys.contains(*s.header.epoch);
    };
    if (std::ranges::any_of(counting, of_others)) {
      TRY(VolumeSecrets all, reopen(known));
      secrets.epoch_keys.merge(all.epoch_keys);
    }
    Revocations revocations;
    revocations.add_all(known, head_.volume, head_.signing_public);
    std::set<PublicKey> revoked;
    for (const Member& member : members)
      if (auto key = device_slot_key(member.key); key && revocations.revoked(member.device, member.vouchers))
        revoked.insert(*key);
    // The epoch of somebody who did not know of a revocation yet may have gone to the revoked device.
    if (again && !revocations.empty()) {
      TRY(Epoch epoch, next_epoch(secrets.epoch_keys));
      secrets.epoch_keys.emplace(epoch, Secret::random(kAeadKeySize));
    }
    Rotation done;
    done.epoch = secrets.epoch_keys.rbegin()->first;
    for (const CountingSlot& slot : counting) {
      if (!slot.stated && slot.header.id != opened_.slot) {
        ++done.left_out;
        continue;
      }
      if (of_others(slot)) {
        // Of a rotation that was cut off before all had its epoch: whoever opens it can finish that.
        set_aside_.insert(slot.header.id);
        continue;
      }
      // Two that rotated have both sealed it anew, perhaps.
      const bool first = !old_.contains(slot.header.slot_public);
      old_[slot.header.slot_public].insert(slot.header.id);
      if (slot.header.id == opened_.slot) opened_key_ = slot.header.slot_public;
      if (!first || revoked.contains(slot.header.slot_public)) continue;
      TRY(Bytes renewed, rewrap_slot(secrets, slot.object));
      TRYV(add(std::move(renewed)));
    }
    for (const Member& member : members) {
      auto key = device_slot_key(member.key);
      if (!key || old_.contains(*key) || revoked.contains(*key)) continue;
      SlotNote of_device = note;
      of_device.label = valid_slot_label(member.name) ? member.name : "";
      TRY(Bytes made, make_device_slot(secrets, member.key, of_device));
      TRYV(add(std::move(made)));
    }
    // The slot of whoever does this first: if it is cut off, he can open what it has left, and clear up.
    std::ranges::stable_partition(people_, [this](const Made& made) { return made.key == opened_key_; });
    for (const CountingSlot& slot : counting)
      done.left_out += set_aside_.contains(slot.header.id) && !old_.contains(slot.header.slot_public);
    done.people = people_.size();
    done.devices = devices_.size();
    return done;
  }

  Result<void> put() {
    TRYV(put(people_));
    TRYV(failpoint("key_rotation_people_put"));
    TRYV(put(devices_));
    TRYV(failpoint("key_rotation_devices_put"));
    return store_.put(epoch_hint(opened_.secrets.epoch_keys.rbegin()->first), {});
  }

  // After put(): what was removed by others meanwhile is not to live on in what replaces it. True: there are slots that this
  // pass did not know.
  Result<bool> look_again() {
    TRY(shown_, read_slots(store_));
    std::set<ObjectId> removed;
    for (const Bytes& object : shown_)
      if (is_slot_removal(object))
        if (auto slot = verify_slot_removal(object, head_.volume, head_.signing_public)) removed.insert(*slot);
    bool others = false;
    std::set<PublicKey> by_others;
    for (const CountingSlot& slot : counting_slots(head_, shown_)) {
      auto known = old_.find(slot.header.slot_public);
      if (!slot.stated || is_mine(slot.header.id) || set_aside_.contains(slot.header.id) ||
          (known != old_.end() && known->second.contains(slot.header.id)))
        continue;
      others = true;
      by_others.insert(slot.header.slot_public);
    }
    for (const std::vector<Made>* list : {&people_, &devices_}) {
      for (const Made& made : *list) {
        auto old = old_.find(made.key);
        if (old == old_.end() || by_others.contains(made.key) || !std::ranges::includes(removed, old->second)) continue;
        TRYV(remove(made.id));
      }
    }
    return others;
  }

  Result<void> remove_old() {
    for (const auto& [key, ids] : old_) {
      for (const ObjectId& id : ids) TRYV(remove(id));
      TRYV(failpoint("key_rotation_removed"));
    }
    return {};
  }

  // The new one of the slot that opened the volume.
  void follow_opened() {
    for (const Made& made : people_)
      if (made.key == opened_key_) opened_.slot = made.id;
  }
  const std::vector<Bytes>& shown() const { return shown_; }

 private:
  struct Made {
    ObjectId id;
    PublicKey key;
    Bytes object;
  };

  Result<void> add(Bytes object) {
    TRY(SlotHeader header, parse_slot_header(object));
    (opens_for_people(header.kind) ? people_ : devices_).push_back({header.id, header.slot_public, std::move(object)});
    return {};
  }
  bool is_mine(const ObjectId& id) const {
    auto same = [&id](const Made& made) { return made.id == id; };
    return std::ranges::any_of(people_, same) || std::ranges::any_of(devices_, same);
  }
  Result<void> remove(const ObjectId& id) {
    TRYV(store_.put(slot_removal_key(id), make_slot_removal(head_.volume, *opened_.secrets.signing_secret, id)));
    return store_.remove(slot_key(id));
  }
  Result<void> put(const std::vector<Made>& list) {
    for (const Made& made : list) TRYV(store_.put(slot_key(made.id), made.object));
    for (const Made& made : list) {
      auto back = store_.get(slot_key(made.id), kMaxSlotSize);
      // Somebody who removes what it replaces has seen it already.
      if (!back && back.error().code() == Code::kNotFound &&
          store_.get(slot_removal_key(made.id), kMaxRemovalSize).has_value())
        continue;
      if (!back) return fail(back.error());
      if (*back != made.object) return fail(Code::kCorrupt, "the store gives back another key slot than was put");
    }
    return {};
  }

  ObjectStore& store_;
  const VolumeHead& head_;
  OpenedVolume& opened_;
  const std::vector<Bytes>& kept_;
  std::map<PublicKey, std::set<ObjectId>> old_;
  std::set<ObjectId> set_aside_;
  PublicKey opened_key_;
  std::vector<Made> people_, devices_;
  std::vector<Bytes> shown_;
};

}  // namespace

Result<std::vector<Member>> read_members(ObjectStore& remote, const VolumeSecrets& secrets) {
  ArchivedLogs store(remote);
  TRY(std::vector<ObjectInfo> found, store.list(kLogPrefix));
  const KeyRing keys(secrets.epoch_keys);
  std::map<DeviceId, Member> members;
  for (const ObjectInfo& info : found) {
    auto name = parse_record_key(info.key);
    if (!name || name->number != 1) continue;
    auto object = store.get(info.key, kRecordMax);
    if (!object && object.error().code() == Code::kNotFound) continue;
    if (!object) return fail(object.error());
    auto opened = open_record(*object, secrets.volume, name->log, 1, [&keys](Epoch e) { return keys.find(e); });
    if (!opened) continue;
    const RecordOpening& opening = *opened->record.opening;
    const DeviceCertificate& certificate = opening.certificate;
    if (!certificate.valid(secrets.signing_public, secrets.volume) || !opened->signed_by(certificate.key)) continue;
    members[certificate.device] = {certificate.device, certificate.key, opening.device_name, certificate.voucher_ids()};
  }
  std::vector<Member> out;
  for (auto& [id, member] : members) out.push_back(std::move(member));
  return out;
}

Result<Rotation> renew_slots(ObjectStore& store, const VolumeHead& head, OpenedVolume& opened,
                             const std::vector<Bytes>& kept, const std::vector<Member>& members, const SlotNote& note,
                             const Reopen& reopen) {
  if (!opened.secrets.signing_secret) return fail(Code::kInvalid, "sealing key slots needs the volume's signing key");
  for (int round = 0; round < kRounds; ++round) {
    Renewal renewal(store, head, opened, kept);
    TRY(Rotation done, renewal.make(members, note, reopen, round > 0));
    TRYV(renewal.put());
    TRY(bool others, renewal.look_again());
    if (others) {
      // What they know has to be in all slots before any goes.
      TRY(VolumeSecrets all, reopen(renewal.shown()));
      opened.secrets.epoch_keys.merge(all.epoch_keys);
      continue;
    }
    TRYV(renewal.remove_old());
    renewal.follow_opened();
    TRY(std::vector<ObjectInfo> hints, store.list(kHintPrefix));
    for (const ObjectInfo& hint : hints)
      if (auto epoch = parse_epoch_hint(hint.key); epoch && *epoch < done.epoch) (void)store.remove(hint.key);
    return done;
  }
  return fail(Code::kBusy, "other devices change the key slots at the same time, again and again");
}

Result<Rotation> rotate_key(ObjectStore& store, const VolumeHead& head, OpenedVolume& opened,
                            const std::vector<Bytes>& kept, const std::vector<Member>& members, const SlotNote& note,
                            const Reopen& reopen) {
  TRY(Epoch epoch, next_epoch(opened.secrets.epoch_keys));
  opened.secrets.epoch_keys.emplace(epoch, Secret::random(kAeadKeySize));
  return renew_slots(store, head, opened, kept, members, note, reopen);
}

namespace {

// Follows a log from its first record as far as each next one is its author's and names the one before. What comes after a
// break is refused by everybody, so it must not count either.
class ChainWalk {
 public:
  ChainWalk(ObjectStore& store, const VolumeSecrets& secrets, const Member& member)
      : store_(store), volume_(secrets.volume), keys_(secrets.epoch_keys), member_(member) {}

  // By number, the records of that number.
  using Numbers = std::map<uint64_t, std::vector<RecordName>>;
  // nullopt: it is not the member's log.
  Result<std::optional<LogHead>> run(const LogId& log, const Numbers& numbers) const {
    std::optional<LogHead> last;
    for (uint64_t next = 1; numbers.contains(next);) {
      // The first alone: it tells whose log it is.
      const uint64_t end = next == 1 ? 2 : next + kAtOnce;
      std::vector<RecordName> names;
      for (; next < end && numbers.contains(next); ++next)
        names.insert(names.end(), numbers.at(next).begin(), numbers.at(next).end());
      TRY(std::vector<OpenedRecord> records, read(names));
      for (const OpenedRecord& record : records) {
        const bool follows = last ? record.number == last->number + 1 && record.record.previous == last->hash
                                  : record.number == 1 && record.record.previous.is_zero() &&
                                        record.record.opening->certificate.device == member_.device;
        if (follows) last = LogHead{log, record.number, record.hash};
      }
      if (!last || last->number + 1 < next) break;
    }
    return last;
  }

 private:
  static constexpr uint64_t kAtOnce = 64;

  // Those that open and bear the member's signature, in the order of `names`.
  Result<std::vector<OpenedRecord>> read(const std::vector<RecordName>& names) const {
    std::vector<std::optional<Result<Bytes>>> got(names.size());
    in_parallel("coffer-chain", names.size(), kThreads, [&](size_t i) {
      got[i] = store_.get(names[i].key(), kRecordMax);
      return got[i]->has_value() || got[i]->error().code() == Code::kNotFound;
    });
    std::vector<OpenedRecord> out;
    for (size_t i = 0; i < names.size(); ++i) {
      if (!got[i]) continue;  // another failed
      if (!*got[i] && got[i]->error().code() == Code::kNotFound) continue;
      if (!*got[i]) return fail(got[i]->error());
      auto opened =
          open_record(**got[i], volume_, names[i].log, names[i].number, [this](Epoch e) { return keys_.find(e); });
      if (opened && opened->signed_by(member_.key)) out.push_back(std::move(*opened));
    }
    return out;
  }
  static constexpr unsigned kThreads = 8;

  ObjectStore& store_;
  const VolumeId volume_;
  const KeyRing keys_;
  const Member& member_;
};

}  // namespace

Result<std::vector<LogHead>> accepted_heads(ObjectStore& remote, const VolumeSecrets& secrets, const Member& member) {
  ArchivedLogs store(remote);
  TRY(std::vector<ObjectInfo> found, store.list(kLogPrefix));
  std::map<LogId, ChainWalk::Numbers> logs;
  for (const ObjectInfo& info : found)
    if (auto name = parse_record_key(info.key)) logs[name->log][name->number].push_back(*name);
  const ChainWalk walk(store, secrets, member);
  std::vector<LogHead> heads;
  for (const auto& [log, numbers] : logs) {
    TRY(auto last, walk.run(log, numbers));
    if (last) heads.push_back(*last);
  }
  return heads;
}

Result<void> put_revocation(ObjectStore& store, const VolumeHead& head, const VolumeSecrets& secrets,
                            const std::vector<Bytes>& kept, const Revocation& revocation) {
  if (!secrets.signing_secret) return fail(Code::kInvalid, "revoking a device needs the volume's signing key");
  TRY(std::vector<Bytes> shown, read_slots(store));
  Revocations known;
  known.add_all(join_slots(head, shown, kept), head.volume, head.signing_public);
  // What it has written since does not come to count by revoking it again.
  if (known.revoked(revocation.device, {})) return {};
  TRY(Bytes object, make_revocation(revocation, head.volume, *secrets.signing_secret));
  TRY(Revocation made, verify_revocation(object, head.volume, head.signing_public));
  TRYV(store.put(revocation_key(made.id), object));
  TRY(Bytes back, store.get(revocation_key(made.id), kMaxRevocationSize));
  if (back != object) return fail(Code::kCorrupt, "the store gives back another revocation than was put");
  return failpoint("device_revoked");
}

}  // namespace coffer
