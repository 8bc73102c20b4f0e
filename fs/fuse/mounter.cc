#include "fs/fuse/mounter.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>

#include "fs/fuse/fuse_arguments.h"
#include "fs/fuse/mount_points.h"

namespace coffer {
namespace {

Result<void> check_mount_point(const std::string& directory) {
  TRY(auto there, fuse::mount_point_at(directory));
  if (there) return fail(Code::kBusy, "something is mounted there already");
  struct stat st;
  if (::stat(directory.c_str(), &st) != 0) return fail(errno_error("mount point", errno));
  if (!S_ISDIR(st.st_mode)) return fail(Code::kNotDirectory, "mount point");
  return {};
}

Result<void> check_device() {
  Fd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (device) return {};
  if (errno == EACCES || errno == EPERM) return fail(Code::kDenied, "/dev/fuse may not be opened");
  return fail(Code::kUnsupported, "this system has no FUSE: /dev/fuse cannot be opened");
}

// Why libfuse could not mount, as far as can be told. For an ordinary user it asks a program that is root's.
Error refused() {
  constexpr char kHelper[] = "/usr/bin/fusermount3";
  if (::geteuid() != 0 && ::access(kHelper, X_OK) != 0)
    return Error(Code::kUnsupported, std::string("there is no ") + kHelper + " to mount for an ordinary user");
  return Error(Code::kDenied, "mounting was refused");
}

class DirectMounter : public Mounter {
 public:
  explicit DirectMounter(MountPlace place) : place_(std::move(place)) {}

  Result<Fd> mount() override {
    TRY(std::string directory, fuse::canonical(place_.directory));
    TRYV(check_mount_point(directory));
    TRYV(check_device());
    TRY(auto arguments, fuse::FuseArguments::of(place_));
    // libfuse mounts for a session only; this one never serves.
    fuse_lowlevel_ops nothing{};
    std::unique_ptr<fuse_session, void (*)(fuse_session*)> session(
        fuse_session_new(arguments->get(), &nothing, sizeof nothing, nullptr), fuse_session_destroy);
    if (!session) return fail(Code::kInvalid, "mount options");
    if (fuse_session_mount(session.get(), directory.c_str()) != 0) return fail(refused());
    Fd device(::fcntl(fuse_session_fd(session.get()), F_DUPFD_CLOEXEC, 3));
    if (!device) {
      int err = errno;
      fuse_session_unmount(session.get());
      return fail(errno_error("/dev/fuse", err));
    }
    return device;
  }

  Result<void> unmount(bool lazy) override {
    TRY(std::string directory, fuse::canonical(place_.directory));
    const std::string abort_switch = lazy ? abort_switch_of(directory) : "";
    auto unmounted = fuse::unmount_directory(directory, lazy, lazy);
    if (!unmounted && unmounted.error().code() != Code::kNotFound) return unmounted;
    if (!lazy) return {};
    // Without root's force, the connection lives on while files are open; this switch belongs to whoever mounted.
    Fd abort(::open(abort_switch.c_str(), O_WRONLY | O_CLOEXEC));
    if (abort) (void)!::write(abort.get(), "1", 1);
    return {};
  }

  void send_written() override {
    auto directory = fuse::canonical(place_.directory);
    if (!directory) return;
    Fd root(::open(directory->c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root || syncfs(root.get()) != 0) return;
    // For FUSE, syncfs sends the writes and does not wait for them. Requests are taken up in order: when this one is
    // answered, all of those have been taken up.
    struct statfs space;
    (void)fstatfs(root.get(), &space);
  }

 private:
  // A file of the kernel's that ends the connection.
  static std::string abort_switch_of(const std::string& directory) {
    auto there = fuse::mount_point_at(directory);
    if (!there || !*there) return "";
    return "/sys/fs/fuse/connections/" + (*there)->device.substr((*there)->device.find(':') + 1) + "/abort";
  }

  const MountPlace place_;
};

}  // namespace

std::unique_ptr<Mounter> make_mounter(MountPlace place) { return std::make_unique<DirectMounter>(std::move(place)); }

}  // namespace coffer
