#include "fs/fuse/content_operations.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>

#include "fs/fuse/attribute_operations.h"
#include "fs/fuse/wire.h"
#include "fs/replica/row_parts.h"

namespace coffer::fuse {

namespace {

// Everything is durable here; under fsync=remote, the store is still to be waited for.
Result<Later> synced(FileSystem& fs, fuse_req_t req) {
  if (fs.remote_syncs)
    fs.remote_syncs->add(req);
  else
    send(fs, req, Done{});
  return Later{};
}

// Takes set-user-id and set-group-id away from a file whose contents are changed. The kernel leaves that to us and goes on
// showing the mode that it knows: it is told at the end of the scope, where no lock of ours may be held.
class Privileges {
 public:
  Privileges(FileSystem& fs, NodeId id) : fs_(fs), id_(id) {}
  ~Privileges() {
    if (taken_) fs_.kernel->drop_attributes(id_);
  }
  Privileges(const Privileges&) = delete;
  Privileges& operator=(const Privileges&) = delete;

  // As the request of a write says.
  Result<void> take_if_asked(Ino ino) {
    if (!request_kills_privileges()) return {};
    TRY(taken_, kill_privileges(fs_, ino));
    return {};
  }
  // Other requests do not say whether the caller has CAP_FSETID, nor what groups he is in beside his own.
  Result<void> take_unless_root(Ino ino, fuse_req_t req) {
    const fuse_ctx* caller = fuse_req_ctx(req);
    if (caller->uid == 0) return {};
    TRY(taken_, kill_privileges(fs_, ino, caller->gid));
    return {};
  }

 private:
  FileSystem& fs_;
  const NodeId id_;
  bool taken_ = false;
};

}  // namespace

Result<OpenReply> open(FileSystem& fs, fuse_req_t, fuse_ino_t, fuse_file_info* file) {
  OpenReply reply{*file, fs.no_open};
  reply.file.keep_cache = 1;
  return reply;
}

Result<Later> read(FileSystem& fs, fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, fuse_file_info*) {
  size = std::min(size, ReadBuffers::kSize);
  auto buffer = fs.buffers.take();
  auto from = static_cast<uint64_t>(offset);
  auto read_here = [&] {
    auto hold = fs.replica.hold_news();
    return fs.replica.read(fs.nodes.resolve(id).ino, from, MutableBytes(buffer.data(), size));
  };
  TRY(Replica::ReadOutcome outcome, read_here());
  if (outcome.missing.empty())
    send(fs, req, ReadReply{std::move(buffer), outcome.bytes});
  else
    fs.parked.park(req, id, from, size, std::move(outcome.missing));
  return Later{};
}

Result<WrittenReply> write(FileSystem& fs, fuse_req_t, fuse_ino_t id, const char* data, size_t size, off_t offset,
                           fuse_file_info*) {
  ActiveWrites::Scope active(fs.active_writes);
  Privileges privileges(fs, id);
  auto hold = fs.replica.hold_news();
  TRY(Ino ino, fs.writable(id));
  TRYV(privileges.take_if_asked(ino));
  BytesView bytes(reinterpret_cast<const uint8_t*>(data), size);
  TRYV(fs.replica.write(ino, static_cast<uint64_t>(offset), bytes, fs.writeback));
  return WrittenReply{size};
}

Result<Later> fsync(FileSystem& fs, fuse_req_t req, fuse_ino_t id, int, fuse_file_info*) {
  TRYV(fs.replica.sync_file(fs.nodes.resolve(id).ino));
  return synced(fs, req);
}

Result<Later> fsyncdir(FileSystem& fs, fuse_req_t req, fuse_ino_t, int, fuse_file_info*) {
  TRYV(fs.replica.sync_all(false));
  return synced(fs, req);
}

Result<Done> fallocate(FileSystem& fs, fuse_req_t req, fuse_ino_t id, int mode, off_t offset, off_t length,
                       fuse_file_info*) {
  constexpr int kKnown = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
  if ((mode & ~kKnown) != 0) return fail(Code::kUnsupported, "fallocate mode");
  if (offset < 0 || length <= 0) return fail(Code::kInvalid, "fallocate range");
  Privileges privileges(fs, id);
  auto hold = fs.replica.hold_news();
  TRY(Ino ino, fs.writable(id));
  TRYV(privileges.take_unless_root(ino, req));
  auto from = static_cast<uint64_t>(offset), count = static_cast<uint64_t>(length);
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) TRYV(fs.replica.punch_hole(ino, from, count));
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0) TRYV(fs.replica.allocate(ino, from, count));
  return Done{};
}

Result<WrittenReply> copy_file_range(FileSystem& fs, fuse_req_t req, fuse_ino_t from, off_t from_offset,
                                     fuse_file_info*, fuse_ino_t to, off_t to_offset, fuse_file_info*, size_t length,
                                     int flags) {
  if (flags != 0 || from_offset < 0 || to_offset < 0) return fail(Code::kInvalid, "copy_file_range arguments");
  ActiveWrites::Scope active(fs.active_writes);
  Privileges privileges(fs, to);
  auto hold = fs.replica.hold_news();
  TRY(Ino target, fs.writable(to));
  TRYV(privileges.take_unless_root(target, req));
  Ino source = fs.nodes.resolve(from).ino;
  TRY(uint64_t copied, fs.replica.copy_range(source, static_cast<uint64_t>(from_offset), target,
                                             static_cast<uint64_t>(to_offset), length, fs.writeback));
  return WrittenReply{copied};
}

Result<Later> lseek(FileSystem& fs, fuse_req_t req, fuse_ino_t id, off_t offset, int whence, fuse_file_info*) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return fail(Code::kInvalid, "lseek whence");
  // The kernel does not write back first, and we do not know of what it has not written yet: data would seem a hole.
  if (fs.replica.parts().loading()) {  // no helper waits for the network
    auto here = fs.replica.extents(fs.nodes.resolve(id).ino, 0, model::kSizeMax);
    if (!here && here.error().code() == Code::kUnavailable) return fail(here.error());
  }
  fs.helpers.add(req, [&fs, id, offset, whence](Deferred& request) {
    auto from = static_cast<uint64_t>(offset);
    fs.kernel->write_back(id, from);
    auto found = [&] {
      auto hold = fs.replica.hold_news();
      Ino ino = fs.nodes.resolve(id).ino;
      return whence == SEEK_DATA ? fs.replica.seek_data(ino, from) : fs.replica.seek_hole(ino, from);
    }();
    if (!request.claim()) return;
    if (found)
      send(fs, request.request(), OffsetReply{static_cast<off_t>(*found)});
    else
      send_error(request.request(), Upcall::kLseek, found.error());
    fs.meter.charge(Upcall::kLseek);
  });
  return Later{};
}

}  // namespace coffer::fuse
