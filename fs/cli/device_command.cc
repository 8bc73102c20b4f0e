// coffer device: who the members of a volume are, and letting another one in.
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "fs/cli/commands.h"
#include "fs/cli/control_client.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/letting_in.h"
#include "fs/cli/secret_input.h"
#include "fs/cli/state_directory.h"
#include "fs/cli/status_json.h"
#include "fs/cli/store_reader.h"
#include "fs/sync/pairing.h"

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

// What the new device shows. At a terminal, again until it is typed right.
Outcome<Secret> get_code(const std::string& file) {
  if (!file.empty()) return secret_from_file(file);
  for (;;) {
    TRY(Secret text, ask_secret("Code that the new device shows: ", Echo::kOn));
    auto code = PairingCode::parse(as_string(text.view()));
    if (code) return text;
    std::fprintf(stderr, "coffer: %s\n", code.error().what().c_str());
  }
}

Outcome<std::string> let_in_without_mount(const Arguments& arguments, const std::string& code) {
  TRY(Target target, resolve_target(arguments));
  Interrupt interrupt;
  TRY(OpenDrive drive, open_remote(target));
  TRYV(unlock_and_open_local(drive, target, interrupt.token()));
  // What it hands over is the newest that there is.
  auto synced = drive.synchronizer->sync(interrupt.token(), {});
  auto device = synced ? let_in(drive, code) : Outcome<DeviceId>(give_up(Failure(synced.error())));
  drive.synchronizer->stop(true);
  TRYV(drive.replica->close());
  if (!device) return give_up(device.error());
  return device->str();
}

}  // namespace

Outcome<void> run_device_add(const Arguments& arguments) {
  const std::string& operand = arguments.operands[0];
  TRY(Secret typed, get_code(absolute_path(arguments.code_file)));
  const std::string code(as_string(typed.view()));
  if (auto parsed = PairingCode::parse(code); !parsed)
    return give_up(Exit::kUsage, parsed.error().what(), "Compare it with what the new device shows.");
  std::string device;
  if (on_a_mount(operand)) {
    TRY(FoundMount mount, find_mount(operand));
    Request request{Request::Op::kLetIn};
    request.code = code;
    TRY(json done, ask(mount, request, {}, {}));
    device = done.value("device", "");
  } else {
    TRY(device, let_in_without_mount(arguments, code));
  }
  std::printf("Let in device %s. coffer device list shows it once it has written something.\n", device.c_str());
  return {};
}

Outcome<void> run_device_list(const Arguments& arguments) {
  const std::string& operand = arguments.operands[0];
  TRY(json devices, on_a_mount(operand) ? devices_of_mount(operand) : devices_in_store(arguments));
  std::string text =
      arguments.json ? devices.dump(2, ' ', false, json::error_handler_t::replace) + "\n" : devices_text(devices);
  std::fputs(text.c_str(), stdout);
  return {};
}

}  // namespace coffer::cli
