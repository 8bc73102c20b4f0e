// Each case is a process that confines itself as the daemon does, and then tries.
#include "fs/cli/confinement.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <thread>

#include "tests/cli/temporary.h"

namespace coffer::cli {
namespace {

class ConfinementTest : public testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP() << "the thread sanitizer has a thread of its own, and who has threads is confined too late";
#endif
  }
};

constexpr int kNotConfined = 250, kFilesFree = 251;

// What `body` returns (below 200: 0, or an errno), or one of the above.
int confined(const Needs& needs, const std::function<int()>& body) {
  pid_t pid = ::fork();
  if (pid == 0) {
    auto done = confine(needs);
    if (!done || !done->system_calls) ::_exit(kNotConfined);
    if (!done->files && !needs.programs) ::_exit(kFilesFree);
    ::_exit(body());
  }
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int error_of(long result) { return result < 0 ? errno : 0; }
int error_of_open(const std::string& path, int flags) {
  return error_of(::open(path.c_str(), flags | O_CLOEXEC, 0600));
}

#define SKIP_WITHOUT_LANDLOCK(needs) \
  if (confined(needs, [] { return 0; }) == kFilesFree) GTEST_SKIP() << "this kernel has no Landlock"

struct Call {
  const char* name;
  std::function<long()> make;
  int error;
};

// The arguments make no sense, so that where nothing is refused, nothing happens.
const std::vector<Call> kCalls = {
    {"ptrace", [] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }, EPERM},
    {"process_vm_readv", [] { return ::syscall(SYS_process_vm_readv, ::getppid(), nullptr, 0, nullptr, 0, 0); }, EPERM},
    {"mount", [] { return ::syscall(SYS_mount, nullptr, nullptr, nullptr, 0, nullptr); }, EPERM},
    {"umount2", [] { return ::syscall(SYS_umount2, "/nowhere/at/all", 0); }, EPERM},
    {"unshare", [] { return ::syscall(SYS_unshare, 0); }, EPERM},
    {"setns", [] { return ::syscall(SYS_setns, -1, 0); }, EPERM},
    {"bpf", [] { return ::syscall(SYS_bpf, -1, nullptr, 0); }, EPERM},
    {"keyctl", [] { return ::syscall(SYS_keyctl, 9999, 0, 0, 0, 0); }, EPERM},
    {"io_uring_setup", [] { return ::syscall(SYS_io_uring_setup, 0, nullptr); }, EPERM},
    {"open_by_handle_at", [] { return ::syscall(SYS_open_by_handle_at, -1, nullptr, 0); }, EPERM},
    {"personality", [] { return ::syscall(SYS_personality, 0xffffffff); }, EPERM},
    {"execve", [] { return ::syscall(SYS_execve, nullptr, nullptr, nullptr); }, EPERM},
    {"execveat", [] { return ::syscall(SYS_execveat, -1, nullptr, nullptr, nullptr, 0); }, EPERM},
    {"clone3", [] { return ::syscall(SYS_clone3, nullptr, 0); }, ENOSYS},
    {"clone into a new user namespace",
     [] {
       long pid = ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
       if (pid == 0) ::_exit(0);
       return pid;
     },
     EPERM},
    {"ioctl TIOCSTI", [] { return static_cast<long>(::ioctl(-1, TIOCSTI, "x")); }, EPERM},
    {"socket of packets", [] { return static_cast<long>(::socket(AF_PACKET, SOCK_RAW, 0)); }, EAFNOSUPPORT},
};

TEST_F(ConfinementTest, RefusesWhatAFileServerNeverNeeds) {
  for (const Call& call : kCalls)
    EXPECT_EQ(confined({}, [&call] { return error_of(call.make()); }), call.error) << call.name;
}

TEST_F(ConfinementTest, LeavesWhatItNeeds) {
  EXPECT_EQ(confined({},
                     [] {
                       std::thread([] {}).join();
                       pid_t child = ::fork();
                       if (child == 0) ::_exit(7);
                       int status = 0;
                       if (::waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 7) return 1;
                       for (int family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK})
                         if (::socket(family, SOCK_DGRAM, 0) < 0 && errno != EAFNOSUPPORT) return 2;
                       if (error_of_open("/etc/passwd", O_RDONLY) != 0) return 3;
                       return error_of_open("/dev/null", O_RDWR);
                     }),
            0);
}

TEST_F(ConfinementTest, GivesNoNewPrivileges) {
  EXPECT_EQ(confined({}, [] { return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 1; }), 0);
}

TEST_F(ConfinementTest, KeepsToItsFiles) {
  TemporaryDirectory mine, shown, foreign;
  const std::string read_only = shown.write("file", "x"), secret = foreign.write("secret", "x");
  const Needs needs{{mine.path()}, {read_only}};
  SKIP_WITHOUT_LANDLOCK(needs);
  auto open_as = [&needs](const std::string& path, int flags) {
    return confined(needs, [&] { return error_of_open(path, flags); });
  };
  EXPECT_EQ(open_as(secret, O_RDONLY), EACCES);
  EXPECT_EQ(open_as(secret, O_WRONLY), EACCES);
  EXPECT_EQ(open_as(foreign.path() + "/new", O_WRONLY | O_CREAT), EACCES);
  EXPECT_EQ(open_as("/etc/coffer-was-here", O_WRONLY | O_CREAT), EACCES);
  EXPECT_EQ(open_as(read_only, O_RDONLY), 0);
  EXPECT_EQ(open_as(read_only, O_WRONLY), EACCES);
  EXPECT_EQ(open_as(mine.path() + "/new", O_RDWR | O_CREAT), 0);
  EXPECT_EQ(confined(needs, [&] { return error_of(::unlink(secret.c_str())); }), EACCES);
  EXPECT_EQ(confined(needs, [&] { return error_of(::truncate(secret.c_str(), 0)); }), EACCES);
  EXPECT_EQ(confined(needs,
                     [&] {
                       const std::string a = mine.path() + "/sub", b = mine.path() + "/new", c = a + "/new";
                       if (::mkdir(a.c_str(), 0700) != 0) return errno;
                       return error_of(::rename(b.c_str(), c.c_str()));
                     }),
            0);
}

TEST_F(ConfinementTest, ReachesNobodyOutside) {
  SKIP_WITHOUT_LANDLOCK({});
  pid_t outside = ::fork();
  if (outside == 0) {
    ::pause();
    ::_exit(0);
  }
  int signalled = confined({}, [outside] { return error_of(::kill(outside, 0)); });
  ::kill(outside, SIGKILL);
  ::waitpid(outside, nullptr, 0);
  int listening = confined({}, [] {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    return error_of(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address));
  });
  const long version = ::syscall(444, nullptr, 0, 1);
  EXPECT_EQ(signalled, version >= 6 ? EPERM : 0);
  EXPECT_EQ(listening, version >= 4 ? EACCES : 0);
}

TEST_F(ConfinementTest, LetsProgramsOfTheUserRunWhereTheyTellCredentials) {
  Needs needs;
  needs.programs = true;
  EXPECT_EQ(confined(needs,
                     [] {
                       ::execl("/bin/true", "true", nullptr);
                       return errno;
                     }),
            0);
  EXPECT_EQ(confined(needs, [] { return error_of(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)); }), EPERM);
}

TEST_F(ConfinementTest, IsNotForSomeThreadsOnly) {
  pid_t pid = ::fork();
  if (pid == 0) {
    std::jthread other([](std::stop_token stop) {
      while (!stop.stop_requested()) ::usleep(1000);
    });
    ::_exit(confine({}) ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace coffer::cli
