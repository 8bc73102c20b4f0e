#include "fs/cli/control_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace coffer::cli {
namespace {

struct Address {
  Fd directory;  // must stay open while `name` is used
  sockaddr_un name{};
};

Outcome<Address> address_in(const std::string& volume_directory) {
  Address address;
  TRY(address.directory, open_file(volume_directory, O_PATH | O_DIRECTORY));
  address.name.sun_family = AF_UNIX;
  std::snprintf(address.name.sun_path, sizeof address.name.sun_path, "/proc/self/fd/%d/control",
                address.directory.get());
  return address;
}

Outcome<Fd> make_socket() {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return give_up(Failure(errno_error("socket", errno)));
  return fd;
}

}  // namespace

Outcome<Fd> listen_control(const std::string& volume_directory) {
  TRY(Address address, address_in(volume_directory));
  TRY(Fd fd, make_socket());
  // Left by a killed daemon: we hold the volume's lock, so nobody listens on it.
  ::unlinkat(address.directory.get(), "control", 0);
  mode_t before = ::umask(0177);
  int bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.name), sizeof address.name);
  int err = errno;
  ::umask(before);
  if (bound != 0) return give_up(Failure(errno_error(volume_directory + "/control", err)));
  if (::listen(fd.get(), 16) != 0) return give_up(Failure(errno_error("listen", errno)));
  return fd;
}

Outcome<Fd> connect_control(const std::string& volume_directory, uint32_t expected) {
  TRY(Address address, address_in(volume_directory));
  TRY(Fd fd, make_socket());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.name), sizeof address.name) != 0) {
    if (errno == EACCES || errno == EPERM)
      return give_up(Exit::kPermission, "that mount belongs to another user", "Ask as that user, or as root.");
    return give_up(Failure(errno_error(volume_directory + "/control", errno)));
  }
  if (!peer_is(fd, expected)) return give_up(Exit::kPermission, "somebody else answers for this mount");
  return fd;
}

bool peer_is(const Fd& socket, uint32_t user) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == user || peer.uid == 0;
}

}  // namespace coffer::cli
