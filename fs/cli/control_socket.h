// The control socket of one mounted volume: VOLUME_DIRECTORY/control, for its owner and root only.
#pragma once

#include <string>

#include "base/fd.h"
#include "fs/cli/failure.h"

namespace coffer::cli {

// Path lengths do not matter: the directory is opened and named by descriptor, since sockets stop at 107 bytes.
Outcome<Fd> listen_control(const std::string& volume_directory);
// kGeneral when nobody listens. `expected` owner (or root) must be on the other side.
Outcome<Fd> connect_control(const std::string& volume_directory, uint32_t expected);

// Who is at the other end may be asked: our own user, or root.
bool peer_is(const Fd& socket, uint32_t user);

}  // namespace coffer::cli
