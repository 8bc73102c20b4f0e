// A volume whose slots are looked at or changed, from the store, whether it is mounted or not: what the store shows, and what
// this machine remembers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/cli/failure.h"
#include "fs/cli/options.h"
#include "fs/cli/target.h"
#include "fs/cli/unlock.h"
#include "fs/sync/key_rotation.h"
#include "fs/sync/key_slots.h"
#include "remote/stoppable_store.h"

namespace coffer::cli {

// Not thread-safe. What has changed also becomes what this machine remembers.
class OpenKeys {
 public:
  // Asks for a passphrase, or takes the recovery key.
  static Outcome<OpenKeys> open(const Arguments& arguments, std::stop_token stop);

  std::vector<Bytes> all() const { return join_slots(head_, shown_, kept_); }
  std::vector<CountingSlot> slots() const { return counting_slots(head_, all()); }
  const std::vector<Bytes>& shown() const { return shown_; }
  const VolumeHead& head() const { return head_; }
  const OpenedVolume& opened() const { return opened_; }
  const Target& target() const { return target_; }

  bool in_store(const CountingSlot& slot) const;
  SlotNote note(const CountingSlot& slot) const;
  SlotNote note_now(const std::string& label) const;

  // By the first digits of its id.
  Outcome<CountingSlot> find(const std::string& id) const;
  Outcome<CountingSlot> find_opened() const { return find(opened_.slot.str()); }

  // Puts the slot and makes sure that it opens.
  Outcome<void> add(BytesView slot, const std::function<Result<VolumeSecrets>(BytesView)>& open);
  Outcome<void> remove(const ObjectId& slot);
  // Begins a new epoch.
  Outcome<Rotation> rotate();
  // All that there ever were, the revoked among them.
  Outcome<std::vector<Member>> members() const;
  bool is_revoked(const Member& member) const;
  // Of each of its logs the last record that is there now counts; nothing when it was revoked before. `kept`: those that it
  // vouched for and that stay members. The new epoch is for rotate().
  Outcome<void> revoke(const Member& member, std::vector<DeviceId> kept);

 private:
  std::function<Result<VolumeSecrets>(const std::vector<Bytes>&)> reopen() const;
  Outcome<Rotation> rotated(Result<Rotation> outcome);
  Outcome<void> look_again();

  Target target_;
  std::shared_ptr<ObjectStore> remote_;
  std::unique_ptr<StoppableStore> store_;
  VolumeHead head_;
  std::vector<Bytes> shown_, kept_;
  bool has_directory_ = false;
  OpenedVolume opened_;
  std::unique_ptr<Opener> opener_;  // once more, when others have changed the slots
};

}  // namespace coffer::cli
