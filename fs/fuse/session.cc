#include "fs/fuse/session.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "fs/fuse/mount_points.h"
#include "fs/fuse/operations.h"
#include "fs/fuse/wire.h"

namespace coffer::fuse {

namespace {

// Workers wait for the local disk (fsync, back-pressure of writes), so there are more of them than processors; each may
// hold a request of up to 1 MiB, so not many more.
constexpr int kWorkers = 12;

// libfuse's own messages go where ours go.
void log_message(fuse_log_level level, const char* format, va_list args) noexcept {
  char text[512];
  vsnprintf(text, sizeof text, format, args);
  std::string line = text;
  while (!line.empty() && line.back() == '\n') line.pop_back();
  log_line(level <= FUSE_LOG_ERR ? LogLevel::kWarning : LogLevel::kDebug, line);
}

struct FuseArgs {
  fuse_args args = FUSE_ARGS_INIT(0, nullptr);
  ~FuseArgs() { fuse_opt_free_args(&args); }
};

struct OptionList {
  char* text = nullptr;
  ~OptionList() { free(text); }
  bool add(const std::string& option) { return fuse_opt_add_opt_escaped(&text, option.c_str()) == 0; }
};

Result<void> check_mount_point(const std::string& directory) {
  TRY(auto there, mount_point_at(directory));
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

Result<void> fill(FuseArgs& args, const MountOptions& options) {
  OptionList list;
  bool ok = list.add("fsname=" + (options.source.empty() ? std::string("coffer") : options.source)) &&
            list.add("subtype=coffer") && list.add("default_permissions");
  if (options.allow_other) ok = ok && list.add("allow_other");
  if (options.read_only) ok = ok && list.add("ro");
  ok = ok && fuse_opt_add_arg(&args.args, "coffer") == 0 && fuse_opt_add_arg(&args.args, "-o") == 0 &&
       fuse_opt_add_arg(&args.args, list.text) == 0;
  for (const std::string& extra : options.fuse_options)
    ok = ok && fuse_opt_add_arg(&args.args, "-o") == 0 && fuse_opt_add_arg(&args.args, extra.c_str()) == 0;
  if (!ok) return fail(Code::kNoSpace, "out of memory");
  return {};
}

}  // namespace

void Session::Destroy::operator()(fuse_session* session) const {
  fuse_session_unmount(session);  // does nothing when the connection has ended
  fuse_session_destroy(session);
}

Result<std::unique_ptr<Session>> Session::mount(FileSystem& fs) {
  std::unique_ptr<Session> session(new Session(fs));
  fs.kernel = session.get();
  TRY(session->directory_, canonical(fs.options.directory));
  TRYV(check_mount_point(session->directory_));
  TRYV(check_device());
  fuse_set_log_func(log_message);
  FuseArgs args;
  TRYV(fill(args, fs.options));
  session->session_.reset(fuse_session_new(&args.args, &operations(), sizeof(fuse_lowlevel_ops), &fs));
  if (!session->session_) return fail(Code::kInvalid, "mount options");
  fuse_session* se = session->session_.get();
  if (fuse_session_mount(se, session->directory_.c_str()) != 0) return fail(Code::kDenied, "mounting was refused");
  if (fuse_session_custom_io(se, &wire_io(), fuse_session_fd(se)) != 0)
    return fail(Code::kInternal, "libfuse takes no functions of ours");
  if (auto there = mount_point_at(session->directory_); there && *there) {
    std::string minor = (*there)->device.substr((*there)->device.find(':') + 1);
    session->abort_switch_ = "/sys/fs/fuse/connections/" + minor + "/abort";
  }
  return session;
}

Session::~Session() = default;

Result<void> Session::serve() {
  serving_ = true;
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < kWorkers; ++i) workers.push_back(start_thread("coffer-fuse", [this] { work(); }));
  }
  serving_ = false;
  // The kernel has dropped everything, and does not say so inode by inode.
  for (Ino ino : fs_.nodes.take_unlinked()) fs_.replica.forget(ino);
  return {};
}

void Session::work() {
  fuse_session* se = session_.get();
  fuse_buf request{};
  while (fuse_session_exited(se) == 0) {
    int n = fuse_session_receive_buf(se, &request);
    if (n == -EINTR || n == -EAGAIN) continue;
    if (n <= 0) break;  // unmounted, or the connection was ended
    fuse_session_process_buf(se, &request);
  }
  free(request.mem);
}

Result<void> Session::unmount(bool lazy) {
  if (!lazy) {
    auto unmounted = unmount_directory(directory_, false, false);
    if (!unmounted && unmounted.error().code() == Code::kNotFound) return {};
    return unmounted;
  }
  // Whoever has files open will be cut off: first, what he has written is to get here.
  if (serving_) fetch_written();
  auto unmounted = unmount_directory(directory_, true, true);
  if (!unmounted && unmounted.error().code() != Code::kNotFound) return unmounted;
  // Without root's force, the connection lives on while files are open; this switch belongs to whoever mounted.
  Fd abort(::open(abort_switch_.c_str(), O_WRONLY | O_CLOEXEC));
  if (abort) (void)!::write(abort.get(), "1", 1);
  return {};
}

void Session::fetch_written() {
  constexpr auto kPatience = std::chrono::seconds(10);  // with somebody who goes on writing
  Fd root(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root || syncfs(root.get()) != 0) return;
  // For FUSE, syncfs sends the writes and does not wait for them. Requests are taken up in order: when this one is
  // answered, all of those have been taken up.
  struct statfs space;
  if (fstatfs(root.get(), &space) != 0) return;
  if (!fs_.active_writes.wait_until_idle(kPatience))
    log_line(LogLevel::kWarning, "unmount: files are still being written");
}

void Session::drop_name(NodeId dir, const std::string& name) {
  fuse_lowlevel_notify_inval_entry(session_.get(), dir, name.c_str(), name.size());
}

void Session::expire_name(NodeId dir, const std::string& name) {
  int told = fuse_lowlevel_notify_expire_entry(session_.get(), dir, name.c_str(), name.size(), FUSE_LL_EXPIRE_ONLY);
  if (told == -ENOSYS) drop_name(dir, name);
}

void Session::wait_for_lookups(NodeId dir) {
  // The kernel takes the directory's lock before it looks for the name, and this one it does not have.
  drop_name(dir, "/");
}

void Session::drop_attributes(NodeId id) { fuse_lowlevel_notify_inval_inode(session_.get(), id, -1, 0); }

void Session::write_back(NodeId id, uint64_t from) {
  fuse_lowlevel_notify_inval_inode(session_.get(), id, static_cast<off_t>(from), 0);
}

void Session::drop_listing(NodeId dir) { fuse_lowlevel_notify_inval_inode(session_.get(), dir, 0, 0); }

}  // namespace coffer::fuse
