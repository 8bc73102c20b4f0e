#include "fs/check/store_repair.h"

#include <algorithm>

#include "cache/pack_store.h"
#include "crypto/hash.h"
#include "fs/replica/row_parts.h"
#include "fs/sync/checkpoint_row.h"
#include "fs/sync/kept_records.h"
#include "fs/sync/key_slots.h"
#include "fs/sync/object_keys.h"

namespace coffer {
namespace {

constexpr char kPutBack[] = "Put back from this device.";

class Repairer {
 public:
  Repairer(ObjectStore& store, const VolumeSecrets& secrets, const Remembered& remembered, Replica* replica,
           CheckOutcome& outcome, const std::stop_token& stop)
      : store_(store),
        head_{secrets.volume, secrets.signing_public},
        remembered_(remembered),
        replica_(replica),
        outcome_(outcome),
        stop_(stop) {}

  Result<void> run() {
    if (replica_) {
      kept_.emplace(*replica_);
      TRYV(kept_->load());
    }
    for (Damage& d : outcome_.damages) {
      if (stop_.stop_requested()) return fail(Code::kCancelled, "interrupted");
      if (d.thing == "head") {
        // The secrets that were opened say what is in it.
        TRYV(store_.put(kVolumeKey, encode(head_), stop_));
        d.repaired = kPutBack;
      } else if (d.thing == "pack") {
        TRYV(repair_pack(d));
      } else if (d.thing == "record") {
        TRYV(repair_record(d));
      } else if (d.thing == "hint") {
        TRYV(d.trouble == Trouble::kStale ? store_.remove(d.object, stop_) : store_.put(d.object, {}, stop_));
        d.repaired = d.trouble == Trouble::kStale ? "Removed." : "Put there.";
      } else if (d.thing == "checkpoint" || d.thing == "segment") {
        TRYV(retire_checkpoint(d));
      }
    }
    return repair_slots();
  }

 private:
  Result<void> repair_slots() {
    auto is_slot = [](const Damage& d) { return d.thing == "slot" || d.thing == "removal" || d.thing == "revocation"; };
    if (std::ranges::none_of(outcome_.damages, is_slot)) return {};
    auto there = read_slots(store_);
    if (!there && there.error().code() != Code::kNotFound) return fail(there.error());
    std::vector<Bytes> from_store = there ? std::move(*there) : std::vector<Bytes>();
    const std::vector<Bytes> joined = join_slots(head_, from_store, remembered_.slots);
    TRYV(put_back_slots(store_, head_, joined, from_store));
    for (Damage& d : outcome_.damages)
      if (is_slot(d) && std::ranges::any_of(joined, [&](const Bytes& object) {
            return d.object == kSlotPrefix || slot_object_key(head_, object) == d.object;
          }))
        d.repaired = kPutBack;
    return {};
  }

  Result<void> repair_pack(Damage& d) {
    auto id = parse_pack_key(d.object);
    if (!replica_ || !id) return {};
    TRY(auto place, replica_->place_of(*id));
    if (!place || place->key != d.object) return {};
    auto bytes = replica_->packs().bytes(*id, place->size);
    if (!bytes && (bytes.error().code() == Code::kNotFound || bytes.error().code() == Code::kRange)) return {};
    if (!bytes) return fail(bytes.error());
    auto index = read_pack_index(*bytes, *id, replica_->volume(), replica_->key_ring());
    if (!index) return {};
    for (const IndexEntry& e : *index)
      if (blake2b(BytesView(*bytes).subspan(e.frame.offset, e.frame.length)) != e.frame.hash) return {};
    TRYV(store_.put(d.object, *bytes, stop_));
    d.repaired = kPutBack;
    return {};
  }

  // Of a record that is missing the key says its log and number only.
  Result<void> repair_record(Damage& d) {
    if (!replica_) return {};
    TRY(auto outgoing, replica_->outgoing());
    if (outgoing && (outgoing->key == d.object || outgoing->key.starts_with(d.object + "-"))) {
      TRYV(store_.put(outgoing->key, outgoing->sealed, stop_));
      d.repaired = kPutBack;
      return {};
    }
    auto name = parse_record_key(d.object);
    if (!name) name = parse_record_key(d.object + "-0000000000000000");
    auto kept = name ? kept_->find(name->log, name->number) : std::nullopt;
    if (!kept) return {};
    TRY(auto bytes, kept_->read(name->log, name->number));
    if (!bytes) return {};
    TRYV(store_.put(kept->name.key(), *bytes, stop_));
    d.repaired = kPutBack;
    return {};
  }

  Result<void> retire_checkpoint(Damage& d) {
    auto is_lost = [](const Damage& other) { return other.thing == "record" && other.is_fault(); };
    TRY(const bool replaced, ask_for_another());
    if (outcome_.checkpoints == 0 && std::ranges::any_of(outcome_.damages, is_lost)) {
      d.todo = std::string("The logs are not whole either, so it stays in use: ") +
               (replaced ? "this device has the state, and writes another one when it is mounted next. "
                         : "a restored object would help. ") +
               d.todo;
      return {};
    }
    TRYV(store_.remove(d.hint, stop_));
    d.repaired = std::string("The checkpoint was taken out of use.") +
                 (replaced ? " This device writes another one when it is mounted next." : "");
    return {};
  }

  // The next checkpoint of this device is not built on segments of the damaged one; and it is made soon, if the state that is here
  // is whole.
  Result<bool> ask_for_another() {
    if (!replica_) return false;
    TRY(const bool sound, is_whole(*replica_));
    std::vector<RowPut> rows{{checkpoint_row_key(), std::nullopt}};
    if (sound) rows.push_back({checkpoint_wanted_key(), Bytes()});
    TRYV(replica_->put_rows(rows, true));
    return sound;
  }

  static Result<bool> is_whole(Replica& replica) {
    if (replica.parts().loading()) return false;
    TRY(bool root, replica.has_root());
    TRY(auto faults, replica.find_faults());
    return root && faults.empty();
  }

  ObjectStore& store_;
  const VolumeHead head_;
  const Remembered& remembered_;
  Replica* const replica_;
  std::optional<KeptRecords> kept_;
  CheckOutcome& outcome_;
  const std::stop_token& stop_;
};

}  // namespace

Result<void> repair_store(ObjectStore& store, const VolumeSecrets& secrets, const Remembered& remembered,
                          Replica* replica, CheckOutcome& outcome, const std::stop_token& stop) {
  return Repairer(store, secrets, remembered, replica, outcome, stop).run();
}

}  // namespace coffer
