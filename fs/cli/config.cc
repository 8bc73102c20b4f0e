#include "fs/cli/config.h"

#include <pwd.h>
#include <sys/stat.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <cstdlib>

#include "base/fd.h"

namespace coffer::cli {
namespace {

constexpr size_t kConfigMax = 1 << 20;

// Paths that a person writes with a '~'.
bool is_path(std::string_view key) {
  return key == "directory" || key == "ca_file" || key == "state_dir" || key == "passphrase_file" ||
         key == "recovery_key_file" || key == "store";
}

}  // namespace

std::string home_directory() {
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') return home;
  if (const passwd* entry = getpwuid(getuid()); entry != nullptr) return entry->pw_dir;
  return "/";
}

std::string expand_home(const std::string& path) {
  if (path == "~" || path.starts_with("~/")) return home_directory() + path.substr(1);
  return path;
}

std::string config_path() {
  if (const char* path = std::getenv("COFFER_CONFIG"); path != nullptr && *path != '\0') return path;
  if (const char* base = std::getenv("XDG_CONFIG_HOME"); base != nullptr && *base == '/')
    return std::string(base) + "/coffer/config.toml";
  return home_directory() + "/.config/coffer/config.toml";
}

Outcome<VolumeSettings> settings_from_toml(std::string_view text, const std::string& path, const std::string& name) {
  toml::table root;
  try {
    root = toml::parse(text);
  } catch (const toml::parse_error& e) {
    return give_up(Exit::kUsage,
                   path + ":" + std::to_string(e.source().begin.line) + ": " + std::string(e.description()));
  }
  const toml::table* volume = root["volume"][name].as_table();
  if (volume == nullptr)
    return give_up(
        Exit::kUsage, "no volume named '" + name + "' in " + path,
        "Add a [volume." + name + "] with a store = \"...\" there; for a directory of that name write ./" + name + ".");
  VolumeSettings settings;
  for (const auto& [key, value] : *volume) {
    std::string where = path + ": volume." + name + "." + std::string(key.str());
    std::string said;
    if (auto s = value.value<std::string>(); value.is_string() && s)
      said = is_path(key.str()) ? expand_home(*s) : *s;
    else if (auto b = value.value<bool>(); value.is_boolean() && b)
      said = *b ? "true" : "false";
    else if (auto i = value.value<int64_t>(); value.is_integer() && i && *i >= 0)
      said = std::to_string(*i);
    else
      return give_up(Exit::kUsage, where + ": must be text, true, false, or a number that is not negative");
    auto known = set_field(settings, std::string(key.str()), said);
    if (!known) return give_up(known.error().in(where));
    if (!*known) return give_up(Exit::kUsage, where + ": no such setting", "coffer(1) lists them.");
  }
  if (settings.store.empty()) return give_up(Exit::kUsage, path + ": volume." + name + " has no store");
  return settings;
}

Outcome<VolumeSettings> settings_from_config(const std::string& path, const std::string& name) {
  struct stat st;
  if (::stat(path.c_str(), &st) == 0 && ((st.st_mode & 022) != 0 || (st.st_uid != geteuid() && st.st_uid != 0)))
    return give_up(Exit::kPermission, path + " can be written by others",
                   "It can name a command that coffer runs: make it yours alone (chmod go-w).");
  auto text = read_file(path, kConfigMax);
  if (!text && text.error().code() == Code::kNotFound)
    return give_up(Exit::kUsage, "no volume named '" + name + "': there is no " + path,
                   "For a directory of that name write ./" + name + ".");
  if (!text) return give_up(Failure(text.error()));
  return settings_from_toml(as_string(*text), path, name);
}

}  // namespace coffer::cli
