#include "fs/cli/target.h"

#include <filesystem>

#include "fs/cli/config.h"
#include "fs/cli/mount_options.h"
#include "fs/cli/state_directory.h"
#include "remote/url.h"

namespace coffer::cli {
namespace {

bool is_store(const std::string& operand) {
  return operand.find('/') != std::string::npos || operand == "." || operand == "..";
}

bool is_path(const std::string& store) { return store.find("://") == std::string::npos; }

void strip_slashes(std::string& text) {
  while (text.size() > 1 && text.back() == '/') text.pop_back();
}

// A directory by its real path as far as it exists, so that a symbolic link to it is the same store.
std::string canonical_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::path real = std::filesystem::weakly_canonical(path, error);
  std::string text = error ? absolute_path(path) : real.string();
  strip_slashes(text);
  return text;
}

}  // namespace

std::string absolute_path(const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  std::string absolute = std::filesystem::absolute(path, error).lexically_normal().string();
  if (error) return path;
  strip_slashes(absolute);
  return absolute;
}

Outcome<std::string> canonical_store(const StoreConfig& config) {
  if (is_path(config.url)) return "file://" + canonical_directory(config.url);
  TRY(Url url, parse_url(config.url));
  if (url.scheme == "file") return "file://" + canonical_directory("/" + url.path);
  if (url.scheme == "webdavs" && url.port == 443) url.port = 0;
  std::string text = url.scheme + "://" + url.authority() + "/" + url.path;
  strip_slashes(text);
  if (url.scheme != "s3") return text;
  if (config.endpoint.empty()) return text + " at aws";
  TRY(Url endpoint, parse_url(config.endpoint));
  if (endpoint.scheme == "https" && endpoint.port == 443) endpoint.port = 0;
  return text + " at " + endpoint.scheme + "://" + endpoint.authority();
}

Outcome<Target> resolve_target(const Arguments& arguments) {
  Target target;
  VolumeSettings& s = target.settings;
  s = arguments.settings;
  if (arguments.operands.empty()) return give_up(Exit::kUsage, "no STORE was given");
  s.store = arguments.operands[0];
  // What follows -o is said on the command line; fill it in before anything weaker.
  VolumeSettings from_options;
  MountFlags flags;
  TRYV(parse_mount_options(s.mount_options, flags, from_options));
  s.fill_from(from_options);
  TRY(VolumeSettings environment, settings_from_environment());
  s.fill_from(environment);
  if (!is_store(s.store)) {
    TRY(VolumeSettings configured, settings_from_config(config_path(), s.store));
    s.store = configured.store;
    VolumeSettings configured_options;
    TRYV(parse_mount_options(configured.mount_options, flags, configured_options));
    s.fill_from(configured_options);
    std::string said_here = s.mount_options;
    s.fill_from(configured);
    s.mount_options = configured.mount_options + (said_here.empty() ? "" : "," + said_here);
  }
  if (is_path(s.store)) s.store = absolute_path(expand_home(s.store));
  for (std::string* path : {&s.ca_file, &s.passphrase_file, &s.recovery_key_file, &s.directory})
    *path = absolute_path(*path);
  target.state_root = absolute_path(state_root(s.state_dir));

  StoreConfig& c = target.store;
  c.url = s.store;
  c.endpoint = s.endpoint;
  c.region = s.region;
  c.ca_file = s.ca_file;
  c.path_style = s.path_style.value_or(false);
  c.allow_plaintext_loopback = s.plaintext_loopback.value_or(false);
  c.upload_limit = s.upload_limit.value_or(0);
  c.download_limit = s.download_limit.value_or(0);
  TRYV(check_store_config(c));
  TRY(target.canonical, canonical_store(c));
  return target;
}

}  // namespace coffer::cli
