#include "fs/cli/mount_options.h"

#include <charconv>
#include <set>

namespace coffer::cli {
namespace {

// For mount(8), fstab, or systemd: nothing for us to do.
bool is_for_others(const std::string& name) {
  static const std::set<std::string> kNames = {
      "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "async",
      "comment",
      // The kernel says these of a mount, and mount(8) hands them back at a remount.
      "default_permissions", "user_id", "group_id"};
  return kNames.contains(name) || name.starts_with("x-") || name.starts_with("X-");
}

// libfuse and the kernel know what to do with these.
bool is_for_fuse(const std::string& name) {
  static const std::set<std::string> kNames = {
      "dev",        "nodev",    "suid",        "nosuid",   "exec",    "noexec", "atime",    "noatime",      "diratime",
      "nodiratime", "relatime", "strictatime", "lazytime", "dirsync", "sync",   "max_read", "auto_unmount", "context"};
  return kNames.contains(name);
}

Outcome<uint32_t> parse_id(const std::string& name, const std::string& value) {
  uint32_t id = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), id);
  if (error != std::errc() || end != value.data() + value.size())
    return give_up(Exit::kUsage, "-o " + name + "=" + value + ": not a number");
  return id;
}

}  // namespace

std::vector<std::string> split_mount_options(std::string_view text) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == ',' || text[i + 1] == '\\'))
      parts.back() += text[++i];
    else if (text[i] == ',')
      parts.emplace_back();
    else
      parts.back() += text[i];
  }
  std::erase(parts, "");
  return parts;
}

Outcome<void> parse_mount_options(std::string_view text, MountFlags& flags, VolumeSettings& settings) {
  for (const std::string& option : split_mount_options(text)) {
    size_t equals = option.find('=');
    std::string name = option.substr(0, equals);
    std::string value = equals == std::string::npos ? "" : option.substr(equals + 1);
    if (name == "allow_other") {
      flags.allow_other = true;
    } else if (name == "ro" || name == "rw") {
      flags.read_only = name == "ro";
    } else if (name == "remount") {
      flags.remount = true;
    } else if (name == "fsync") {
      if (value != "remote" && value != "local")
        return give_up(Exit::kUsage, "-o fsync=" + value + ": must be local or remote");
      flags.fsync_remote = value == "remote";
    } else if (name == "uid" || name == "gid") {
      TRY(uint32_t id, parse_id(name, value));
      (name == "uid" ? flags.uid : flags.gid) = id;
    } else if (is_for_fuse(name)) {
      flags.fuse_options.push_back(option);
    } else if (!is_for_others(name)) {
      bool ours = name != "store" && name != "directory" && name != "mount_options";
      TRY(bool known, ours ? set_field(settings, name, value) : Outcome<bool>(false));
      if (!known) return give_up(Exit::kUsage, "-o " + name + ": no such option", "coffer(1) lists them.");
    }
  }
  return {};
}

}  // namespace coffer::cli
