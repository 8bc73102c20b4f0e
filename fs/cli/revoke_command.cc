// coffer device revoke: from the store, whether the volume is mounted or not.
#include <algorithm>
#include <cstdio>

#include "fs/cli/commands.h"
#include "fs/cli/format.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/open_keys.h"

namespace coffer::cli {
namespace {

std::string called(const Member& m) { return m.name + " (" + m.device.str().substr(0, kShortId) + ")"; }

// By the first digits of its id, or by a name that no other has.
Outcome<Member> find_member(const std::vector<Member>& members, const std::string& wanted) {
  std::vector<Member> found;
  for (const Member& m : members)
    if (!wanted.empty() && m.device.str().starts_with(wanted)) found.push_back(m);
  if (found.empty())
    for (const Member& m : members)
      if (m.name == wanted) found.push_back(m);
  if (found.size() == 1) return found.front();
  return give_up(
      Exit::kUsage,
      (found.empty() ? "no device that has published anything is called '" : "several devices are called '") + wanted +
          "', by id or name",
      "coffer device list shows them; give the id.");
}

// The devices that are members by its word: somebody has to say whether they are to stay.
Outcome<std::vector<DeviceId>> vouched_for(const OpenKeys& keys, const std::vector<Member>& members, const Member& by,
                                           const Arguments& arguments) {
  std::vector<DeviceId> kept;
  std::string names;
  for (const Member& m : members) {
    if (std::ranges::find(m.vouchers, by.device) == m.vouchers.end() || keys.is_revoked(m)) continue;
    kept.push_back(m.device);
    names += (names.empty() ? "" : ", ") + called(m);
  }
  if (kept.empty() || arguments.keep_added) return kept;
  if (arguments.revoke_added) return std::vector<DeviceId>();
  return give_up(Exit::kUsage, by.name + " has let in other devices: " + names,
                 "If all of them are yours, give --keep-added; else --revoke-added, which revokes them, too.");
}

}  // namespace

Outcome<void> run_device_revoke(const Arguments& arguments) {
  Interrupt interrupt;
  TRY(OpenKeys keys, OpenKeys::open(arguments, interrupt.token()));
  TRY(std::vector<Member> members, keys.members());
  TRY(Member member, find_member(members, arguments.operands[1]));
  const std::string name = called(member);
  const bool before = keys.is_revoked(member);
  if (!before) {
    TRY(std::vector<DeviceId> kept, vouched_for(keys, members, member, arguments));
    TRYV(keys.revoke(member, std::move(kept)));
  }
  auto rotated = keys.rotate();
  if (!rotated) {
    Failure failure = rotated.error();
    failure.what = name + " is revoked, but no new epoch of the keys has begun: " + failure.what;
    failure.todo = "It can still read what is written. Repeat the command.";
    return give_up(failure);
  }
  std::printf(
      "%s %s. What it published before counts; what it publishes from now on does not.\n"
      "A new epoch of the keys has begun, which %s and %s have.\n",
      name.c_str(), before ? "was revoked before" : "is revoked",
      format_count(rotated->people, "passphrase or recovery key", "passphrases and recovery keys").c_str(),
      format_count(rotated->devices, "other device", "other devices").c_str());
  std::fputs(
      "What this does not do:\n"
      "- What was written before stays as it was. Who has that device has the old keys, and can read it wherever he "
      "gets "
      "at\n"
      "  the store's objects, and whatever the device had fetched.\n"
      "- Whoever has it can still get at the store: change the store's credentials, and give the new ones to the "
      "others.\n"
      "- Who knows a passphrase, or has a recovery key, makes new devices with it: if the device's user knows one, "
      "change\n"
      "  it with coffer key change. Who has opened the volume with one has seen the key that makes devices; against "
      "such a\n"
      "  person only a new volume helps.\n"
      "Devices that are mounted take part as soon as they see this, mostly within seconds; until then they write with "
      "the "
      "old\n"
      "keys, and show what the revoked device publishes.\n",
      stdout);
  return {};
}

}  // namespace coffer::cli
