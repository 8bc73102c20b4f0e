#include "fs/cli/settings.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

namespace coffer::cli {
namespace {

struct TextField {
  const char* name;
  std::string VolumeSettings::*field;
};
struct BoolField {
  const char* name;
  std::optional<bool> VolumeSettings::*field;
};
struct SizeField {
  const char* name;
  std::optional<uint64_t> VolumeSettings::*field;
};
struct DurationField {
  const char* name;
  std::optional<Nanos> VolumeSettings::*field;
};

constexpr TextField kTextFields[] = {
    {"store", &VolumeSettings::store},
    {"endpoint", &VolumeSettings::endpoint},
    {"region", &VolumeSettings::region},
    {"ca_file", &VolumeSettings::ca_file},
    {"state_dir", &VolumeSettings::state_dir},
    {"device_name", &VolumeSettings::device_name},
    {"passphrase_file", &VolumeSettings::passphrase_file},
    {"passphrase_command", &VolumeSettings::passphrase_command},
    {"recovery_key_file", &VolumeSettings::recovery_key_file},
    {"keep_key", &VolumeSettings::keep_key},
    {"directory", &VolumeSettings::directory},
    {"mount_options", &VolumeSettings::mount_options},
};
constexpr BoolField kBoolFields[] = {
    {"path_style", &VolumeSettings::path_style},
    {"plaintext_loopback", &VolumeSettings::plaintext_loopback},
};
constexpr SizeField kSizeFields[] = {
    {"upload_limit", &VolumeSettings::upload_limit},
    {"download_limit", &VolumeSettings::download_limit},
    {"cache_size", &VolumeSettings::cache_size},
    {"free_space", &VolumeSettings::free_space},
};
constexpr DurationField kDurationFields[] = {
    {"silent_after", &VolumeSettings::silent_after},
};

// What may come from the environment, as COFFER_ and the name in capitals.
constexpr const char* kEnvironment[] = {
    "endpoint",           "region",     "ca_file",      "state_dir",      "device_name",        "passphrase_file",
    "passphrase_command", "path_style", "upload_limit", "download_limit", "plaintext_loopback", "cache_size",
    "free_space",         "keep_key",   "silent_after",
};

bool is_passphrase_source(const std::string& name) {
  return name == "passphrase_file" || name == "passphrase_command" || name == "recovery_key_file";
}

}  // namespace

void VolumeSettings::fill_from(const VolumeSettings& weaker) {
  bool has_source = !passphrase_file.empty() || !passphrase_command.empty();
  for (const TextField& f : kTextFields) {
    if (has_source && is_passphrase_source(f.name)) continue;
    if ((this->*f.field).empty()) this->*f.field = weaker.*f.field;
  }
  for (const BoolField& f : kBoolFields)
    if (!(this->*f.field)) this->*f.field = weaker.*f.field;
  for (const SizeField& f : kSizeFields)
    if (!(this->*f.field)) this->*f.field = weaker.*f.field;
  for (const DurationField& f : kDurationFields)
    if (!(this->*f.field)) this->*f.field = weaker.*f.field;
}

Outcome<bool> set_field(VolumeSettings& settings, const std::string& name, const std::string& value) {
  for (const TextField& f : kTextFields) {
    if (name != f.name) continue;
    if (f.field == &VolumeSettings::keep_key && !value.empty() && value != "keyring" && value != "secret-service")
      return give_up(Exit::kUsage, name + ": '" + value + "' is neither keyring nor secret-service");
    settings.*f.field = value;
    return true;
  }
  for (const BoolField& f : kBoolFields) {
    if (name != f.name) continue;
    auto parsed = parse_bool(value);
    if (!parsed) return give_up(parsed.error().in(name));
    settings.*f.field = *parsed;
    return true;
  }
  for (const SizeField& f : kSizeFields) {
    if (name != f.name) continue;
    auto parsed = parse_size(value);
    if (!parsed) return give_up(parsed.error().in(name));
    if (f.field == &VolumeSettings::cache_size && *parsed != 0 && *parsed < kLeastCache)
      return give_up(Exit::kUsage, name + ": '" + value + "' is too little to work with", "It takes at least 64M.");
    settings.*f.field = *parsed;
    return true;
  }
  for (const DurationField& f : kDurationFields) {
    if (name != f.name) continue;
    auto parsed = parse_duration(value);
    if (!parsed) return give_up(parsed.error().in(name));
    settings.*f.field = *parsed;
    return true;
  }
  return false;
}

Outcome<VolumeSettings> settings_from_environment() {
  VolumeSettings settings;
  for (std::string name : kEnvironment) {
    std::string variable = "COFFER_";
    for (char c : name) variable += c == '_' ? '_' : static_cast<char>(c - 'a' + 'A');
    const char* value = std::getenv(variable.c_str());
    if (value == nullptr || *value == '\0') continue;
    if (auto set = set_field(settings, name, value); !set) return give_up(set.error().in(variable));
  }
  return settings;
}

Outcome<uint64_t> parse_size(const std::string& text) {
  const char* begin = text.c_str();
  char* end = nullptr;
  double value = std::strtod(begin, &end);
  bool number = end != begin && *begin >= '0' && *begin <= '9' && std::isfinite(value);
  std::string suffix = end;
  double unit = suffix.empty()                   ? 1
                : suffix == "K" || suffix == "k" ? 0x1p10
                : suffix == "M" || suffix == "m" ? 0x1p20
                : suffix == "G" || suffix == "g" ? 0x1p30
                : suffix == "T" || suffix == "t" ? 0x1p40
                                                 : 0;
  if (!number || unit == 0 || value * unit >= 0x1p63)
    return give_up(Exit::kUsage, "'" + text + "' is not a size",
                   "Write a number of bytes, or one like 512K, 10M, 1.5G.");
  return static_cast<uint64_t>(value * unit);
}

Outcome<Nanos> parse_duration(const std::string& text) {
  constexpr uint64_t kMost = uint64_t{3650} * 86400;  // seconds
  uint64_t number = 0;
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string suffix(parsed.ptr, text.data() + text.size());
  const uint64_t unit = suffix == "s"   ? 1
                        : suffix == "m" ? 60
                        : suffix == "h" ? 3600
                        : suffix == "d" ? 86400
                        : text == "0"   ? 1
                                        : 0;
  if (parsed.ec != std::errc() || unit == 0 || number > kMost / unit)
    return give_up(Exit::kUsage, "'" + text + "' is not a duration", "Write one like 30d, 12h, 90m, 45s, or 0.");
  return Nanos(std::chrono::seconds(number * unit));
}

Outcome<bool> parse_bool(const std::string& text) {
  if (text.empty() || text == "1" || text == "true" || text == "yes") return true;
  if (text == "0" || text == "false" || text == "no") return false;
  return give_up(Exit::kUsage, "'" + text + "' is neither true nor false");
}

}  // namespace coffer::cli
