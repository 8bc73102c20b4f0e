// One connection to the kernel: mounting, serving, unmounting.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "fs/fuse/file_system.h"
#include "fs/fuse/kernel_caches.h"
#include "fs/fuse/write_turns.h"

struct fuse_session;

namespace coffer::fuse {

// Thread-safe once made.
class Session : public KernelCaches {
 public:
  // As Mount::mount(). `fs` outlives the session.
  static Result<std::unique_ptr<Session>> mount(FileSystem& fs);
  ~Session() override;

  // As Mount::serve() and Mount::unmount().
  Result<void> serve();
  Result<void> unmount(bool lazy);

  void drop_name(NodeId dir, const std::string& name) override;
  void expire_name(NodeId dir, const std::string& name) override;
  void wait_for_lookups(NodeId dir) override;
  void drop_attributes(NodeId id) override;
  void drop_listing(NodeId dir) override;
  void write_back(NodeId id, uint64_t from) override;

 private:
  struct Destroy {
    void operator()(fuse_session* session) const;
  };

  explicit Session(FileSystem& fs);
  void work();
  // Until what the kernel had not written back yet has been written here.
  void fetch_written();

  FileSystem& fs_;
  std::shared_ptr<Mounter> mounter_;
  bool mounted_ = false;
  std::unique_ptr<fuse_session, Destroy> session_;
  WriteTurns writes_;
  std::atomic<bool> serving_{false};
};

}  // namespace coffer::fuse
