#include "fs/sync/key_watch.h"

#include "base/log.h"
#include "fs/sync/key_slots.h"
#include "remote/stoppable_store.h"

namespace coffer {
namespace {

constexpr Nanos kLookEvery = std::chrono::hours(1);
constexpr size_t kAskedMost = 1000;
constexpr char kOtherVolume[] = "other volume";

}  // namespace

void KeyWatch::want(Epoch epoch) {
  if (c_.keys_of(epoch) != nullptr) return;
  wanted_ = true;
  if (asked_.size() < kAskedMost && asked_.insert(epoch).second) retry_at_ = Nanos(0);
}

bool KeyWatch::look(const std::stop_token& stop) {
  if (c_.options.slot_copies == nullptr) return false;
  const Nanos now = c_.clock.monotonic();
  const bool regular = !looked_at_ || now - *looked_at_ >= kLookEvery;
  if ((!regular && !wanted_) || now < retry_at_) return false;
  StoppableStore store(c_.store, stop);
  auto looked = look_now(store);
  const bool grew = looked && *looked;
  if (looked) looked_at_ = now;
  if (looked && (grew || !wanted_))
    backoff_.reset();
  else
    retry_at_ = now + backoff_.next();
  wanted_ = false;
  return grew;
}

Result<void> KeyWatch::look_first(const std::stop_token& stop) {
  if (c_.options.slot_copies == nullptr || looked_at_) return {};
  StoppableStore store(c_.store, stop);
  TRYV(look_now(store));
  looked_at_ = c_.clock.monotonic();
  return {};
}

Result<bool> KeyWatch::look_now(ObjectStore& store) {
  SlotCopies& copies = *c_.options.slot_copies;
  TRY(VolumeHead head, read_volume_head(store));
  if (head.volume != c_.volume || head.signing_public != c_.volume_signing) {
    c_.problems.set(kOtherVolume, "the store now holds another volume", "Unmount, and check the store's address.");
    return false;
  }
  c_.problems.clear(kOtherVolume);
  auto listed = read_slots(store);
  if (!listed && listed.error().code() != Code::kNotFound) return fail(listed.error());
  const std::vector<Bytes> shown = listed ? std::move(*listed) : std::vector<Bytes>();  // none: all have vanished
  const std::vector<Bytes> known = join_slots(head, shown, copies.kept());
  c_.revocations.add_all(known, c_.volume, c_.volume_signing);
  c_.look_for_self();
  std::map<Epoch, Secret> epochs;
  take_device_slots(head, known, c_.identity.key, epochs);
  const size_t fresh = c_.replica.key_ring().add(epochs);
  if (fresh > 0)
    log_line(LogLevel::kInfo, "a new epoch of the volume's keys has begun: from now on everything is sealed with it");
  copies.keep(head, known);
  TRY(size_t back, put_back_slots(store, head, known, shown));
  if (back > 0)
    log_line(LogLevel::kWarning,
             std::to_string(back) + " objects of the volume's keys had gone from the store; put back");
  return fresh > 0;
}

}  // namespace coffer
