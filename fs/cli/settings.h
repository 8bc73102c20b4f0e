// What can be said about a volume, wherever it is said: on the command line, in the environment, in config.toml, or
// after -o. A field that is empty was not said there.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/clock.h"
#include "fs/cli/failure.h"

namespace coffer::cli {

inline constexpr uint64_t kLeastCache = 64 << 20;  // with less, readers would push out what others wait for

struct VolumeSettings {
  std::string store;  // STORE, or before resolve_settings() the NAME of a volume in config.toml
  std::string endpoint, region, ca_file;
  std::string state_dir, device_name;
  std::string passphrase_file, passphrase_command, recovery_key_file;
  std::string keep_key;  // "keyring" or "secret-service": where the unlocked key is kept between mounts
  std::optional<bool> path_style, plaintext_loopback;
  std::optional<uint64_t> upload_limit, download_limit;  // bytes per second
  std::optional<uint64_t> cache_size, free_space;        // bytes; at least kLeastCache, 0: no limit
  std::optional<Nanos> silent_after;
  std::string directory;      // config.toml: where `coffer mount NAME` mounts
  std::string mount_options;  // as after -o

  // Takes from `weaker` what is not said here. The sources of a passphrase are one thing: whoever names
  // a file hides a weaker command, or recovery key.
  void fill_from(const VolumeSettings& weaker);
};

// Sets one field by the name that it has in config.toml and after -o ("state_dir"). False when there is no such name.
Outcome<bool> set_field(VolumeSettings& settings, const std::string& name, const std::string& value);

// COFFER_STATE_DIR and so on.
Outcome<VolumeSettings> settings_from_environment();

// "10M", "1.5G", "4096": bytes, with 1024-based suffixes K, M, G, T.
Outcome<uint64_t> parse_size(const std::string& text);
// "30d", "12h", "90m", "45s", "0": at most ten years.
Outcome<Nanos> parse_duration(const std::string& text);
Outcome<bool> parse_bool(const std::string& text);

}  // namespace coffer::cli
