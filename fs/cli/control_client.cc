#include "fs/cli/control_client.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "fs/cli/control_socket.h"
#include "fs/cli/line_channel.h"
#include "fs/cli/mount_table.h"
#include "fs/cli/signals.h"

namespace coffer::cli {
namespace {

using std::chrono::milliseconds;

// The daemon says something several times a second as long as it lives.
constexpr int kSilenceMaxMs = 60'000;

Failure dead(const FoundMount& mount) {
  return Failure(Exit::kGeneral, "the coffer process of " + mount.mount_point + " is gone",
                 "Its work is kept: coffer mount the volume there again.");
}

}  // namespace

bool on_a_mount(const std::string& operand) {
  auto path = resolve_path(operand);
  auto mounts = read_mounts();
  return path && mounts && find_coffer_mount(*mounts, *path) != nullptr;
}

Outcome<FoundMount> find_mount(const std::string& directory) {
  TRY(std::string path, resolve_path(directory));
  TRY(auto mounts, read_mounts());
  const MountEntry* entry = find_coffer_mount(mounts, path);
  if (entry == nullptr)
    return give_up(Exit::kGeneral, "no coffer volume is mounted on " + path, "coffer status lists what is mounted.");
  FoundMount found{entry->mount_point, entry->user, {}};
  if (::geteuid() != 0 && ::geteuid() != found.user)
    return give_up(Exit::kPermission, found.mount_point + " was mounted by another user",
                   "Ask as that user, or as root.");
  TRY(found.registration, find_registration(found.mount_point, found.user));
  return found;
}

Outcome<nlohmann::json> ask(const FoundMount& mount, const Request& request,
                            const std::function<void(const ProgressSample&)>& progress,
                            const std::function<std::optional<Request>()>& interrupted) {
  SignalFd signals;
  auto socket = connect_control(mount.registration.volume_directory, mount.user);
  if (!socket) return give_up(socket.error().exit == Exit::kPermission ? socket.error() : dead(mount));
  LineChannel channel(std::move(*socket), kReplyMax);
  TRYV(channel.write_line(encode(request), milliseconds(10'000)));
  for (;;) {
    if (!channel.has_line()) {
      pollfd wait[] = {{channel.fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}};
      int n = ::poll(wait, 2, kSilenceMaxMs);
      if (n < 0 && errno != EINTR) return give_up(Failure(errno_error("poll", errno)));
      if (n == 0)
        return give_up(
            Exit::kGeneral,
            "the coffer process of " + mount.mount_point + " (pid " + std::to_string(mount.registration.pid) +
                ") does not answer",
            "If that lasts, end it with kill -9: what was acknowledged is kept, and the next mount goes on.");
      if (n > 0 && wait[1].revents != 0 && signals.take() != 0) {
        std::optional<Request> next = interrupted ? interrupted() : std::nullopt;
        if (!next) return give_up(Exit::kCutShort, "interrupted");
        TRYV(channel.write_line(encode(*next), milliseconds(10'000)));
        continue;
      }
      if (n <= 0 || wait[0].revents == 0) continue;
    }
    TRY(auto line, channel.read_line(milliseconds(10'000)));
    if (!line) return give_up(dead(mount));
    TRY(Reply reply, decode_reply(*line));
    if (auto* sample = std::get_if<ProgressSample>(&reply)) {
      if (progress) progress(*sample);
    } else if (auto* failure = std::get_if<Failure>(&reply)) {
      return give_up(*failure);
    } else {
      return std::get<nlohmann::json>(std::move(reply));
    }
  }
}

}  // namespace coffer::cli
