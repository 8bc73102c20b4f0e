#include "fs/fuse/mount.h"

#include "fs/fuse/invalidator.h"
#include "fs/fuse/session.h"

namespace coffer {

using model::Ino;

struct Mount::Impl {
  explicit Impl(Replica& replica, Fetcher& fetcher, MountOptions options) : fs(replica, fetcher, std::move(options)) {}
  ~Impl() {
    if (invalidator) invalidator->stop();
  }

  fuse::FileSystem fs;
  std::unique_ptr<fuse::Session> session;
  std::shared_ptr<fuse::Invalidator> invalidator;  // shared with a callback that may be running when the mount ends
};

Result<std::unique_ptr<Mount>> Mount::mount(Replica& replica, Fetcher& fetcher, MountOptions options) {
  auto impl = std::make_unique<Impl>(replica, fetcher, std::move(options));
  if (impl->fs.options.remote_sync) impl->fs.remote_syncs.emplace(impl->fs.options.remote_sync);
  TRY(impl->session, fuse::Session::mount(impl->fs));
  impl->invalidator = std::make_shared<fuse::Invalidator>(replica, impl->fs.shared_nodes, *impl->session);
  replica.on_touch([weak = std::weak_ptr(impl->invalidator)](const model::Touch& touch) {
    if (auto invalidator = weak.lock()) invalidator->push(touch);
  });
  replica.on_supersede([weak = std::weak_ptr(impl->invalidator), nodes = impl->fs.shared_nodes](Ino ino, Ino keeper) {
    if (weak.expired() || !nodes->supersede(ino, keeper)) return false;
    if (keeper != ino) nodes->mark_unlinked(keeper);  // release() tells of it, and nobody minds when it has a name
    return true;
  });
  return std::unique_ptr<Mount>(new Mount(std::move(impl)));
}

Mount::Mount(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Mount::~Mount() = default;

Result<void> Mount::serve() { return impl_->session->serve(); }
Result<void> Mount::unmount(bool lazy) { return impl_->session->unmount(lazy); }

std::vector<UpcallCount> Mount::upcalls() const {
  std::vector<UpcallCount> out;
  for (size_t i = 0; i < static_cast<size_t>(fuse::Upcall::kCount); ++i) {
    auto upcall = static_cast<fuse::Upcall>(i);
    uint64_t calls = impl_->fs.meter.calls(upcall);
    if (calls > 0) out.push_back({std::string(fuse::to_string(upcall)), calls, impl_->fs.meter.cpu_ns(upcall)});
  }
  return out;
}

}  // namespace coffer
