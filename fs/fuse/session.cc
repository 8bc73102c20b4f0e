#include "fs/fuse/session.h"

#include <poll.h>
#include <stdlib.h>

#include <cerrno>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "fs/fuse/fuse_arguments.h"
#include "fs/fuse/operations.h"
#include "fs/fuse/wire.h"

namespace coffer::fuse {

namespace {

// Workers wait for the local disk (fsync, back-pressure of writes), so there are more of them than processors; each may
// hold a request of up to 1 MiB, so not many more.
constexpr int kWorkers = 12;

}  // namespace

void Session::Destroy::operator()(fuse_session* session) const { fuse_session_destroy(session); }

Session::Session(FileSystem& fs)
    : fs_(fs), writes_(fs.active_writes, [this](const WriteTurns::Request& r) {
        process_message(session_.get(), MutableBytes(static_cast<uint8_t*>(r.memory), r.size));
      }) {}

Result<std::unique_ptr<Session>> Session::mount(FileSystem& fs) {
  std::unique_ptr<Session> session(new Session(fs));
  fs.kernel = session.get();
  take_libfuse_messages();
  const MountPlace& place = fs.options.place;
  session->mounter_ = fs.options.mounter ? fs.options.mounter : make_mounter(place);
  TRY(auto arguments, FuseArguments::of(place));
  session->session_.reset(fuse_session_new(arguments->get(), &operations(), sizeof(fuse_lowlevel_ops), &fs));
  if (!session->session_) return fail(Code::kInvalid, "mount options");
  fuse_session* se = session->session_.get();
  fs.calls.serve(se);
  TRY(Fd device, session->mounter_->mount());
  session->mounted_ = true;
  // libfuse takes a mount that is there already by this name, and closes the descriptor in the end.
  if (fuse_session_mount(se, ("/dev/fd/" + std::to_string(device.get())).c_str()) != 0)
    return fail(Code::kInternal, "libfuse does not take the device");
  int fd = device.release();
  if (fuse_session_custom_io(se, &wire_io(), fd) != 0)
    return fail(Code::kInternal, "libfuse takes no functions of ours");
  return session;
}

Session::~Session() {
  if (!mounted_) return;
  pollfd connection{fuse_session_fd(session_.get()), 0, 0};
  bool ended = ::poll(&connection, 1, 0) == 1 && (connection.revents & POLLERR) != 0;
  if (!ended) (void)mounter_->unmount(true);
}

Result<void> Session::serve() {
  serving_ = true;
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < kWorkers; ++i) workers.push_back(start_thread("coffer-fuse", [this] { work(); }));
  }
  serving_ = false;
  fs_.calls.end();
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
    auto file = written_file(BytesView(static_cast<const uint8_t*>(request.mem), request.size));
    if (!file) {
      fuse_session_process_buf(se, &request);
      continue;
    }
    WriteTurns::Request write{request.mem, request.size};
    writes_.take(*file, write);
    request.mem = write.memory;
  }
  free(request.mem);
}

Result<void> Session::unmount(bool lazy) {
  // Whoever has files open will be cut off: first, what he has written is to get here.
  if (lazy && serving_) fetch_written();
  return mounter_->unmount(lazy);
}

void Session::fetch_written() {
  constexpr auto kPatience = std::chrono::seconds(10);  // with somebody who goes on writing
  mounter_->send_written();
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
