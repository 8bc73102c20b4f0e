#include "fs/fuse/wire.h"

#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "fs/fuse/file_system.h"

namespace coffer::fuse {

namespace {

thread_local bool kills_privileges = false;
thread_local BytesView message_read;     // in the buffer of whoever reads
thread_local uint64_t init_request = 0;  // its unique number, when the kernel offers some of what we want
thread_local uint32_t wanted = 0;        // and what that is

void look_at(const uint8_t* message, size_t size) {
  kills_privileges = false;
  fuse_in_header header;
  if (size < sizeof header) return;
  std::memcpy(&header, message, sizeof header);
  const uint8_t* body = message + sizeof header;
  size_t body_size = size - sizeof header;
  switch (header.opcode) {
    case FUSE_WRITE: {
      fuse_write_in in;
      if (body_size < sizeof in) return;
      std::memcpy(&in, body, sizeof in);
      kills_privileges = (in.write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
      return;
    }
    case FUSE_SETATTR: {
      fuse_setattr_in in;
      if (body_size < sizeof in) return;
      std::memcpy(&in, body, sizeof in);
      kills_privileges = (in.valid & FATTR_KILL_SUIDGID) != 0;
      return;
    }
    case FUSE_INIT: {
      fuse_init_in in{};
      std::memcpy(&in, body, body_size < sizeof in ? body_size : sizeof in);
      wanted = in.flags & (FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT);
      if (wanted != 0) init_request = header.unique;
      return;
    }
    default:
      return;
  }
}

// Takes out what FUSE_SETXATTR_EXT put in, as libfuse expects it. The new size.
size_t shorten_setxattr(uint8_t* message, size_t size) {
  fuse_in_header header;
  fuse_setxattr_in in;
  if (size < sizeof header + sizeof in) return size;
  std::memcpy(&header, message, sizeof header);
  if (header.opcode != FUSE_SETXATTR) return size;
  std::memcpy(&in, message + sizeof header, sizeof in);
  kills_privileges = (in.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID) != 0;
  constexpr size_t kFrom = sizeof header + sizeof in, kTo = sizeof header + FUSE_COMPAT_SETXATTR_IN_SIZE;
  std::memmove(message + kTo, message + kFrom, size - kFrom);
  header.len -= kFrom - kTo;
  std::memcpy(message, &header, sizeof header);
  return size - (kFrom - kTo);
}

void amend_init_reply(FileSystem& fs, iovec* iov, int count) {
  constexpr size_t kFlagsEnd = offsetof(fuse_init_out, flags) + sizeof(fuse_init_out::flags);
  fuse_out_header header;
  if (count < 2 || iov[0].iov_len < sizeof header || iov[1].iov_len < kFlagsEnd) return;
  std::memcpy(&header, iov[0].iov_base, sizeof header);
  if (header.unique != init_request || header.error != 0) return;
  init_request = 0;
  auto* flags = static_cast<uint8_t*>(iov[1].iov_base) + offsetof(fuse_init_out, flags);
  uint32_t value;
  std::memcpy(&value, flags, sizeof value);
  value |= wanted;
  fs.extended_setxattr = (wanted & FUSE_SETXATTR_EXT) != 0;
  std::memcpy(flags, &value, sizeof value);
}

ssize_t read_message(int fd, void* buffer, size_t size, void* user_data) {
  ssize_t n = ::read(fd, buffer, size);
  if (n <= 0) return n;
  auto* message = static_cast<uint8_t*>(buffer);
  look_at(message, static_cast<size_t>(n));
  auto length = static_cast<size_t>(n);
  if (static_cast<FileSystem*>(user_data)->extended_setxattr) length = shorten_setxattr(message, length);
  message_read = BytesView(message, length);
  return static_cast<ssize_t>(length);
}

ssize_t write_message(int fd, iovec* iov, int count, void* user_data) {
  if (init_request != 0) [[unlikely]]
    amend_init_reply(*static_cast<FileSystem*>(user_data), iov, count);
  return ::writev(fd, iov, count);
}

void hand_over(fuse_session* session, MutableBytes message) {
  message_read = message;
  fuse_buf buffer{};
  buffer.mem = message.data();
  buffer.size = message.size();
  fuse_session_process_buf(session, &buffer);
  message_read = {};
}

}  // namespace

bool request_kills_privileges() { return kills_privileges; }

RawRequest current_request() { return {to_bytes(message_read), kills_privileges}; }

std::optional<fuse_ino_t> written_file(BytesView message) {
  fuse_in_header header;
  if (message.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, message.data(), sizeof header);
  if (header.opcode != FUSE_WRITE) return std::nullopt;
  return header.nodeid;
}

void process_message(fuse_session* session, MutableBytes message) {
  look_at(message.data(), message.size());
  hand_over(session, message);
}

void process_again(fuse_session* session, RawRequest& request) {
  kills_privileges = request.kills_privileges;
  hand_over(session, request.message);
}

const fuse_custom_io& wire_io() {
  static const fuse_custom_io io = {
      .writev = write_message, .read = read_message, .splice_receive = nullptr, .splice_send = nullptr};
  return io;
}

}  // namespace coffer::fuse
