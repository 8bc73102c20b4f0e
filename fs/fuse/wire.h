// The few bits of the kernel's protocol that libfuse 3.14 does not pass on, read and set on the raw messages.
//
// FUSE_HANDLE_KILLPRIV_V2: without it the kernel asks for security.capability before every single write(2); with it,
// once for each time that it learns a file's attributes. In return we clear set-user-id and set-group-id ourselves: on
// writes and truncates whose request says so, and on every change of owner.
//
// FUSE_SETXATTR_EXT: an ACL set by somebody outside of the file's group clears set-group-id, and only the kernel knows who
// he is.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <optional>

#include "base/bytes.h"

namespace coffer::fuse {

// The request that this thread read last asks to clear set-user-id and set-group-id (a write or truncate by somebody
// without CAP_FSETID), or set-group-id (an ACL). Valid in the handler that libfuse calls for it.
bool request_kills_privileges();

// The node id of the file when the message is a write.
std::optional<fuse_ino_t> written_file(BytesView message);
// Hands libfuse a message that this thread or another has read, on this thread.
void process_message(fuse_session* session, MutableBytes message);

// A request as libfuse takes it, kept so that it can be worked on again.
struct RawRequest {
  Bytes message;
  bool kills_privileges = false;
};
// A copy of the one that this thread read last, or works on again. Valid in the handler that libfuse calls for it.
RawRequest current_request();
// Hands it to libfuse, on this thread.
void process_again(fuse_session* session, RawRequest& request);

// For fuse_session_custom_io() of a session whose user data is its FileSystem: plain reads and writes that do the above.
const fuse_custom_io& wire_io();

}  // namespace coffer::fuse
