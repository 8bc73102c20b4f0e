#include "fs/cli/system_call_filter.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <vector>

namespace coffer::cli {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t kArchitecture = 0;
#endif

// A deny list: what a later libc may call to do the same old things goes on working. All of it reaches other processes,
// the kernel itself, or the system as a whole.
constexpr long kRefused[] = {
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_process_madvise,
    SYS_pidfd_getfd,
    SYS_kcmp,
    // what is mounted, and namespaces
    SYS_mount,
    SYS_umount2,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    // files by number instead of name, which no rule on names sees
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_fanotify_init,
    // code in the kernel, and interfaces that have often been a way in there
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    // keys of other programs, and of other volumes
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    // the machine
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_syslog,
    SYS_acct,
    SYS_quotactl,
    SYS_personality,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_vhangup,
#if defined(__x86_64__)
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
#endif
};

constexpr uint32_t kNewNamespaces =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

class Program {
 public:
  void load(size_t offset) { code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset))); }
  void load_number() { load(offsetof(seccomp_data, nr)); }
  // The lower half; both architectures are little-endian.
  void load_argument(size_t n) { load(offsetof(seccomp_data, args) + n * sizeof(uint64_t)); }
  void skip_unless_equal(uint32_t value, uint8_t count) {
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count));
  }
  void skip_if_equal(uint32_t value, uint8_t count) {
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, count, 0));
  }
  void skip_unless_any_bit(uint32_t mask, uint8_t count) {
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, mask, 0, count));
  }
  void refuse(int err) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(err))); }
  void allow() { code_.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)); }
  void refuse_call(long number, int err) {
    skip_unless_equal(static_cast<uint32_t>(number), 1);
    refuse(err);
  }
  std::vector<sock_filter>& code() { return code_; }

 private:
  std::vector<sock_filter> code_;
};

Program make_program(bool programs) {
  Program p;
  // Another architecture has other numbers, and on x86-64 there is a second set of them.
  p.load(offsetof(seccomp_data, arch));
  p.skip_if_equal(kArchitecture, 1);
  p.refuse(EPERM);
  p.load_number();
#if defined(__x86_64__)
  constexpr uint32_t kX32 = 0x40000000;
  p.skip_unless_any_bit(kX32, 1);
  p.refuse(EPERM);
#endif
  for (long number : kRefused) p.refuse_call(number, EPERM);
  if (!programs)
    for (long number : {SYS_execve, SYS_execveat}) p.refuse_call(number, EPERM);
  // Its arguments lie in memory, where a filter cannot look. libc then takes clone.
  p.refuse_call(SYS_clone3, ENOSYS);
  p.skip_unless_equal(SYS_clone, 4);
  p.load_argument(0);
  p.skip_unless_any_bit(kNewNamespaces, 1);
  p.refuse(EPERM);
  p.allow();
  // Putting words into a terminal's mouth.
  p.skip_unless_equal(SYS_ioctl, 5);
  p.load_argument(1);
  p.skip_if_equal(TIOCSTI, 1);
  p.skip_unless_equal(TIOCLINUX, 1);
  p.refuse(EPERM);
  p.allow();
  p.skip_unless_equal(SYS_socket, 6);
  p.load_argument(0);
  for (uint8_t left = 4; uint32_t family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}) p.skip_if_equal(family, left--);
  p.refuse(EAFNOSUPPORT);
  p.allow();
  return p;
}

}  // namespace

Outcome<bool> filter_system_calls(bool programs) {
  if (kArchitecture == 0) return false;
  Program program = make_program(programs);
  sock_fprog code{static_cast<unsigned short>(program.code().size()), program.code().data()};
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &code, 0, 0) == 0) return true;
  if (errno == EINVAL) return false;
  return give_up(Failure(errno_error("prctl(PR_SET_SECCOMP)", errno)));
}

}  // namespace coffer::cli
