#include "fs/sync/key_watch.h"

#include <algorithm>

#include "base/log.h"
#include "fs/sync/key_slots.h"
#include "fs/sync/object_keys.h"
#include "remote/stoppable_store.h"

namespace coffer {
namespace {

constexpr Nanos kLookEvery = std::chrono::hours(1);
constexpr size_t kAskedMost = 1000;
constexpr char kOtherVolume[] = "other volume", kNoVolume[] = "no volume", kPutBack[] = "slots put back";

}  // namespace

void KeyWatch::want(Epoch epoch) {
  if (c_.keys_of(epoch) != nullptr) return;
  wanted_ = true;
  if (asked_.size() < kAskedMost && asked_.insert(epoch).second) retry_at_ = Nanos(0);
}

bool KeyWatch::look(const std::stop_token& stop) {
  if (c_.options.slot_copies == nullptr) return false;
  const Nanos now = c_.clock.monotonic();
  const bool regular = !looked_at_ || soon_ || now - *looked_at_ >= kLookEvery;
  if ((!regular && !wanted_) || now < retry_at_) return false;
  StoppableStore store(c_.store, stop);
  auto looked = look_now(store);
  const bool grew = looked && *looked;
  if (looked) looked_at_ = now;
  if (looked && (grew || !wanted_))
    backoff_.reset();
  else
    retry_at_ = now + backoff_.next();
  wanted_ = soon_ = false;
  return grew;
}

Result<void> KeyWatch::look_first(const std::stop_token& stop) {
  if (c_.options.slot_copies == nullptr || looked_at_) return {};
  StoppableStore store(c_.store, stop);
  TRYV(look_now(store));
  looked_at_ = c_.clock.monotonic();
  return {};
}

// Whether the store still holds this volume. A head that is gone, or is no head, is put back where slots of the volume
// show that it is the right place, and not a disk that is not mounted.
Result<bool> KeyWatch::look_at_head(ObjectStore& store, const std::vector<Bytes>& shown,
                                    std::vector<std::string>& back) {
  const VolumeHead ours{c_.volume, c_.volume_signing};
  auto head = read_volume_head(store);
  if (head && (head->volume != ours.volume || head->signing_public != ours.signing_public)) {
    c_.problems.set(
        kOtherVolume, "the store now holds another volume",
        "Unmount, and check the store's address. If it is right, somebody replaced the object 'coffer': `coffer "
        "check --repair` puts it back.");
    return false;
  }
  if (!head && head.error().code() != Code::kNotFound && head.error().code() != Code::kCorrupt)
    return fail(head.error());
  const Nanos now = c_.clock.monotonic();
  const bool right_place = std::ranges::any_of(
      shown, [&](const Bytes& object) { return verify_slot(object, ours.volume, ours.signing_public).has_value(); });
  if (!head && !right_place) {
    if (!headless_since_) headless_since_ = now;
    if (now - *headless_since_ < c_.options.missing_after) {
      c_.not_here_yet.set(kNoVolume, "the volume itself, its head and key slots", "");
    } else {
      c_.not_here_yet.clear(kNoVolume);
      c_.problems.set(kNoVolume,
                      "nothing of the volume's head and key slots is in the store any more: " + head.error().what(),
                      "Check the store's address, and whether its disk is mounted. If it is the right place, somebody "
                      "emptied it: `coffer check --repair` puts back what this device has.");
    }
    return fail(Code::kUnavailable, head.error().what());
  }
  headless_since_.reset();
  for (const char* key : {kOtherVolume, kNoVolume}) c_.problems.clear(key);
  c_.not_here_yet.clear(kNoVolume);
  if (!head) {
    TRYV(store.put(kVolumeKey, encode(ours)));
    back.push_back("the volume's head");
  }
  return true;
}

void KeyWatch::tell_put_back(const std::vector<std::string>& things) {
  if (things.empty()) return c_.problems.clear(kPutBack);
  std::string what;
  for (const std::string& thing : things) what += (what.empty() ? "" : ", ") + thing;
  what += " had gone from the store, or had been changed there; put back";
  log_line(LogLevel::kWarning, what);
  c_.problems.set(
      kPutBack, what,
      "Nothing is lost. But somebody removed it, or the store went back to an earlier state: ask whoever runs "
      "the store. This goes when the store has had everything for an hour.");
}

Result<bool> KeyWatch::look_now(ObjectStore& store) {
  SlotCopies& copies = *c_.options.slot_copies;
  auto listed = read_slots(store);
  if (!listed && listed.error().code() != Code::kNotFound) return fail(listed.error());
  const std::vector<Bytes> shown = listed ? std::move(*listed) : std::vector<Bytes>();  // none: all have vanished
  std::vector<std::string> back;
  TRY(bool ours, look_at_head(store, shown, back));
  if (!ours) return false;
  const VolumeHead head{c_.volume, c_.volume_signing};
  const std::vector<Bytes> known = join_slots(head, shown, copies.kept());
  c_.revocations.add_all(known, c_.volume, c_.volume_signing);
  c_.look_for_self();
  std::map<Epoch, Secret> epochs;
  take_device_slots(head, known, c_.identity.key, epochs);
  const size_t fresh = c_.replica.key_ring().add(epochs);
  if (fresh > 0)
    log_line(LogLevel::kInfo, "a new epoch of the volume's keys has begun: from now on everything is sealed with it");
  copies.keep(head, known);
  TRY(std::vector<std::string> slots, put_back_slots(store, head, known, shown));
  for (const std::string& key : slots) back.push_back(describe_slot_object(key));
  tell_put_back(back);
  return fresh > 0;
}

}  // namespace coffer
