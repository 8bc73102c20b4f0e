#include "fs/cli/open_keys.h"

#include <algorithm>

#include "fs/cli/open_drive.h"

namespace coffer::cli {

Outcome<OpenKeys> OpenKeys::open(const Arguments& arguments, std::stop_token stop) {
  OpenKeys k;
  TRY(k.target_, resolve_target(arguments));
  TRY(OpenDrive drive, open_remote(k.target_));
  k.remote_ = drive.store;
  k.store_ = std::make_unique<StoppableStore>(*k.remote_, stop);
  TRY(k.head_, find_volume(*k.store_));
  TRY(k.shown_, find_slots(*k.store_));
  if (VolumeDirectory::exists(k.target_.state_root, k.head_.volume)) {
    TRY(auto known, kept_slots(k.target_.state_root, k.head_.volume));
    if (known && known->head.signing_public == k.head_.signing_public) k.kept_ = std::move(known->slots);
    k.has_directory_ = true;
  }
  TRY(Opener opener, Opener::get(k.target_.settings));
  k.opener_ = std::make_unique<Opener>(std::move(opener));
  TRY(k.opened_, k.opener_->open(k.head_, k.all()));
  return k;
}

bool OpenKeys::in_store(const CountingSlot& slot) const {
  return std::ranges::find(shown_, slot.object) != shown_.end();
}

SlotNote OpenKeys::note(const CountingSlot& slot) const {
  auto note = read_slot_note(slot.object, opened_.secrets);
  return note ? *note : SlotNote{};
}

SlotNote OpenKeys::note_now(const std::string& label) const {
  return {label, Clock::system().wall(), device_name(target_.settings.device_name)};
}

Outcome<CountingSlot> OpenKeys::find(const std::string& id) const {
  std::vector<CountingSlot> found = slots();
  std::erase_if(found, [&](const CountingSlot& s) { return !s.header.id.str().starts_with(id); });
  if (found.size() == 1 && !id.empty()) return found.front();
  return give_up(Exit::kUsage,
                 (found.empty() ? "no key has the id '" : "several keys have an id that begins with '") + id + "'",
                 "coffer key list shows them.");
}

Outcome<void> OpenKeys::add(BytesView slot, const std::function<Result<VolumeSecrets>(BytesView)>& open) {
  TRYV(add_slot(*store_, slot, open));
  TRYV(look_again());
  const Epoch newest = opened_.secrets.epoch_keys.rbegin()->first;
  const std::vector<CountingSlot> now = slots();
  if (std::ranges::none_of(now, [&](const CountingSlot& s) { return s.header.epoch && *s.header.epoch > newest; }))
    return {};
  // An epoch has begun meanwhile: the new slot has to have it, too.
  TRY(OpenedVolume again, opener_->open(head_, all()));
  opened_.secrets.epoch_keys.merge(again.secrets.epoch_keys);
  TRY(std::vector<Member> known, members());
  TRYV(rotated(renew_slots(*store_, head_, opened_, kept_, known, note_now(""), reopen())));
  return {};
}

Outcome<void> OpenKeys::remove(const ObjectId& slot) {
  auto removed = remove_slot(*store_, head_, opened_.secrets, kept_, slot);
  // Also when it failed: what is in the store now is what counts.
  auto seen = look_again();
  if (removed) return seen;
  if (removed.error().code() == Code::kNotPermitted)
    return give_up(Exit::kUsage, removed.error().what(), "Add another passphrase or a recovery key first.");
  if (removed.error().code() == Code::kBusy)
    return give_up(Exit::kBusy, removed.error().what() + ", so this one stays, under a new id",
                   "coffer key list shows what there is now.");
  return give_up(Failure(removed.error()));
}

Outcome<Rotation> OpenKeys::rotate() {
  TRY(std::vector<Member> known, members());
  return rotated(rotate_key(*store_, head_, opened_, kept_, known, note_now(""), reopen()));
}

Outcome<std::vector<Member>> OpenKeys::members() const {
  TRY(std::vector<Member> found, read_members(*store_, opened_.secrets));
  return found;
}

bool OpenKeys::is_revoked(const Member& member) const {
  Revocations known;
  known.add_all(all(), head_.volume, head_.signing_public);
  return known.revoked(member.device, member.vouchers);
}

Outcome<void> OpenKeys::revoke(const Member& member, std::vector<DeviceId> kept) {
  Revocation revocation;
  revocation.device = member.device;
  revocation.made = Clock::system().wall();
  revocation.kept = std::move(kept);
  TRY(revocation.accepted, accepted_heads(*store_, opened_.secrets, member));
  TRYV(put_revocation(*store_, head_, opened_.secrets, kept_, revocation));
  return look_again();
}

std::function<Result<VolumeSecrets>(const std::vector<Bytes>&)> OpenKeys::reopen() const {
  return [this](const std::vector<Bytes>& objects) -> Result<VolumeSecrets> {
    auto opened = opener_->open(head_, objects);
    if (!opened) return fail(Code::kDenied, opened.error().what);
    return std::move(opened->secrets);
  };
}

Outcome<Rotation> OpenKeys::rotated(Result<Rotation> outcome) {
  // Also when it failed: what is in the store now is what counts.
  auto seen = look_again();
  if (!outcome) return give_up(Failure(outcome.error()));
  if (!seen) return give_up(seen.error());
  return *outcome;
}

Outcome<void> OpenKeys::look_again() {
  TRY(shown_, find_slots(*store_));
  if (!has_directory_) return {};
  std::vector<Bytes> now = all();
  TRYV(keep_slots(target_.state_root, head_, now));
  kept_ = std::move(now);
  return {};
}

}  // namespace coffer::cli
