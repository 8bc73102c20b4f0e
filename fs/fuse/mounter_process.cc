// A Mounter in another process. They talk by a socket: a request is one byte and a socket for its answer; the answer is
// one byte, ok or a Code, a text, and for mount() the device.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "fs/fuse/mounter.h"

namespace coffer {
namespace {

enum class Wish : uint8_t { kMount = 'm', kUnmount = 'u', kUnmountLazily = 'l', kSendWritten = 's' };

constexpr uint8_t kOk = 0xff;
constexpr size_t kMessageMax = 512;
constexpr int kHelperSocket = 3;

struct Message {
  std::string bytes;
  Fd fd;
};

Result<void> send_message(int socket, std::string bytes, int fd) {
  bytes.resize(std::min(bytes.size(), kMessageMax));
  iovec part{bytes.data(), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  ssize_t sent;
  do sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) return fail(errno_error("sendmsg", errno));
  return {};
}

// nullopt: the other side has ended.
std::optional<Message> receive_message(int socket) {
  char bytes[kMessageMax];
  iovec part{bytes, sizeof bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n;
  do n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n <= 0) return std::nullopt;
  Message out{std::string(bytes, static_cast<size_t>(n)), Fd()};
  if (const cmsghdr* header = CMSG_FIRSTHDR(&message);
      header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    out.fd = Fd(fd);
  }
  return out;
}

// Whoever does not wait any more gets none.
void answer(const Fd& to, const Result<Fd>& outcome) {
  std::string text = outcome ? std::string(1, static_cast<char>(kOk))
                             : static_cast<char>(outcome.error().code()) + outcome.error().what();
  (void)send_message(to.get(), std::move(text), outcome ? outcome->get() : -1);
}

// In a process of its own: a lazy unmount must not wait for one that hangs.
void do_apart(Mounter& mounter, Wish wish, const Fd& to) {
  if (::fork() != 0) return;
  ::signal(SIGCHLD, SIG_DFL);  // it may run fusermount3
  Result<void> done;
  if (wish == Wish::kSendWritten)
    mounter.send_written();
  else
    done = mounter.unmount(wish == Wish::kUnmountLazily);
  answer(to, done ? Result<Fd>() : fail(done.error()));
  ::_exit(0);
}

[[noreturn]] void help(MountPlace place, Fd socket) {
  ::setsid();
  for (int s : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::signal(s, SIG_IGN);
  ::prctl(PR_SET_NAME, "coffer-mounter");
  [[maybe_unused]] int moved = ::chdir("/");
  // Nobody shall wait for the end of a pipe because we hold it.
  ::dup2(socket.release(), kHelperSocket);
  ::close_range(kHelperSocket + 1, ~0U, 0);
  const Fd from(kHelperSocket), null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  ::dup2(null.get(), STDIN_FILENO);
  ::dup2(null.get(), STDOUT_FILENO);
  auto mounter = make_mounter(std::move(place));
  while (auto request = receive_message(from.get())) {
    auto wish = static_cast<Wish>(request->bytes.front());
    if (wish != Wish::kMount) {
      do_apart(*mounter, wish, request->fd);
      continue;
    }
    auto device = mounter->mount();  // fusermount3 says on stderr what it does not like
    ::dup2(null.get(), STDERR_FILENO);
    ::signal(SIGCHLD, SIG_IGN);
    answer(request->fd, device);
  }
  ::_exit(0);
}

class MounterProcess : public Mounter {
 public:
  MounterProcess(Fd socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}
  ~MounterProcess() override {
    socket_.reset();
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  Result<Fd> mount() override {
    TRY(Fd device, ask(Wish::kMount));
    if (!device) return fail(Code::kInternal, "the process that mounts gave no device");
    return device;
  }
  Result<void> unmount(bool lazy) override {
    TRYV(ask(lazy ? Wish::kUnmountLazily : Wish::kUnmount));
    return {};
  }
  void send_written() override { (void)ask(Wish::kSendWritten); }

 private:
  // Any number of threads: each has a socket of its own for the answer.
  Result<Fd> ask(Wish wish) const {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
      return fail(errno_error("socketpair", errno));
    Fd mine(ends[0]), theirs(ends[1]);
    auto sent = send_message(socket_.get(), std::string(1, static_cast<char>(wish)), theirs.get());
    theirs.reset();
    auto said = sent ? receive_message(mine.get()) : std::nullopt;
    if (!said)
      return fail(Code::kInternal,
                  "coffer's process that mounts and unmounts has died; umount or fusermount3 -u works");
    auto code = static_cast<uint8_t>(said->bytes.front());
    if (code == kOk) return std::move(said->fd);
    return fail(static_cast<Code>(code), said->bytes.substr(1));
  }

  Fd socket_;
  const pid_t pid_;
};

}  // namespace

Result<std::unique_ptr<Mounter>> start_mounter(MountPlace place) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail(errno_error("socketpair", errno));
  Fd ours(ends[0]), theirs(ends[1]);
  pid_t pid = ::fork();
  if (pid < 0) return fail(errno_error("fork", errno));
  if (pid == 0) {
    ours.reset();
    help(std::move(place), std::move(theirs));
  }
  return std::make_unique<MounterProcess>(std::move(ours), pid);
}

}  // namespace coffer
