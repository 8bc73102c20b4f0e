// coffer device: who the members of a volume are.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "fs/cli/commands.h"
#include "fs/cli/control_client.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/state_directory.h"
#include "fs/cli/status_json.h"
#include "fs/cli/store_reader.h"

namespace coffer::cli {
namespace {

using nlohmann::json;

// Who this machine is in the volume, if it is a member and its identity opens.
std::optional<DeviceId> own_device(const std::string& state_root, const VolumeSecrets& secrets) {
  auto kept = kept_identity(state_root, secrets.volume);
  if (!kept || !*kept) return std::nullopt;
  LocalKeys local(secrets.epoch_keys.begin()->second, (*kept)->salt);
  auto identity = open_identity((*kept)->sealed, secrets.volume, local);
  return identity ? std::optional(identity->device) : std::nullopt;
}

Outcome<json> devices_in_store(const Arguments& arguments) {
  TRY(Target target, resolve_target(arguments));
  const std::string state_root = target.state_root;
  Interrupt interrupt;
  TRY(auto reader, StoreReader::open(std::move(target), interrupt.token()));
  std::optional<DeviceId> own = own_device(state_root, reader->secrets());
  json out = json::array();
  for (DeviceStatus device : reader->synchronizer().status().devices) {
    if (device.number == 0) continue;  // what reads here, for a moment
    device.self = device.device == own;
    out.push_back(device_json(device, Clock::system().wall()));
  }
  return out;
}

Outcome<json> devices_of_mount(const std::string& directory) {
  TRY(FoundMount mount, find_mount(directory));
  TRY(json status, ask(mount, {Request::Op::kStatus}, {}, {}));
  auto devices = status.find("devices");
  if (devices == status.end())
    return give_up(Exit::kGeneral, "the daemon answered something that makes no sense",
                   "It may be of another version: unmount, and mount again.");
  return json(*devices);
}

}  // namespace

Outcome<void> run_device_list(const Arguments& arguments) {
  const std::string& operand = arguments.operands[0];
  TRY(json devices, on_a_mount(operand) ? devices_of_mount(operand) : devices_in_store(arguments));
  std::string text =
      arguments.json ? devices.dump(2, ' ', false, json::error_handler_t::replace) + "\n" : devices_text(devices);
  std::fputs(text.c_str(), stdout);
  return {};
}

}  // namespace coffer::cli
