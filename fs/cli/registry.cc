#include "fs/cli/registry.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "crypto/hash.h"

namespace coffer::cli {
namespace {

using nlohmann::json;

std::string file_for(const std::string& directory, const std::string& mount_point) {
  return directory + "/" + blake2b(as_bytes(mount_point)).str().substr(0, 32);
}

// A directory in /tmp may have been put there by somebody else.
Outcome<void> check_owner(const std::string& directory, uint32_t user) {
  struct stat st;
  if (::lstat(directory.c_str(), &st) != 0) return give_up(Failure(errno_error(directory, errno)));
  if (!S_ISDIR(st.st_mode) || st.st_uid != user || (st.st_mode & 022) != 0)
    return give_up(Exit::kPermission, directory + " is not a directory of user " + std::to_string(user) + " alone",
                   "Remove it.");
  return {};
}

}  // namespace

std::string registry_directory(uint32_t user) {
  if (const char* path = std::getenv("COFFER_RUNTIME_DIR"); path != nullptr && *path == '/') return path;
  std::string number = std::to_string(user);
  struct stat st;
  if (::stat(("/run/user/" + number).c_str(), &st) == 0 && st.st_uid == user) return "/run/user/" + number + "/coffer";
  return user == 0 ? "/run/coffer" : "/tmp/coffer-" + number;
}

Outcome<void> register_mount(const Registration& registration) {
  std::string directory = registry_directory(::geteuid());
  TRYV(make_directories(directory));
  TRYV(check_owner(directory, ::geteuid()));
  json entry = {{"mount", hex(as_bytes(registration.mount_point))},  // hex: a path need not be UTF-8
                {"state", hex(as_bytes(registration.volume_directory))},
                {"pid", registration.pid}};
  TRYV(write_file_durably(file_for(directory, registration.mount_point), as_bytes(entry.dump())));
  return {};
}

void unregister_mount(const std::string& mount_point) {
  ::unlink(file_for(registry_directory(::geteuid()), mount_point).c_str());
}

Outcome<Registration> find_registration(const std::string& mount_point, uint32_t user) {
  Failure missing(Exit::kGeneral, "nothing is known about the coffer mount on " + mount_point);
  std::string directory = registry_directory(user);
  if (::access(directory.c_str(), F_OK) != 0) return give_up(missing);
  TRYV(check_owner(directory, user));
  auto text = read_file(file_for(directory, mount_point), 64 << 10);
  if (!text) return give_up(text.error().code() == Code::kNotFound ? missing : Failure(text.error()));
  json entry = json::parse(as_string(*text), nullptr, false);
  if (!entry.is_object() || !entry.contains("mount") || !entry.contains("state") || !entry.contains("pid") ||
      !entry["mount"].is_string() || !entry["state"].is_string() || !entry["pid"].is_number_integer())
    return give_up(missing);
  auto mount = unhex(entry["mount"].get<std::string>());
  auto state = unhex(entry["state"].get<std::string>());
  if (!mount || !state || as_string(*mount) != mount_point) return give_up(missing);
  return Registration{std::string(as_string(*mount)), std::string(as_string(*state)), entry["pid"].get<int>()};
}

}  // namespace coffer::cli
