#include "fs/fuse/mount_points.h"

#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <sstream>

#include "base/fd.h"

namespace coffer::fuse {

namespace {

constexpr size_t kMountinfoMax = 16 << 20;

// The kernel writes space, tab, newline and backslash as three octal digits.
std::string unescape(std::string_view s) {
  auto octal = [&](size_t i) { return i < s.size() && s[i] >= '0' && s[i] <= '7'; };
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      out.push_back(static_cast<char>((s[i + 1] - '0') * 64 + (s[i + 2] - '0') * 8 + (s[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(s[i]);
    }
  }
  return out;
}

Result<void> run_fusermount(const std::string& directory, bool lazy) {
  std::vector<const char*> args = {"fusermount3", "-u"};
  if (lazy) args.push_back("-z");
  args.insert(args.end(), {"--", directory.c_str(), nullptr});
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(errno_error("pipe", errno));
  Fd from(ends[0]), to(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to.get(), STDERR_FILENO);
  pid_t pid = 0;
  int err = posix_spawnp(&pid, args[0], &actions, nullptr, const_cast<char**>(args.data()), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (err != 0) return fail(errno_error("fusermount3", err));
  to.reset();
  std::string said;
  char buffer[512];
  for (ssize_t n; (n = ::read(from.get(), buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR);)
    if (n > 0) said.append(buffer, static_cast<size_t>(n));
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (said.find("busy") != std::string::npos) return fail(Code::kBusy, "the mount is in use");
  if (said.find("not found") != std::string::npos) return fail(Code::kNotFound, "nothing is mounted there");
  said.resize(std::min(said.find('\n'), said.size()));
  return fail(Code::kDenied, "it is not unmounted: " + (said.empty() ? "fusermount3 does not say why" : said));
}

}  // namespace

std::vector<MountPoint> parse_mount_points(std::string_view mountinfo) {
  std::vector<MountPoint> out;
  std::istringstream lines{std::string(mountinfo)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string id, parent, root, word;
    MountPoint m;
    fields >> id >> parent >> m.device >> root >> m.directory >> word;  // the last: options
    while (fields >> word && word != "-") {
    }
    if (!(fields >> m.type)) continue;
    m.directory = unescape(m.directory);
    out.push_back(std::move(m));
  }
  return out;
}

Result<std::vector<MountPoint>> mount_points() {
  TRY(Bytes text, read_file("/proc/self/mountinfo", kMountinfoMax));
  return parse_mount_points(as_string(text));
}

Result<std::optional<MountPoint>> mount_point_at(const std::string& directory) {
  TRY(auto all, mount_points());
  for (auto it = all.rbegin(); it != all.rend(); ++it)
    if (it->directory == directory) return std::move(*it);
  return std::nullopt;
}

Result<std::string> canonical(const std::string& directory) {
  std::string path = directory;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  size_t slash = path.rfind('/');
  std::string above = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  std::string last = slash == std::string::npos ? path : path.substr(slash + 1);
  bool named = !last.empty() && last != "." && last != "..";
  char resolved[PATH_MAX];
  // A symbolic link as the last component is followed; a mount that does not answer is none.
  char target[1];
  if (!named || readlink(path.c_str(), target, sizeof target) >= 0) above = path, named = false;
  if (realpath(above.c_str(), resolved) == nullptr) return fail(errno_error("mount point", errno));
  std::string out = resolved;
  if (!named) return out;
  if (out.back() != '/') out.push_back('/');
  return out + last;
}

Result<void> remount_directory(const std::string& directory, bool read_only) {
  TRY(auto mount, mount_point_at(directory));
  if (!mount || mount->type != kMountType) return fail(Code::kNotFound, "no volume is mounted on " + directory);
  struct statvfs now;
  if (::statvfs(directory.c_str(), &now) != 0) return fail(errno_error(directory, errno));
  unsigned long flags = MS_REMOUNT;
  if (read_only) flags |= MS_RDONLY;
  constexpr std::pair<unsigned long, unsigned long> kKept[] = {
      {ST_NOSUID, MS_NOSUID},           {ST_NODEV, MS_NODEV},     {ST_NOEXEC, MS_NOEXEC},
      {ST_SYNCHRONOUS, MS_SYNCHRONOUS}, {ST_NOATIME, MS_NOATIME}, {ST_NODIRATIME, MS_NODIRATIME},
      {ST_RELATIME, MS_RELATIME},
  };
  for (auto [seen, flag] : kKept)
    if ((now.f_flag & seen) != 0) flags |= flag;
  if (::mount(nullptr, directory.c_str(), nullptr, flags, nullptr) != 0)
    return fail(errno_error("remount of " + directory, errno));
  return {};
}

Result<void> unmount_directory(const std::string& directory, bool lazy, bool abort) {
  int flags = UMOUNT_NOFOLLOW;
  if (lazy) flags |= abort ? MNT_DETACH | MNT_FORCE : MNT_DETACH;
  if (umount2(directory.c_str(), flags) == 0) return {};
  switch (errno) {
    case EBUSY:
      return fail(Code::kBusy, "the mount is in use");
    case EINVAL:
    case ENOENT:
      return fail(Code::kNotFound, "nothing is mounted there");
    case EPERM:
      return run_fusermount(directory, lazy);
    default:
      return fail(errno_error("umount", errno));
  }
}

}  // namespace coffer::fuse
