// How `coffer unmount DIR` finds the daemon of DIR, whatever state directory that uses: one small file per mount in a
// directory that depends on nothing but who mounted.
#pragma once

#include <string>

#include "fs/cli/failure.h"

namespace coffer::cli {

struct Registration {
  std::string mount_point;
  std::string volume_directory;  // where the control socket is
  int pid = 0;
};

// /run/user/UID/coffer where systemd makes /run/user/UID, /run/coffer for root, else /tmp/coffer-UID. XDG_RUNTIME_DIR
// is not asked: it differs between a login, sudo and cron. COFFER_RUNTIME_DIR names another, for tests.
std::string registry_directory(uint32_t user);

// Replaces what was registered for the mount point. kPermission when the directory belongs to somebody else.
Outcome<void> register_mount(const Registration& registration);
void unregister_mount(const std::string& mount_point);
// kGeneral when nothing is registered.
Outcome<Registration> find_registration(const std::string& mount_point, uint32_t user);

}  // namespace coffer::cli
