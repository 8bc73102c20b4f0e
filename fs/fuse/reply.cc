#include "fs/fuse/reply.h"

#include <cerrno>

#include "base/log.h"
#include "fs/fuse/errno.h"

namespace coffer::fuse {

namespace {

// The kernel does not take an answer to a request that it has given up: then it has not counted the lookup either.
bool refused(int sent) { return sent == -ENOENT; }

}  // namespace

void send(FileSystem&, fuse_req_t req, const Done&) { fuse_reply_err(req, 0); }
void send(FileSystem&, fuse_req_t req, const Noted&) { fuse_reply_none(req); }
void send(FileSystem&, fuse_req_t, const Later&) {}

void send(FileSystem& fs, fuse_req_t req, const EntryReply& r) {
  if (refused(fuse_reply_entry(req, &r.entry)) && r.entry.ino != 0) fs.release(r.entry.ino, 1);
}

void send(FileSystem& fs, fuse_req_t req, const CreateReply& r) {
  if (refused(fuse_reply_create(req, &r.entry, &r.file))) fs.release(r.entry.ino, 1);
}

void send(FileSystem&, fuse_req_t req, const AttributesReply& r) { fuse_reply_attr(req, &r.attributes, kForever); }

void send(FileSystem&, fuse_req_t req, const OpenReply& r) {
  if (r.never_again)
    fuse_reply_err(req, ENOSYS);
  else
    fuse_reply_open(req, &r.file);
}

void send(FileSystem&, fuse_req_t req, const TargetReply& r) { fuse_reply_readlink(req, r.target.c_str()); }

void send(FileSystem&, fuse_req_t req, const ReadReply& r) {
  fuse_reply_buf(req, reinterpret_cast<const char*>(r.buffer.data()), r.size);
}

void send(FileSystem&, fuse_req_t req, const BytesReply& r) {
  fuse_reply_buf(req, reinterpret_cast<const char*>(r.bytes.data()), r.bytes.size());
}

void send(FileSystem& fs, fuse_req_t req, const ListingReply& r) {
  if (!refused(fuse_reply_buf(req, r.bytes.data(), r.bytes.size()))) return;
  for (NodeId id : r.looked_up) fs.release(id, 1);
}

void send(FileSystem&, fuse_req_t req, const WrittenReply& r) { fuse_reply_write(req, r.size); }
void send(FileSystem&, fuse_req_t req, const SizeReply& r) { fuse_reply_xattr(req, r.size); }
void send(FileSystem&, fuse_req_t req, const OffsetReply& r) { fuse_reply_lseek(req, r.offset); }
void send(FileSystem&, fuse_req_t req, const SpaceReply& r) { fuse_reply_statfs(req, &r.space); }

void send_error(fuse_req_t req, Upcall upcall, const Error& error) {
  bool ours = error.code() == Code::kIo || error.code() == Code::kCorrupt || error.code() == Code::kInternal;
  if (ours) log_line(LogLevel::kWarning, std::string(to_string(upcall)) + ": " + error.what());
  fuse_reply_err(req, to_errno(upcall, error.code()));
}

}  // namespace coffer::fuse
