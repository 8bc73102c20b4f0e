// The kinds of answers, and how they are sent.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <string>
#include <vector>

#include "base/bytes.h"
#include "fs/fuse/file_system.h"

namespace coffer::fuse {

struct Done {};   // it worked
struct Noted {};  // an upcall that takes no answer
struct Later {};  // somebody else has the request, or answered it

struct EntryReply {
  fuse_entry_param entry{};  // ino 0: there is no such name, and the kernel may remember that
};
struct CreateReply {
  fuse_entry_param entry{};
  fuse_file_info file{};
};
struct AttributesReply {
  struct stat attributes {};
};
struct OpenReply {
  fuse_file_info file{};
  bool never_again = false;  // ENOSYS: from now on the kernel opens by itself, and keeps what it has cached
};
struct TargetReply {
  std::string target;
};
struct ReadReply {
  ReadBuffers::Buffer buffer;
  size_t size = 0;
};
struct BytesReply {  // of an extended attribute
  Bytes bytes;
};
struct ListingReply {
  std::vector<char> bytes;
  std::vector<NodeId> looked_up;  // counted for the kernel; taken back if it does not get them
};
struct WrittenReply {
  size_t size = 0;
};
struct SizeReply {
  size_t size = 0;
};
struct OffsetReply {
  off_t offset = 0;
};
struct SpaceReply {
  struct statvfs space {};
};

// For the kernel, names and attributes never grow old: what changes outside of it is pushed to it (Invalidator).
inline constexpr double kForever = 1e9;

void send(FileSystem& fs, fuse_req_t req, const Done&);
void send(FileSystem& fs, fuse_req_t req, const Noted&);
void send(FileSystem& fs, fuse_req_t req, const Later&);
void send(FileSystem& fs, fuse_req_t req, const EntryReply&);
void send(FileSystem& fs, fuse_req_t req, const CreateReply&);
void send(FileSystem& fs, fuse_req_t req, const AttributesReply&);
void send(FileSystem& fs, fuse_req_t req, const OpenReply&);
void send(FileSystem& fs, fuse_req_t req, const TargetReply&);
void send(FileSystem& fs, fuse_req_t req, const ReadReply&);
void send(FileSystem& fs, fuse_req_t req, const BytesReply&);
void send(FileSystem& fs, fuse_req_t req, const ListingReply&);
void send(FileSystem& fs, fuse_req_t req, const WrittenReply&);
void send(FileSystem& fs, fuse_req_t req, const SizeReply&);
void send(FileSystem& fs, fuse_req_t req, const OffsetReply&);
void send(FileSystem& fs, fuse_req_t req, const SpaceReply&);
void send_error(fuse_req_t req, Upcall upcall, const Error& error);

}  // namespace coffer::fuse
